"""Autoencoders whose code is kept small: sparse in four ways, and contractive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt

from aebench import losses, modules
from aebench.errors import InputError
from aebench.reconstructions import Loss
from aebench.variant import Network, Shape
from aebench.variants.autoencoder import AE, build

if TYPE_CHECKING:
    from torch import Tensor, nn


class ThresholdHyper(NamedTuple):
    """`lam`: weight λ of the pull. `c`: the cut between units pulled to 0 and units pulled to 1."""

    lam: Annotated[float, Ge(0)] = 0.1
    c: Annotated[float, Gt(0), Lt(1)] = 0.5


def threshold_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: ThresholdHyper) -> dict[str, Tensor]:
    h = net.encode(x)
    C, pull = net.error(x, net.decode(h)), losses.threshold_penalty(h, hp.c)
    return {"loss": C + hp.lam * pull, "reconstruction": C, "threshold": pull}


SPARSE_THRESHOLD_AE = replace(
    AE,
    name="sparse_threshold_ae",
    about="units are pulled to 0 or 1, whichever side of the cut c they are on",
    formula="L = C + λ [Σ_{h ≥ c} (1 − h)² + Σ_{h < c} h²], the sides constant under the gradient",
    source="lecture notes on sparse autoencoders",
    losses={"": threshold_loss},
    hyper=ThresholdHyper,
)


class SparseKLHyper(NamedTuple):
    """`lam`: weight λ of the KL. `p`: the share of time that a unit should be on."""

    lam: Annotated[float, Ge(0)] = 0.1
    p: Annotated[float, Gt(0), Lt(1)] = 0.05


class SparseKLSizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: the loss C that compares x̂ with x.

    `direction`: KL(p ‖ h) forward, KL(h ‖ p) reverse. `average`: over the batch before the KL, or of each example.
    """

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: Loss = "mse"
    direction: Literal["forward", "reverse"] = "forward"
    average: Literal["batch", "example"] = "batch"


def build_sparse_kl(event_shape: Shape, network: Network, sizes: SparseKLSizes) -> nn.Module:
    net: Any = build(event_shape, network, sizes)
    net.sparsity = modules.SparseKL(sizes.direction, sizes.average)
    return net


def sparse_kl_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: SparseKLHyper) -> dict[str, Tensor]:
    logits = net.encode(x)
    C, kl = net.error(x, net.decode(logits.sigmoid())), net.sparsity(logits, hp.p)
    return {"loss": C + hp.lam * kl, "reconstruction": C, "sparsity": kl}


SPARSE_KL_AE = replace(
    AE,
    name="sparse_kl_ae",
    about="sigmoid units that are on a share p of the time",
    formula="L = C + λ Σⱼ KL(p ‖ h̄ⱼ), KL(p ‖ h) = p ln(p/h) + (1 − p) ln((1 − p)/(1 − h)), h = sigmoid(E(x))",
    source="Ng (2011), Sparse autoencoder, CS294A lecture notes, section 3",
    build=build_sparse_kl,
    losses={"": sparse_kl_loss},
    hyper=SparseKLHyper,
    sizes=SparseKLSizes,
    encode=lambda net, x: net.encode(x).sigmoid(),
)


class WeightHyper(NamedTuple):
    """`lam`: weight λ of the penalty."""

    lam: Annotated[float, Ge(0)] = 0.1


def l1_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: WeightHyper) -> dict[str, Tensor]:
    h = net.encode(x).relu()
    C, l1 = net.error(x, net.decode(h)), losses.l1_norm(h)
    return {"loss": C + hp.lam * l1, "reconstruction": C, "l1": l1}


SPARSE_L1_AE = replace(
    AE,
    name="sparse_l1_ae",
    about="rectified units whose sum is penalised; weight decay keeps the decoder from undoing it by its scale",
    formula="L = C + λ ‖h‖₁, h = max(0, E(x))",
    source="Glorot, Bordes and Bengio (2011), Deep sparse rectifier neural networks",
    losses={"": l1_loss},
    hyper=WeightHyper,
    encode=lambda net, x: net.encode(x).relu(),
)


class TopKSizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: the loss C that compares x̂ with x. `k`: units kept."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: Loss = "mse"
    k: Annotated[int, Ge(1)] = 8


def build_top_k(event_shape: Shape, network: Network, sizes: TopKSizes) -> nn.Module:
    net: Any = build(event_shape, network, sizes)
    net.sparsity = modules.TopK(sizes.k)
    return net


def top_k_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: Any) -> dict[str, Tensor]:
    h = net.sparsity(net.encode(x))
    return {"loss": net.error(x, net.decode(h))}


def at_most_all(sizes: TopKSizes, event_shape: Shape) -> None:
    """k is at most latent."""
    if sizes.k > sizes.latent:
        raise InputError(f"k {sizes.k}: at most the {sizes.latent} units of latent can be kept")


TOPK_AE = replace(
    AE,
    name="topk_ae",
    about="only the k units of largest |h| go on to the decoder",
    formula="L = C(x, D(h)), h = E(x) with all but the k largest |hⱼ| set to 0",
    source="Makhzani and Frey (2014), k-sparse autoencoders, there the largest hⱼ, here the largest |hⱼ|",
    build=build_top_k,
    losses={"": top_k_loss},
    sizes=TopKSizes,
    check=at_most_all,
    encode=lambda net, x: net.sparsity(net.encode(x)),
)


def contractive_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: WeightHyper) -> dict[str, Tensor]:
    C, J = net.error(x, net.decode(net.encode(x))), losses.contractive_penalty(net.encode, x)
    return {"loss": C + hp.lam * J, "reconstruction": C, "jacobian": J}


CONTRACTIVE_AE = replace(
    AE,
    name="contractive_ae",
    about="a code that changes little where the input changes little",
    formula="L = C + λ ‖∂h/∂x‖²_F, h = E(x)",
    source="Rifai et al. (2011), Contractive auto-encoders: explicit invariance during feature extraction",
    losses={"": contractive_loss},
    hyper=WeightHyper,
)
