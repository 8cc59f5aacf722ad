"""What a dataset is: the parts that training sees, and the record that a source of data fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Values = Literal["continuous", "discrete", "binary"]
"""What an element of x may be: any number, one of a few levels, or 0 or 1."""


@dataclass(frozen=True, eq=False)
class Part:
    """Examples: `x [n, *event]`, float32 or uint8 (meaning value/255); `y [n]` int64 labels for figures, or None."""

    x: NDArray[np.uint8] | NDArray[np.float32]
    y: NDArray[np.int64] | None = None

    def take(self, index: NDArray[np.int64]) -> Part:
        """The examples at these places, copied."""
        return Part(self.x[index], None if self.y is None else self.y[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three parts of one kind of example. Choices are made on `validation`, reports are of `test`.

    With `split: none` the three are one and the same object. `binarize`: x holds grey values, and the training loop
    draws x = (u < grey) anew at each step (dynamic binarisation).
    """

    name: str
    event_shape: Shape
    train: Part
    validation: Part
    test: Part
    binarize: bool = False


class NoParameters(NamedTuple):
    """A dataset without parameters."""


def as_they_are(content: bytes) -> bytes:
    """The canonical content of a file that has only one encoding."""
    return content


@dataclass(frozen=True)
class Files:
    """The published files of a dataset, where they usually lie and where they come from."""

    name: str
    """The folder that is looked for, and made in the cache."""
    sha256: Mapping[str, str]
    """{file name: sha256 of its canonical content}; the file may also lie there with `.gz`."""
    canonical: Callable[[bytes], bytes] = as_they_are
    """The uncompressed bytes of a file -> its content, where a file circulates in several encodings."""
    torchvision: str = ""
    """torchvision's class, which downloads them and lays them in `<class>/raw`."""
    url: str = ""
    """The folder they are downloaded from, if not by torchvision."""
    system: str = ""
    """Where a distribution's package lays them."""
    confused_with: frozenset[str] = frozenset()
    """sha256 of other datasets' files of the same names: passed over where they lie in a folder of no name."""


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from. A plug-in (entry point `aebench.data`, or `module:NAME`) gives one of these.

    The names of its parts say what is official: {"all"} is split into three, {"train", "test"} gives up some of train
    for validation, {"train", "validation", "test"} stays as it is.
    """

    outline: Callable[[Any], tuple[Shape, Mapping[str, int]]]
    """`parameters -> (event shape, {part: examples})`, without loading. Refuses parameters that do not fit together."""
    read: Callable[[Any, int], Mapping[str, Part]]
    """`(parameters, split_seed) -> {part: Part}`. Only generated data look at the seed."""
    parameters: type[Any] = NoParameters
    """A NamedTuple of JSON types with defaults; `Annotated` limits are checked."""
    version: int = 1
    """Raised when the numbers of this dataset change."""
    checksum: str = ""
    """sha256 of what is read, where that is fixed."""
    files: Files | None = None
    validation: int | float = 0.1
    """Default size of a validation part that has to be split off: a number of examples or a fraction."""
    test: int | float = 0.1
    drawn: bool = False
    """Generated: each part is a fresh draw of the split seed."""
    stream: str = ""
    """Name of its random streams, its own by default; sources that share one are split alike."""
    binarize: bool = False
    values: Values = "continuous"
    """A density says something of continuous x alone, a probability of binary x."""
