"""The rules of the house, read from its files: who imports whom, what stays lazy, what has no place."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import benchmarks_run

import aebench
from aebench import losses, plugins
from aebench.data import DATASETS
from aebench.metrics import METRICS
from aebench.networks import NETWORKS
from aebench.plots import FIGURES
from aebench.variants import VARIANTS

ROOT = Path(aebench.__file__).parent
TABLES = {"variants": VARIANTS, "data": DATASETS, "metrics": METRICS, "networks": NETWORKS, "figures": FIGURES}
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
every_module = pytest.mark.parametrize("module", MODULES)

PLAIN = {"errors", "variant", "schedule", "plugins", "streams.key"}
"""Siblings that the lowest floor may import: types, errors, tables, and the key of a stream."""
FLOOR = ("losses", "networks", "data", "metrics", "stats")
TORCH_FREE = (
    *("store", "stats", "tables", "plots", "report", "reporting", "regress"),
    *("comparison", "references", "groups", "tuning"),
)
"""Never torch, and nothing that brings it in."""
COMPUTING = ("aebench.metrics.evaluate", "aebench.metrics.arrays", "aebench.regress.plugin.counting")
"""The metrics' loop over examples and what it keeps for figures, which know packs; what counts operations."""
LAZY = ("suite", "plugins", "variant", "variants", "metrics", "networks", "data", "streams", "cli", "pipeline")
"""No torch when they are imported."""


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Everything that a module imports at any time, in full: "aebench.streams.key", "torch", ..."""
    found: set[str] = set()
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            source = ".".join(filter(None, [above if node.level else "", node.module or ""]))
            found |= {f"{source}.{alias.name}" for alias in node.names}
    return frozenset(found)


def siblings(module: str) -> set[str]:
    """The modules and names of aebench that a module imports, without the package's name."""
    return {name.removeprefix("aebench.") for name in imports(module) if name.startswith("aebench.")}


def within(name: str, allowed: set[str]) -> bool:
    """Whether a name is one of these, or lies in one of them."""
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def of(*tops: str) -> list[str]:
    """The modules of these files and folders."""
    return [module for module in MODULES if within(module.removeprefix("aebench."), set(tops))]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- who imports whom


@pytest.mark.parametrize("module", of(*FLOOR))
def test_the_floor_imports_only_plain_types(module: str) -> None:
    """And itself; metrics quote formulas (each stands once) and take the time, and their one loop knows packs."""
    top = module.split(".")[1]
    allowed = PLAIN | {top} | {"metrics": {"losses", "clock"}}.get(top, set())
    if module in COMPUTING:
        allowed |= {"packing", "feed"}
    assert [name for name in siblings(module) if not within(name, allowed)] == []


@pytest.mark.parametrize("module", of("variants"))
def test_variants_import_only_what_formulas_need(module: str) -> None:
    allowed = {"variant", "losses", "networks", "modules", "reconstructions", "variants", "errors"}
    assert [name for name in siblings(module) if not within(name, allowed)] == []


@pytest.mark.parametrize("module", of("train", "packing", "optim", "feed", "streams", "modules"))
def test_the_loop_knows_the_protocol_and_no_variant(module: str) -> None:
    refused = {"variants", "metrics", "data", "suite", "store", "plots", "report", "cli"}
    assert [name for name in siblings(module) if within(name, refused)] == []


def test_train_knows_variant() -> None:
    assert {"variant.Variant", "variant.Network"} <= siblings("aebench.train")


@pytest.mark.parametrize("module", of("variant", "errors", "schedule", "plugins", "clock"))
def test_plain_types_are_plain(module: str) -> None:
    assert [name for name in siblings(module) if not within(name, PLAIN)] == []


@pytest.mark.parametrize("module", [module for module in of(*TORCH_FREE) if module not in COMPUTING])
def test_results_are_read_without_torch(module: str) -> None:
    assert not any(within(name, {"torch", "torchvision"}) for name in imports(module))


def test_only_the_download_knows_torchvision() -> None:
    assert [module for module in MODULES if any(within(name, {"torchvision"}) for name in imports(module))] == [
        "aebench.data.files"
    ]


def test_click_is_never_imported() -> None:
    """typer brings its own."""
    assert not any(within(name, {"click"}) for module in MODULES for name in imports(module))


# ---- what stays lazy


@pytest.mark.parametrize("top", [top for top in (*TORCH_FREE, *LAZY) if of(top)])
def test_torch_is_not_imported_with(top: str) -> None:
    """Nor by what it imports; every module of it, but for the metrics' loop, which computes."""
    names = [module for module in of(top) if module not in COMPUTING]
    loaded = f"sorted({{'torch', 'torchvision', 'matplotlib.pyplot'}} & set(sys.modules)), {names!r}"
    assert python(f"import sys, {', '.join(names)}\nprint({loaded})").startswith("[]")


def test_tables_are_resolved_without_torch() -> None:
    """Listing and explaining, and all that a suite needs to be read."""
    code = """
        import sys
        import aebench
        from aebench import plugins
        from aebench.data import DATASETS, listing
        from aebench.metrics import METRICS
        from aebench.networks import NETWORKS
        from aebench.variants import VARIANTS
        assert "torch" not in sys.modules, "import aebench"
        for group, table in (("variants", VARIANTS), ("metrics", METRICS), ("networks", NETWORKS), ("data", DATASETS)):
            for name in table:
                plugins.resolve(table, group, name)
                assert "torch" not in sys.modules, name
        listing()
        assert "torch" not in sys.modules, "listing"
        from aebench import Variant
        dir(aebench)
        print("torch" in sys.modules)
    """
    assert python(code) == "False"


def test_formulas_load_when_they_are_used() -> None:
    code = """
        import sys
        from aebench import losses
        before = "torch" in sys.modules
        import torch
        print(before, losses.energy(torch.ones(1, 2)).item())
    """
    assert python(code) == "False 1.0"


def test_importing_aebench_offers_its_names() -> None:
    for name in ("Variant", "Normal", "Uniform", "Model"):
        assert name in dir(aebench)
        assert getattr(aebench, name).__name__ == name
    with pytest.raises(AttributeError, match="'aebench' has no attribute 'nothing'"):
        _ = aebench.nothing


# ---- the tables


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, table in TABLES.items() for name in table])
def test_every_entry_resolves_and_says_what_it_is(group: str, name: str) -> None:
    reference, line = TABLES[group][name]
    value = plugins.resolve(TABLES[group], group, name)
    assert getattr(value, "name", name) == name, f"{reference} calls itself otherwise"
    assert line.strip() == line != ""
    assert "\n" not in line
    assert len(line) <= 100
    assert name == name.lower()
    assert name.isidentifier()


def test_lines_and_references_are_not_copied_from_a_neighbour() -> None:
    for table in TABLES.values():
        assert len({reference for reference, _ in table.values()}) == len(table)
        assert len({line for _, line in table.values()}) == len(table)


# ---- what has no place


@every_module
def test_files_are_small_and_named_after_what_they_do(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 300
    assert MODULES[module].stem not in {"utils", "util", "helpers", "common", "misc"}


@every_module
def test_functions_fit_on_a_page(module: str) -> None:
    """40 lines, and a little where it reads better in one piece."""
    functions = [n for n in ast.walk(tree(module)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 60] == []


def called(node: ast.AST) -> str:
    """`a.b.c` as it is written, or nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


GLOBAL = {"manual_seed", "seed", "set_rng_state", "fork_rng", "manual_seed_all", "initial_seed"}
DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like", "randn_like"}
DRAWS |= {"randint_like", "poisson", "dropout", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"}


def randomness(node: ast.AST, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(function, name) of everything that would draw from, or set, a global generator."""
    if isinstance(node, ast.FunctionDef):
        inside = (*inside, node.name)
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if "random" in names:
            yield ".".join(inside), "import random"
    if isinstance(node, ast.Call):
        name = called(node.func)
        *owner, last = name.split(".")
        given = {keyword.arg for keyword in node.keywords}
        if owner and last in GLOBAL and owner[0] in {"torch", "np", "numpy", "random"}:
            yield ".".join(inside), name
        if owner and owner[0] == "torch" and last in DRAWS and "generator" not in given:
            yield ".".join(inside), name
        if owner[:2] in (["np", "random"], ["numpy", "random"]) and not (node.args and last in {"Generator", "PCG64"}):
            yield ".".join(inside), name
        if last.endswith("_") and last in DRAWS and "generator" not in given:
            yield ".".join(inside), name
    for child in ast.iter_child_nodes(node):
        yield from randomness(child, inside)


@every_module
def test_no_global_random_numbers(module: str) -> None:
    """But for building a net, which runs in a fork of them: torch initialises weights from no other."""
    allowed = {("build", "torch.random.fork_rng"), ("build", "torch.manual_seed")}
    allowed = allowed if module == "aebench.packing" else set()
    assert set(randomness(tree(module))) - allowed == set()


@pytest.mark.parametrize(
    "code",
    [
        "torch.manual_seed(0)",
        "torch.randn(3)",
        "torch.cuda.manual_seed_all(0)",
        "np.random.rand(3)",
        "np.random.seed(0)",
        "np.random.default_rng()",
        "w.normal_()",
        "import random",
        "from numpy import random",
    ],
)
def test_global_random_numbers_would_be_found(code: str) -> None:
    assert list(randomness(ast.parse(f"def f():\n    {code}")))


def test_one_place_builds_from_the_global_generator() -> None:
    found = {module for module in MODULES if set(randomness(tree(module)))}
    assert found == {"aebench.packing"}


PUBLIC = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Public functions, classes and methods without a docstring; overloads and methods of protocols aside."""
    for node in body:
        if not isinstance(node, PUBLIC) or node.name.startswith("_"):
            continue
        if any(called(decorator) == "overload" for decorator in node.decorator_list):
            continue
        if not ast.get_docstring(node):
            yield prefix + node.name
        protocol = isinstance(node, ast.ClassDef) and any(called(base) == "Protocol" for base in node.bases)
        if isinstance(node, ast.ClassDef) and not protocol:
            yield from undocumented(node.body, f"{node.name}.")


def inherited(module: str, name: str) -> bool:
    """Whether a method overrides one that is documented."""
    owner, _, method = name.partition(".")
    return bool(method) and inspect.getdoc(getattr(getattr(importlib.import_module(module), owner), method)) is not None


@every_module
def test_what_is_public_is_documented(module: str) -> None:
    """A loss of `variants` is its formula; the record beside it says the rest. A method may inherit its words."""
    assert ast.get_docstring(tree(module)), "the module says what it is for"
    missing = [name for name in undocumented(tree(module).body) if not inherited(module, name)]
    if module.startswith("aebench.variants."):
        functions = {node.name for node in tree(module).body if isinstance(node, ast.FunctionDef)}
        missing = [name for name in missing if name not in functions]
    assert missing == []


def test_shapes_are_checked_here(pytestconfig: pytest.Config) -> None:
    """The import hook of conftest.py is on: a wrong shape is an error, and so is a wrong number of axes."""
    if benchmarks_run(pytestconfig):
        pytest.skip("benchmarks run, and with them nothing is checked")
    import torch
    from jaxtyping import TypeCheckError

    mu, logvar = torch.zeros(3, 2), torch.zeros(3, 2)
    assert losses.kl_standard_normal(mu, logvar).shape == (3,)
    for wrong in (torch.zeros(3, 4), torch.zeros(2, 2), torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64)):
        with pytest.raises(TypeCheckError):
            losses.kl_standard_normal(mu, wrong)
    assert torch.get_num_threads() == 1
