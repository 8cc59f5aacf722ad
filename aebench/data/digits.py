"""The handwritten digits that scikit-learn carries: 1797 images of 8 by 8, 17 grey levels, divided by 16."""

from __future__ import annotations

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aebench.data.source import NoParameters, Part, Shape, Source
from aebench.errors import InputError

CHECKSUM = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def _outline(p: NoParameters) -> tuple[Shape, dict[str, int]]:
    return (1, 8, 8), {"all": 1797}


def _read(p: NoParameters, seed: int) -> dict[str, Part]:
    table = _carried()
    grey, labels = table[:, :64].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, 64].astype(np.int64)
    digest = hashlib.sha256(grey.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != CHECKSUM:
        raise InputError(f"digits: scikit-learn's images are not the known ones (sha256 {digest})")
    return {"all": Part((grey / 16).astype(np.float32), labels)}


def _carried() -> NDArray[np.float64]:
    """64 grey levels and the digit a row; without importing scikit-learn, which takes a second or more."""
    found = find_spec("sklearn")
    file = Path(found.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if found else Path()
    if not file.is_file():  # another version may keep it elsewhere
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.column_stack([np.asarray(x), np.asarray(y)])
    with gzip.open(file, "rt") as rows:
        return np.loadtxt(rows, delimiter=",")


DIGITS = Source(outline=_outline, read=_read, checksum=CHECKSUM, values="discrete")
