"""The one contract of all variants, over every network and shape of data that each is defined for.

A new variant, network or size is tested from its line in the table; nothing here names one, but for the impure
variants at the end.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from oracles import accepted, fitting
from torch import Tensor, nn

from aebench import packing, plugins, streams
from aebench.errors import InputError
from aebench.feed import Examples
from aebench.modules import Autoencoder
from aebench.networks import MLP, NETWORKS
from aebench.optim import Descent
from aebench.train import Budget, Setting, Trained, train
from aebench.variant import Choice, Model, Network, Normal, Shape, Variant
from aebench.variants import VARIANTS
from aebench.variants.autoencoder import AE

EVENTS: dict[str, Shape] = {"points": (2,), "images": (1, 6, 7)}  # an even and an odd side
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (8, 6), "activation": "elu"},
    "deep": {"hidden": (9, 8, 6), "activation": "elu"},
    "conv": {"channels": (4, 6), "hidden": (8,), "activation": "elu"},
}
"""Networks that are too wide to test as they come; all units of so narrow a layer may be dead when rectified."""
BATCH = 16


@dataclass(frozen=True)
class Case:
    """A variant with a network on data of one shape."""

    name: str
    kind: str
    event: str

    def __str__(self) -> str:
        return f"{self.name}-{self.kind}-{self.event}"

    @property
    def variant(self) -> Variant:
        return plugins.resolve(VARIANTS, "variants", self.name)

    @property
    def network(self) -> Network:
        return plugins.resolve(NETWORKS, "networks", self.kind)(**SMALL.get(self.kind, {}))

    @property
    def sizes(self) -> Any:
        return fitting(self.variant, EVENTS[self.event])

    @property
    def latent(self) -> int:
        return self.sizes.latent

    @property
    def examples(self) -> Examples:
        return Examples(data(self.event))

    @property
    def net(self) -> nn.Module:
        return self.built(0)

    def built(self, seed: int, **sizes: Any) -> nn.Module:
        return packing.build(self.variant, EVENTS[self.event], self.network, self.sizes._replace(**sizes), seed)

    @property
    def noise(self) -> dict[str, Tensor]:
        declared = self.variant.noise(BATCH, EVENTS[self.event], self.sizes)
        return {name: streams.noise_chunk(0, name, 0, spec)[0] for name, spec in declared.items()}

    @property
    def hyper(self) -> Any:
        return self.variant.hyper(*(torch.tensor(value) for value in scaled(self.variant, 0.75).values()))


@cache
def data(event: str) -> Tensor:
    """`[60, *event]` in [0, 1], of few degrees of freedom, so that there is something to learn."""
    source = torch.Generator().manual_seed(0)
    shape = EVENTS[event]
    mixed = torch.randn(60, 2, generator=source) @ torch.randn(2, math.prod(shape), generator=source)
    return mixed.sigmoid().view(60, *shape)


def fits(kind: str, event: str) -> bool:
    """Whether the network takes such events."""
    try:
        plugins.resolve(NETWORKS, "networks", kind)(**SMALL.get(kind, {})).encoder(EVENTS[event], 3)
    except InputError:
        return False
    return True


KINDS = [kind for kind in NETWORKS if kind != "deep"]
"""Networks of different modules: "deep" is an "mlp" of other widths, and tested with the variants that ask for it."""
CASES = [
    Case(name, kind, event)
    for name in VARIANTS
    for kind in plugins.resolve(VARIANTS, "variants", name).networks or KINDS
    for event in EVENTS
    if fits(kind, event)
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_network = pytest.mark.parametrize("case", [case for case in CASES if case.event == "images"], ids=str)
"""Every variant with every network, on events of one shape: for what trains long."""
every_variant_once = pytest.mark.parametrize("case", list({case.name: case for case in CASES}.values()), ids=str)
"""Every variant with one network: for what goes through all its sizes."""
every_variant = pytest.mark.parametrize("name", VARIANTS)


def choices(record: type[Any]) -> dict[str, list[Any]]:
    """Every value of those fields that are a choice; a choice with options stands once for each value of them."""
    found: dict[str, list[Any]] = {}
    for field, hint in get_type_hints(record, include_extras=True).items():
        if get_origin(hint) is Literal:
            found[field] = list(get_args(hint))
        for among in getattr(hint, "__metadata__", ()):
            if isinstance(among, Choice):
                found[field] = [value for name, options in among.options.items() for value in spelt(name, options)]
    return found


def spelt(name: str, options: type[Any]) -> list[Any]:
    """A choice as a specification has it, for each value of those of its options that are choices."""
    if not options._fields:
        return [name]
    given = {"name": name, **options()._asdict()}
    inner = choices(options)
    return [{**given, field: value} for field, values in inner.items() for value in values] or [given]


def variations(variant: Variant, event_shape: Shape) -> list[dict[str, Any]]:
    """The default sizes, and each other value of each size that is a choice and that the variant accepts."""
    default = fitting(variant, event_shape)
    found: list[dict[str, Any]] = [{}]
    for field, values in choices(variant.sizes).items():
        found += [{field: value} for value in values if value != getattr(default, field)]
    return [chosen for chosen in found if accepted(variant, default._replace(**chosen), event_shape)]


def scaled(variant: Variant, factor: float) -> dict[str, float]:
    """Hyperparameters that differ from their defaults and are as valid: what is 0 as given takes the factor itself."""
    return {field: factor * value if value else factor for field, value in variant.hyper()._asdict().items()}


def trained(case: Case, settings: list[Setting], steps: int, precision: Any = "fp32", **sizes: Any) -> Trained:
    budget = Budget(steps=steps, batch=BATCH, precision=precision)
    return train(case.variant, case.network, case.sizes._replace(**sizes), settings, budget, case.examples)


def same(a: Trained, b: Trained, a_runs: list[int], b_runs: list[int]) -> bool:
    """Whether runs of two packs are the same to the bit, in what they learnt and in how."""
    return all(torch.equal(value[a_runs], b.runs.state[name][b_runs]) for name, value in a.runs.state.items()) and all(
        torch.equal(torch.tensor(curve[:, a_runs]), torch.tensor(b.curves[name][:, b_runs]))
        for name, curve in a.curves.items()
        if name != "step"
    )


def test_the_cases_are_all_there() -> None:
    assert {case.name for case in CASES} == set(VARIANTS)
    assert {case.kind for case in CASES} == set(NETWORKS)
    assert {case.event for case in CASES} == set(EVENTS)


# ---- what a variant says of itself


@every_variant
def test_a_variant_says_what_it_is(name: str) -> None:
    variant = plugins.resolve(VARIANTS, "variants", name)
    assert variant.name == name
    for text in (variant.about, variant.formula, variant.source):
        assert text.strip()
        assert "\n" not in text
    assert re.search(r"\(\d{4}\)|lecture notes", variant.source), "a source has a year, or is the lecture notes"
    assert variant.losses
    assert variant.version >= 1
    assert set(variant.networks) <= set(NETWORKS)


@every_variant
def test_every_hyperparameter_and_size_has_a_default_and_a_word(name: str) -> None:
    variant = plugins.resolve(VARIANTS, "variants", name)
    for fields in (variant.hyper, variant.sizes):
        assert set(fields._field_defaults) == set(fields._fields)
        for field in fields._fields:
            assert f"`{field}`" in (fields.__doc__ or ""), f"{fields.__name__} does not say what {field} is"
    assert all(isinstance(value, float) for value in variant.hyper()), "hyperparameters are floats: they share a pack"
    assert "latent" in variant.sizes._fields


# ---- the loss


@every_case
def test_terms_are_values_of_examples(case: Case) -> None:
    x, noise = data(case.event)[:BATCH], case.noise
    for loss in case.variant.losses.values():
        terms = loss(case.net, x, noise, case.hyper)
        assert "loss" in terms
        for name, term in terms.items():
            assert term.shape in {(BATCH,), ()}, name
            assert term.isfinite().all(), name


@every_case
def test_the_loss_falls(case: Case) -> None:
    """For two seeds, from what the nets begin with; and it stays finite."""
    falls(case, {})


@every_variant_once
def test_the_loss_falls_under_every_choice_of_sizes(case: Case) -> None:
    for sizes in variations(case.variant, EVENTS[case.event]):
        falls(case, sizes)


def falls(case: Case, sizes: dict[str, Any]) -> None:
    """Train two runs and compare the loss at the end with that at the beginning."""
    settings = [Setting(seed, scaled(case.variant, 0.75), Descent(lr=1e-2)) for seed in (0, 1)]
    result = trained(case, settings, steps=96, **sizes)
    assert result.diverged == [None, None]
    assert all(torch.tensor(curve).isfinite().all() for curve in result.curves.values())
    for run, setting in enumerate(settings):
        begun, ended = case.built(setting.seed, **sizes), result.runs.model(run).net
        assert loss_of(case, ended) < loss_of(case, begun), sizes


@torch.no_grad()
def loss_of(case: Case, net: nn.Module) -> float:
    """The first player's loss of all examples."""
    x = data(case.event)
    declared = case.variant.noise(len(x), EVENTS[case.event], case.sizes)
    noise = {name: streams.noise_chunk(0, name, 0, spec)[0] for name, spec in declared.items()}
    return float(next(iter(case.variant.losses.values()))(net, x, noise, case.hyper)["loss"].mean())


class Listening(dict[str, Tensor]):
    """Noise that remembers which of it was asked for."""

    def __init__(self, noise: Mapping[str, Tensor]) -> None:
        super().__init__(noise)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return super().__getitem__(name)


@every_case
def test_noise_declared_is_noise_used(case: Case) -> None:
    x, net, asked = data(case.event)[:BATCH], case.net, set[str]()
    functions = [*case.variant.losses.values(), *([case.variant.after] if case.variant.after else [])]

    def values(noise: Mapping[str, Tensor]) -> list[Tensor]:
        return [value for fn in functions for value in fn(net, x, noise, case.hyper).values()]

    noise = Listening(case.noise)
    before = values(noise)
    asked = noise.asked
    assert asked == set(case.noise)
    for name, value in case.noise.items():
        after = values({**case.noise, name: value.flip(0)})
        assert not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), f"{name} changes nothing"


# ---- who trains what


@every_case
def test_every_parameter_is_trained_by_one_player(case: Case) -> None:
    names = [name for name, _ in case.net.named_parameters()]
    for name in names:
        players = [part for part in case.variant.losses if not part or name.startswith(f"{part}.")]
        assert len(players) == 1, f"{name} is trained by {players}"
    for runs in ([Setting()], [Setting(seed=0), Setting(seed=1)]):
        result = trained(case, runs, steps=3)
        for run, setting in enumerate(runs):
            net = packing.build(case.variant, EVENTS[case.event], case.network, case.sizes, setting.seed)
            for name, start in net.named_parameters():
                assert not torch.equal(result.runs.state[name][run], start), f"{name} of run {run} never moved"


@every_case
def test_seeds_start_elsewhere(case: Case) -> None:
    a, b, c = (packing.build(case.variant, EVENTS[case.event], case.network, case.sizes, s) for s in (0, 1, 0))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    numbers = torch.cat([p.flatten() for p in a.parameters()])
    assert len(numbers.unique()) > 0.8 * len(numbers) or len(numbers) < 10, "weights repeat within a seed"


# ---- packs


def differing(variant: Variant) -> list[Setting]:
    """Runs that differ in every number, two of one seed, two of one descent."""
    fast = Descent(lr=3e-3)
    descents = [Descent(lr=1e-3), fast, fast, Descent(lr=2e-3, weight_decay=0.01, clip=0.1)]
    rows = zip((0, 1, 1, 2), (1.0, 0.5, 0.25, 0.75), descents, strict=True)
    return [Setting(seed, scaled(variant, factor), descent) for seed, factor, descent in rows]


@every_network
def test_packed_equals_alone(case: Case) -> None:
    settings = differing(case.variant)
    together = trained(case, settings, 100, "fp64")
    for run, setting in enumerate(settings):
        single = trained(case, [setting], 100, "fp64")
        for name, value in single.runs.state.items():
            assert (together.runs.state[name][run] - value[0]).abs().max() < 1e-9, name
        for name, curve in single.curves.items():
            packed = together.curves[name]
            assert packed.shape == (curve.shape if name == "step" else (len(curve), len(settings)))
            assert abs((packed if name == "step" else packed[:, run]) - curve.T).max() < 1e-9, name


@every_network
def test_twice_is_the_same_to_the_bit(case: Case) -> None:
    settings = differing(case.variant)
    assert same(trained(case, settings, 40), trained(case, settings, 40), [0, 1, 2, 3], [0, 1, 2, 3])
    assert same(trained(case, settings[:1], 40), trained(case, settings[:1], 40), [0], [0])


def faults(case: Case) -> list[tuple[str, Setting]]:
    """The same run twice: once sound, and once for each way to make it diverge."""
    sound = Setting(1, scaled(case.variant, 0.5), Descent(lr=3e-3))
    ways = [("lr", replace(sound, descent=Descent(lr=1e30)))] if case.variant.fit is None else []
    if case.variant.hyper._fields:
        ways.append(("hyper", replace(sound, hyper=dict.fromkeys(case.variant.hyper._fields, math.nan))))
    return [("sound", sound), *ways]


@every_network
def test_nan_stays_home(case: Case) -> None:
    first, last = Setting(0, descent=Descent(lr=1e-3)), Setting(1, scaled(case.variant, 0.25), Descent(lr=2e-3))
    (_, sound), *ways = faults(case)
    reference = trained(case, [first, sound, last], 70)
    assert reference.diverged == [None, None, None]
    for way, fault in ways:
        result, alone = trained(case, [first, fault, last], 70), trained(case, [fault], 70)
        first_point = int(result.curves["step"][0])
        assert result.diverged == [None, *alone.diverged, None], way
        assert same(result, reference, [0, 2], [0, 2]), way
        # a comparison with NaN is false and no NaN: a mask may swallow one, a step of 1e30 nothing survives
        assert alone.diverged == [first_point] or (way == "hyper" and alone.diverged == [None]), way


# ---- what metrics may ask


@every_case
def test_what_a_model_answers(case: Case) -> None:
    variant, x = case.variant, data(case.event)[:5]
    model = Model(variant, case.net, case.sizes, case.hyper)
    h = model.encode(x)
    assert h.shape == (5, case.latent)
    for out in (model.decode(h), model.reconstruct(x)):
        assert out.shape == x.shape
        assert out.isfinite().all()
    assert torch.equal(model.encode(x), h), "the code is deterministic"
    if "posterior" in variant.offers(case.sizes):
        mu, logvar = model.posterior(x)
        assert mu.shape == logvar.shape == (5, case.latent)
        assert torch.equal(mu, h), "the code is the posterior's mean"
    else:
        with pytest.raises(TypeError, match=f"'{case.name}' offers no posterior"):
            model.posterior(x)
    if variant.prior:
        assert model.sample(torch.zeros(4, case.latent)).shape == (4, *x.shape[1:])
    else:
        with pytest.raises(TypeError, match=f"'{case.name}' offers no prior"):
            model.sample(torch.zeros(4, case.latent))


@every_case
def test_a_choice_of_sizes_keeps_the_shapes(case: Case) -> None:
    x = data(case.event)[:5]
    for chosen in variations(case.variant, x.shape[1:]):
        sizes = case.sizes._replace(**chosen)
        model = Model(case.variant, case.built(0, **chosen), sizes, case.hyper)
        assert model.reconstruct(x).shape == x.shape
        if chosen.get("reconstruction") == "bce":
            assert model.reconstruct(x).min() > 0, "x̂ is a probability, not its logit"
            assert model.reconstruct(x).max() < 1


@every_network
def test_the_runs_of_a_pack_are_its_models(case: Case) -> None:
    x = data(case.event)[:5]
    settings = [Setting(seed=0), Setting(seed=1)]
    result = trained(case, settings, 5, "fp64")
    for run, setting in enumerate(settings):
        single = trained(case, [setting], 5, "fp64").runs.model(0)
        with torch.no_grad():
            one, other = (model.reconstruct(x.double()) for model in (result.runs.model(run), single))
        assert (one - other).abs().max() < 1e-9


# ---- what is not a pure function is refused before the first step


def reconstruction(net: Any, x: Tensor) -> Tensor:
    return net.error(x, net.decode(net.encode(x)))


def hidden_noise(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    return {"loss": reconstruction(net, x + torch.randn(x.shape))}


def hidden_noise_like(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    h = net.encode(x)
    return {"loss": net.error(x, net.decode(h + torch.randn_like(h)))}


def dropout(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    return {"loss": net.error(x, net.decode(nn.functional.dropout(net.encode(x), 0.5)))}


def branch_on_the_loss(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    loss = reconstruction(net, x)
    return {"loss": 2 * loss if loss.sum() > 1 else loss}


def item_of_the_loss(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    loss = reconstruction(net, x)
    return {"loss": loss / loss.max().item()}


def branch_on_the_data(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    loss = reconstruction(net, x)
    return {"loss": 2 * loss if x.mean() > 0.5 else loss}


def item_of_the_noise(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
    return {"loss": reconstruction(net, x) * (1 + noise["z"].max().item())}


IMPURE: list[Callable[..., dict[str, Tensor]]] = [
    hidden_noise,
    hidden_noise_like,
    dropout,
    branch_on_the_loss,
    item_of_the_loss,
    branch_on_the_data,
    item_of_the_noise,
]
SEEDS = pytest.mark.parametrize("seeds", [[0], [0, 0], [0, 1]], ids=["alone", "one seed", "two seeds"])


def attempt(variant: Variant, seeds: list[int]) -> Trained:
    case = Case("ae", "mlp", "points")
    settings = [Setting(seed=seed) for seed in seeds]
    return train(variant, case.network, case.sizes, settings, Budget(steps=1, batch=BATCH), case.examples)


@SEEDS
@pytest.mark.parametrize("loss", IMPURE, ids=lambda loss: loss.__name__)
def test_an_impure_loss_is_refused(loss: Callable[..., dict[str, Tensor]], seeds: list[int]) -> None:
    impure = replace(AE, name="mine", losses={"": loss}, noise=lambda batch, event, sizes: {"z": Normal((batch,))})
    with pytest.raises(InputError, match="variant 'mine': its loss is not a pure function: ") as caught:
        attempt(impure, seeds)
    assert "\n" not in str(caught.value)


@SEEDS
def test_an_impure_after_is_refused(seeds: list[int]) -> None:
    impure = replace(AE, name="mine", after=lambda net, x, noise, hp: {"none": torch.randn(2)})
    with pytest.raises(InputError, match="variant 'mine'"):
        attempt(impure, seeds)


def with_module(module: nn.Module) -> Variant:
    """AE with a module put behind the encoder."""

    def build(event_shape: Shape, network: MLP, sizes: Any) -> nn.Module:
        net: Any = AE.build(event_shape, network, sizes)
        return Autoencoder(nn.Sequential(net.encoder, module), net.decoder, net.reconstruction)

    return replace(AE, name="mine", build=build)


@SEEDS
@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.BatchNorm1d(3)], ids=["dropout", "batchnorm"])
def test_an_impure_net_is_refused(module: nn.Module, seeds: list[int]) -> None:
    with pytest.raises(InputError, match="variant 'mine'"):
        attempt(with_module(module), seeds)


def test_purity_is_checked_before_the_first_step() -> None:
    """And a pure variant passes, silently."""
    calls: list[int] = []

    def counted(net: Any, x: Tensor, noise: Any, hp: Any) -> dict[str, Tensor]:
        calls.append(1)
        return {"loss": reconstruction(net, x + torch.randn(x.shape))}

    with pytest.raises(InputError):
        attempt(replace(AE, name="mine", losses={"": counted}), [0])
    assert len(calls) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attempt(with_module(nn.LayerNorm(3)), [0])
