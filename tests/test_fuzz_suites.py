"""Suites from the schema that variants, networks and optimisers declare, and suites that are broken in every way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from fuzzing import broken_bytes, broken_trees, fuzz, refusal, yaml
from hypothesis import example, given
from hypothesis import strategies as st

from aebench import suite
from aebench.metrics import METRICS
from aebench.networks import NETWORKS
from aebench.plugins import resolve
from aebench.suite.fields import choice, hints, takes_float
from aebench.suite.recipe import OPTIMIZERS, SWEPT, Train
from aebench.suite.source import compose
from aebench.variants import VARIANTS

SHIPPED = {name: path.read_bytes() for name, path in suite.shipped().items()}
TREES = {name: compose(text.decode(), name).root for name, text in SHIPPED.items()}
PLAIN = st.sampled_from(["digits", "pinwheel", "moons", "eight_gaussians"])


# ---- valid ones


def bounds(hint: Any) -> tuple[float | None, float | None, bool, bool, int]:
    """Lowest, highest, whether each is excluded, and the least length, as `Annotated` has them."""
    limits: dict[str, Any] = {}
    for part in getattr(hint, "__metadata__", ()):
        limits |= {name: getattr(part, name) for name in ("ge", "gt", "le", "lt", "min_length") if hasattr(part, name)}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    return low, high, "gt" in limits, "lt" in limits, limits.get("min_length", 0)


def floats(hint: Any) -> st.SearchStrategy[float]:
    low, high, over, under, _ = bounds(hint)
    low, high = max(-10.0, low if low is not None else -10.0), min(10.0, high if high is not None else 10.0)
    usual = st.floats(low, high, exclude_min=over, exclude_max=under, allow_subnormal=False)
    return usual if low > 0 or not over else usual.filter(lambda x: x > 1e-30)


def field(hint: Any, *, scheduled: bool = False) -> st.SearchStrategy[Any]:
    """Values that a field of this type takes, as a suite would write them."""
    if among := choice(hint):
        return st.sampled_from(sorted(among.options)).flatmap(lambda name: chosen(name, among.options[name]))
    origin, low, _, _, _, least = get_origin(hint), *bounds(hint)
    inner = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if scheduled and takes_float(hint):
        point = st.dictionaries(st.floats(0, 1), field(hint).filter(lambda v: v is not None), min_size=1, max_size=3)
        kinds = st.sampled_from(["linear", "step"])
        return field(hint) | st.builds(lambda points, kind: {"points": points, "kind": kind}, point, kinds)
    if inner is bool:
        return st.booleans()
    if inner is float:
        return floats(hint)
    if inner is int:
        return st.integers(int(low or 0), int(low or 0) + 3)
    if get_origin(inner) is Literal or origin is Literal:
        return st.sampled_from(get_args(inner))
    if get_origin(inner) is tuple:
        parts = get_args(inner)
        if parts[-1] is Ellipsis:
            return st.lists(field(parts[0]), min_size=least, max_size=least + 2)
        return st.tuples(*map(field, parts)).map(list)
    return st.one_of(*(st.none() if part is NoneType else field(part) for part in get_args(inner)))


def chosen(name: str, options: Any) -> st.SearchStrategy[Any]:
    return st.just(name) if not options._fields else record(options).map(lambda given: {"name": name, **given})


def record(kind: Any, *, scheduled: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields of a record."""
    fields = {name: field(hint, scheduled=scheduled) for name, hint in hints(kind).items()}
    return st.fixed_dictionaries({}, optional=fields)


def fitting(variant: Any) -> dict[str, Any]:
    """Sizes that a variant takes for the data here, which have two or 64 elements."""
    sizes: dict[str, Any] = {"latent": 65 if variant.name == "overcomplete_ae" else 1}
    if variant.check is not None and "reconstruction" in hints(variant.sizes):  # some say no to a reconstruction too
        sizes["reconstruction"] = "mse"
    return sizes | ({"k": 1} if "k" in hints(variant.sizes) else {})


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(VARIANTS)))
    variant = resolve(VARIANTS, "variants", name)
    options = OPTIMIZERS[optimizer := draw(st.sampled_from(sorted(OPTIMIZERS)))]
    fields = {n: field(h, scheduled=n in SWEPT) for n, h in hints(Train).items() if n != "optimizer"}
    run: dict[str, Any] = {
        "variant": name,
        "hyper": draw(record(variant.hyper, scheduled=True)),
        "sizes": draw(record(variant.sizes)) | fitting(variant),
        "train": draw(st.fixed_dictionaries({}, optional=fields))
        | {"optimizer": {"name": optimizer, **draw(record(options))}},
    }
    if not variant.networks and draw(st.booleans()):
        kind = draw(st.sampled_from(sorted(set(NETWORKS) - {"conv"})))
        run["network"] = {"kind": kind, **draw(record(resolve(NETWORKS, "networks", kind)))}
    spare = sorted(set(hints(variant.hyper)) - set(run["hyper"]))
    if spare and draw(st.booleans()):
        swept = draw(st.sampled_from(spare))
        hint = hints(variant.hyper)[swept]
        run["sweep"] = {swept: draw(st.lists(field(hint), min_size=1, max_size=3, unique_by=lambda v: f"{v:.6g}"))}
    return run


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """A suite that is sound: a few runs of one variant each."""
    runs = draw(st.lists(entries(), min_size=1, max_size=3, unique_by=lambda run: run["variant"]))
    tree: dict[str, Any] = {
        "name": draw(st.from_regex(r"[A-Za-z0-9_]{5,20}", fullmatch=True)),
        "about": draw(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)),
        "data": draw(PLAIN | st.just({"name": "digits", "split": {"validation": 0.25, "test": 100}})),
        "seeds": draw(st.integers(1, 3) | st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True)),
        "runs": runs,
        "metrics": draw(st.lists(st.sampled_from(sorted(METRICS)), unique=True, min_size=1, max_size=3)),
        "keep_weights": draw(st.booleans()),
    }
    if draw(st.booleans()):
        tree["split_seed"] = draw(st.integers(0, 2**31))
    return {name: tree[name] for name in draw(st.permutations(list(tree)))}


def written_out(spec: dict[str, Any]) -> dict[str, Any]:
    """The suite of one run that says everything its canonical specification says."""
    data = dict(spec["data"]["parameters"], name=spec["data"]["name"])
    split = spec["data"]["split"]
    if split["kind"] == "random":
        data["split"] = {part: split[part] for part in ("validation", "test") if part in split}
    run = {name: scheduled(spec[name]) for name in ("variant", "hyper", "sizes", "network", "train")}
    if not run["hyper"]:
        del run["hyper"]
    if resolve(VARIANTS, "variants", spec["variant"]).fit is not None:
        run["train"] = {"precision": spec["train"]["precision"]}
    return {"name": "again", "split_seed": split.get("seed", 0), "data": data, "seeds": [spec["seed"]], "runs": [run]}


def scheduled(value: Any) -> Any:
    """A canonical value as a suite writes it."""
    if isinstance(value, dict) and set(value) == {"points", "kind"}:
        return {"points": dict(map(tuple, value["points"])), "kind": value["kind"]}
    return {key: scheduled(part) for key, part in value.items()} if isinstance(value, dict) else value


def test_the_name_of_the_swept_fields_is_where_it_was():
    assert SWEPT == ("lr", "weight_decay", "clip")


@fuzz(0.2)
@given(tree=suites())
def test_sound_suites_are_read_and_their_specifications_say_it_all(tree: dict[str, Any]):
    """A run written out from its canonical specification is the same run: the specification is a fixed point."""
    read = suite.parse(yaml(tree), "x.yaml")
    seeds = tree["seeds"] if isinstance(tree["seeds"], int) else len(tree["seeds"])
    assert len(read.runs) == seeds * sum(math.prod(map(len, run.get("sweep", {}).values())) for run in tree["runs"])
    assert (read.name, read.about, read.keep_weights) == (tree["name"], tree["about"], tree["keep_weights"])
    assert suite.parse(yaml(dict(reversed(tree.items()))), "y.yaml").runs == read.runs
    for run in read.runs[:: max(1, len(read.runs) // 3)]:
        assert suite.run_id(json.loads(json.dumps(run.spec))) == run.id
        (again,) = suite.parse(yaml(written_out(run.spec)), "z.yaml").runs
        assert again.spec == run.spec
        assert again.id == run.id


# ---- broken ones


def unless_refused(read: Callable[[], object]) -> None:
    """The reader's last resort, for what it did not foresee, is one line too, and no text should reach it."""
    assert "cannot be read" not in refusal(read)


@fuzz(0.15)
@given(tree=broken_trees(st.sampled_from(list(TREES.values()))))
@example(tree={"name": "x", "data": "~nobody-of-this-name/x.npy", "runs": [{"variant": "ae"}]})
@example(tree={"name": "x", "data": "a" * 5000 + ".npy", "runs": [{"variant": "ae"}]})
@example(tree={"name": "x", "data": "\0.npy", "runs": [{"variant": "ae"}]})
def test_broken_trees_are_one_line_or_a_suite(tree: Any):
    unless_refused(lambda: suite.parse(yaml(tree), "x.yaml"))


@fuzz(0.05)
@given(tree=broken_trees(suites()))
def test_broken_trees_of_every_variant_are_one_line_or_a_suite(tree: Any):
    unless_refused(lambda: suite.parse(yaml(tree), "x.yaml"))


@fuzz(0.08)
@given(content=broken_bytes(st.sampled_from(list(SHIPPED.values()))))
def test_broken_files_are_one_line_or_a_suite(content: bytes, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "broken.yaml"
    path.write_bytes(content)
    unless_refused(lambda: suite.read(path))


@fuzz(0.04)
@given(
    tree=st.sampled_from(list(TREES.values())),
    key=st.sampled_from(["train.lr", "runs.0", "runs.0.sweep", "seeds", "data", "network.kind"]) | st.text(max_size=10),
    value=st.text(max_size=30),
)
def test_broken_overrides_are_one_line_or_a_suite(tree: Any, key: str, value: str):
    unless_refused(lambda: suite.parse(yaml(tree), "x.yaml", overrides={key: value}))
