"""The numbers of each version of a variant: a change of them asks for a new version.

`python tests/test_golden.py` prints the table anew, for a variant whose version was raised.
"""

from __future__ import annotations

import pytest
import torch

from aebench.feed import Examples
from aebench.networks import MLP, Linear
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS

BY_LAPACK = ("tied_ae",)
"""Whose initial weights come from LAPACK in float32: their last bit is the processor's own."""
GOLDEN = {
    ("pca", 1): 0.5703874700380174,
    ("linear_ae", 1): 1.0118469473465934,
    ("tied_ae", 1): 0.9240448817721492,
    ("ae", 1): 0.8304480562781339,
    ("deep_ae", 1): 0.8304480562781339,
    ("overcomplete_ae", 1): 1.204408000706149,
    ("wiener", 1): 0.6491128944707244,
    ("denoising_ae", 1): 0.8663596346525233,
    ("masking_denoising_ae", 1): 0.8924287197343588,
    ("salt_pepper_denoising_ae", 1): 0.8936512438932871,
    ("contractive_ae", 1): 0.894114763355467,
    ("sparse_threshold_ae", 1): 0.8351776443945649,
    ("sparse_kl_ae", 1): 1.0168077958041402,
    ("sparse_l1_ae", 1): 0.9588928179353511,
    ("topk_ae", 1): 0.8583370239998622,
    ("ppca", 1): 1.4730686432830882,
    ("linear_vae", 1): 3.0509103492275624,
    ("vae", 1): 1.018190311859089,
    ("beta_vae", 1): 1.0218150064297205,
    ("energy_vae", 1): 1.0175421081571625,
    ("gaussian_vae", 1): 6.499873962750936,
    ("sigma_vae", 1): 7.7231149733233,
    ("bernoulli_vae", 1): 8.309982219884946,
    ("laplace_vae", 1): 8.268028971318095,
}


def final_loss(name: str) -> tuple[int, float]:
    """Version, and the mean loss of steps 33 to 40 of a run in float64 on the CPU.

    Hyperparameters are three quarters of the defaults (of 0: three quarters), so that each has its part.
    """
    variant = resolve(VARIANTS, "variants", name)
    source = torch.Generator().manual_seed(0)
    x = torch.rand(60, 1, 3, 4, generator=source, dtype=torch.float64)
    network = Linear() if "linear" in variant.networks else MLP((7,), "tanh")
    sizes = variant.sizes(latent=13 if name == "overcomplete_ae" else 3)
    sizes = sizes._replace(k=2) if "k" in sizes._fields else sizes
    hyper = {field: 0.75 * (value or 1.0) for field, value in variant.hyper()._asdict().items()}
    settings, budget = [Setting(3, hyper, Descent(lr=1e-2))], Budget(40, 16, precision="fp64")
    trained = train(variant, network, sizes, settings, budget, Examples(x))
    return variant.version, float(trained.curves["loss"][-1, 0])


@pytest.mark.parametrize("name", VARIANTS)
def test_numbers_of_a_version_stay(name):
    version, loss = final_loss(name)
    assert (name, version) in GOLDEN, f"no golden loss of {name} version {version}: {loss!r}"
    exact = 1e-6 if name in BY_LAPACK else 1e-9
    assert loss == pytest.approx(GOLDEN[name, version], rel=exact), f"raise the version of {name}: its numbers changed"


if __name__ == "__main__":
    for name in VARIANTS:
        version, loss = final_loss(name)
        print(f'    ("{name}", {version}): {loss!r},')  # noqa: T201
