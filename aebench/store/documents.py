"""The document of a run: strict JSON, checked when it is read."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from aebench.errors import InputError
from aebench.store.atomic import reason

SCHEMA = 1
STATUSES = ("ok", "diverged", "out_of_memory", "failed", "interrupted")

Document = dict[str, Any]
Place = TypeVar("Place")

_FIELDS = {"suite": str, "spec": dict, "metrics": dict}
_NUMBER_OR_NULL = (int, float, type(None))
_SPEC = {"variant": str, "hyper": dict, "sizes": dict, "network": dict, "data": dict, "train": dict, "seed": int}


@contextmanager
def uncollected() -> Generator[None]:
    """No search for cycles while thousands of documents are read, which have none: it takes longer than the reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def counted(found: Sequence[tuple[Place, Document]]) -> list[tuple[Place, Document]]:
    """Of the documents of one run, by where they lie, the one that counts: the first that ended well, else the first.

    Empty where there are none.
    """
    return [pair for pair in found if pair[1]["status"] == "ok"][:1] or [*found[:1]]


class NewerError(InputError):
    """A document of a later schema than this package reads: never overwritten, never taken for a missing one."""


def read(path: Path) -> Document:
    """A document, checked. Raises InputError, one line; NewerError where a newer aebench wrote it."""
    document = parse(path)
    check(document, path)
    return document


def check(document: Document, path: Path) -> None:
    """Its schema, its id, and the fields that a reader needs; else InputError."""
    schema, id, status = document.get("schema"), document.get("id"), document.get("status")
    if not isinstance(schema, int) or schema < 1:
        raise InputError(f"{path}: not a run document: schema {schema!r}")
    if schema > SCHEMA:
        raise NewerError(f"{path}: schema {schema}, and this aebench reads up to {SCHEMA}: install a newer one")
    if id != path.stem:
        raise InputError(f"{path}: holds the run {id!r}, which is not the file's name")
    if status not in STATUSES:
        raise InputError(f"{path}: unknown status {status!r}: choose from {', '.join(STATUSES)}")
    _require(path, document, _FIELDS)
    _require(path, document["spec"], _SPEC, "spec.")
    measured = {"metrics": document["metrics"], "validation": document.get("validation", {})}
    _require(path, measured, {"validation": dict})
    for part, metrics in measured.items():
        for name, metric in metrics.items():
            value = metric.get("value", "absent") if isinstance(metric, dict) else "absent"
            if not isinstance(value, _NUMBER_OR_NULL):
                raise InputError(f"{path}: {part}.{name} has no value that is a number or null")


def _require(path: Path, tree: Mapping[str, Any], fields: Mapping[str, type], where: str = "") -> None:
    for name, kind in fields.items():
        if not isinstance(tree.get(name), kind):
            raise InputError(f"{path}: {where}{name} is missing or is not a {kind.__name__}")


def parse(path: Path) -> dict[str, Any]:
    """A file that holds one strict JSON object: without NaN, and with no name twice. Raises InputError."""
    try:
        tree = _decoded(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: broken JSON: {reason(error)}") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: not a JSON object")
    return tree


def _decoded(text: bytes) -> Any:
    """JSON, several times as fast as the standard library reads it where there is nothing to complain of.

    orjson takes the last of two equal names; where it writes back as many names as there were, there are none. All
    else is left to the standard library, which also says what is wrong.
    """
    try:
        tree = orjson.loads(text)
        if orjson.dumps(tree).count(b":") == text.count(b":"):
            return tree
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    tree = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half a character (a lone surrogate)") from None  # no file and no figure could hold it
    return tree


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def text(tree: Mapping[str, Any]) -> bytes:
    """Strict JSON, an entry a line, lists on one line. NaN and infinity become null, and are refused in a spec.

    Half a character, as a file's name may have it, becomes a question mark.
    """
    strict = {name: item if name == "spec" else plain(item) for name, item in tree.items()}
    return f"{_pretty(strict)}\n".encode(errors="replace")


def plain(value: Any) -> Any:
    """The same in JSON's own types; a number that is not finite becomes null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pretty(value: Any, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + " "
    items = [f"{inner}{json.dumps(name, ensure_ascii=False)}: {_pretty(item, inner)}" for name, item in value.items()]
    return "{\n" + ",\n".join(items) + f"\n{indent}}}"
