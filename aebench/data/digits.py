"""The handwritten digits that scikit-learn carries: 1797 images of 8 by 8, 17 grey levels, divided by 16."""

from __future__ import annotations

import hashlib

import numpy as np

from aebench.data.source import NoParameters, Part, Shape, Source
from aebench.errors import InputError

CHECKSUM = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def _outline(p: NoParameters) -> tuple[Shape, dict[str, int]]:
    return (1, 8, 8), {"all": 1797}


def _read(p: NoParameters, seed: int) -> dict[str, Part]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    grey, labels = np.asarray(x).astype(np.uint8).reshape(-1, 1, 8, 8), np.asarray(y).astype(np.int64)
    digest = hashlib.sha256(grey.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    if digest != CHECKSUM:
        raise InputError(f"digits: scikit-learn's images are not the known ones (sha256 {digest})")
    return {"all": Part((grey / 16).astype(np.float32), labels)}


DIGITS = Source(outline=_outline, read=_read, checksum=CHECKSUM)
