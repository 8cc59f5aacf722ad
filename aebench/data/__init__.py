"""Datasets: the table of them, and the way from an entry of a suite to arrays.

Importing this costs nothing: numpy and the rest come when an entry is described or loaded, torch never.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aebench.data.source import Dataset, Files, NoParameters, Part, Shape, Source

__all__ = [
    "ASIDE",
    "DATASETS",
    "Dataset",
    "Files",
    "NoParameters",
    "Part",
    "Row",
    "Source",
    "describe",
    "fetch",
    "listing",
    "load",
    "outline",
    "where",
]

ASIDE = ("source", "values")
"""What a specification tells of data beside what they are: the path of one's own file, and what its elements may be."""
DATASETS: dict[str, tuple[str, str]] = {
    "digits": ("aebench.data.digits:DIGITS", "1797 handwritten digits of 8 by 8, embedded in scikit-learn"),
    "gaussian": ("aebench.data.gaussian:GAUSSIAN", "Gaussian of given eigenvalues: closed forms hold on it"),
    "pinwheel": ("aebench.data.toys:PINWHEEL", "2-D: five curved arms"),
    "moons": ("aebench.data.toys:MOONS", "2-D: two interleaved half circles"),
    "eight_gaussians": ("aebench.data.toys:EIGHT_GAUSSIANS", "2-D: eight Gaussians on a circle"),
    "mnist": ("aebench.data.mnist:MNIST", "handwritten digits of 28 by 28, grey"),
    "fashion_mnist": ("aebench.data.mnist:FASHION_MNIST", "articles of clothing of 28 by 28, grey"),
    "binarized_mnist": ("aebench.data.mnist:BINARIZED_MNIST", "MNIST, binarized once and for all (Larochelle)"),
    "dynamic_mnist": ("aebench.data.mnist:DYNAMIC_MNIST", "MNIST, binarized anew at each step from its grey values"),
}


class Row(NamedTuple):
    """One dataset in a listing, with its default parameters and split; None where only loading would tell."""

    name: str
    about: str
    event_shape: Shape | None
    sizes: tuple[int, int, int] | None
    """Examples of train, validation and test."""
    available: bool | None
    """Whether it can be had without a network: built in, or its files lie in a folder that is looked in."""


def describe(entry: str | Mapping[str, Any], *, split_seed: int = 0, allow_code: bool = False) -> dict[str, Any]:
    """The canonical specification of a suite's entry; no array is loaded.

    An entry is a name, the path of a `.npy` or `.npz` file, or a mapping `{name or path, split, **parameters}`, where
    split is "none" (train = validation = test) or sizes `{validation, test}` as examples or fractions.

    Gives `{"name", "version", "parameters", "checksum", "split"}`: defaults resolved, no checksum for generated data.
    Data that do not ship with aebench add `"values"`, one's own file its path as `"source"`: `ASIDE`, which is no part
    of what the data are. Leave it out of ids.
    Raises InputError for unknown names and parameters, wrong types and values, missing, damaged and unfit files.
    """
    from aebench.data import spec

    return spec.describe(entry, split_seed=split_seed, allow_code=allow_code)


def load(spec: Mapping[str, Any], *, allow_code: bool = False) -> Dataset:
    """The arrays of a specification that `describe` gave; missing published files are downloaded.

    Raises InputError where files are missing or damaged, or are no longer what was described.
    """
    from aebench.data import spec as specs

    return specs.load(spec, allow_code=allow_code)


def outline(spec: Mapping[str, Any], *, allow_code: bool = False) -> tuple[Shape, tuple[int, int, int]]:
    """Event shape, and examples of train, validation and test, of a specification; no array is loaded."""
    from aebench.data import spec as specs

    return specs.outline(spec, allow_code=allow_code)


def where(name: str) -> list[tuple[Path, bool]]:
    """The folders in which a dataset is looked for, and whether each holds all of its files; empty: it is built in."""
    from aebench.data import catalogue

    return catalogue.where(name)


def fetch(name: str) -> list[Path]:
    """The checked files of a dataset, downloaded into the user's cache where no folder holds them."""
    from aebench.data import catalogue

    return catalogue.fetch(name)


def listing() -> list[Row]:
    """Every dataset: the table's and those of installed plug-ins; nothing is loaded."""
    from aebench.data import catalogue

    return catalogue.listing()
