"""What all tests share: shapes checked in the formulas, one thread, and data sets where a test may find them."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aebench.data import Dataset

BESIDE = Path(__file__).parents[2] / "shared" / "data"
CHECKED = ["aebench.losses"]
"""Modules whose annotations are checked at each call (elsewhere Tensor is a name for type checkers alone)."""


def benchmarks_run(config: pytest.Config) -> bool:
    """Whether this session runs benchmarks, which time the package as users have it."""
    named = any("benchmarks" in Path(argument).parts for argument in config.args)
    return named or config.getoption("benchmark_only", False)


def pytest_configure(config: pytest.Config) -> None:
    """One thread and checked shapes, before anything is imported."""
    if benchmarks_run(config):
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported: set_num_threads(1) without importing it here
    from jaxtyping import install_import_hook

    install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data but what a test lays into this folder of AEBENCH_DATA; an empty cache; no network."""
    from aebench.data import files

    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("AEBENCH_DATA", str(folder))
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")

    def refuse(*_: object) -> Path:
        raise OSError("no network")

    monkeypatch.setattr(files, "_by_torchvision", refuse)
    monkeypatch.setattr(files, "_by_url", refuse)
    return folder


@pytest.fixture(scope="session")
def published() -> Any:
    """`published(name) -> Dataset` with `split: none` or not; skips, naming the file, where one lacks."""
    from aebench.data import describe, load, where
    from aebench.data.spec import resolve

    @functools.cache
    def get(name: str, split: str | None = None) -> Dataset:
        with pytest.MonkeyPatch.context() as patch:
            folders = [os.environ.get("AEBENCH_DATA", ""), str(BESIDE)]
            patch.setenv("AEBENCH_DATA", os.pathsep.join(folder for folder in folders if folder))
            needed = resolve(name).files
            if not any(found for _, found in where(name)):
                pytest.skip(f"{name} needs {', '.join(needed.sha256)} in a folder of AEBENCH_DATA, or in {BESIDE}")
            entry = {"name": name, "split": split} if split else name
            return load(describe(entry))

    return get
