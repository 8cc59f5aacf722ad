"""The document of a run: strict JSON, checked when it is read."""

from __future__ import annotations

import gc
import json
import math
import stat
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

LIMIT = 2**28
"""Bytes of a document that is read: a thousand times what a long one has."""
TAKEN = ("id", "suite", "status", "variant", "data", "network", "seed", "error")
"""What a table calls its own columns, so that no measured value can have the name."""

_FIELDS = {"suite": str, "spec": dict, "metrics": dict, "cost": dict, "error": (dict, type(None))}
_OPTIONAL = {"validation": dict, "curves": dict, "made": dict, "measured": dict, "event_shape": list, "together": list}
_NUMBER_OR_NULL = (int, float, type(None))
_AMOUNTS = ("_seconds", "_per_s", "_bytes", "_step")
"""How the names of costs end that are amounts."""
_TEXTS = ("unit", "better", "about", "metric")
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
        raise InputError(f"{path}: not a run document: schema {_cut(schema)}")
    if schema > SCHEMA:
        raise NewerError(f"{path}: schema {_cut(schema)}, and this aebench reads up to {SCHEMA}: install a newer one")
    if id != path.stem:
        raise InputError(f"{path}: holds the run {_cut(id)}, which is not the file's name")
    if status not in STATUSES:
        raise InputError(f"{path}: unknown status {_cut(status)}: choose from {', '.join(STATUSES)}")
    _require(path, document, _FIELDS)
    _require(path, document, {name: kind for name, kind in _OPTIONAL.items() if name in document})
    _require(path, document["spec"], _SPEC, "spec.")
    if not 0 <= document["spec"]["seed"] < 1 << 63:
        raise InputError(f"{path}: spec.seed is {document['spec']['seed']}: from 0 to 2^63 - 1")
    for part in ("metrics", "validation"):
        for name, metric in document.get(part, {}).items():
            _measured(path, f"{part}.{_shown(name)}", metric)
            if name in TAKEN:
                raise InputError(f"{path}: {part}.{name}: the name is that of something else in a table")
    if status != "ok" and not document["error"]:
        raise InputError(f"{path}: status {status}, and no error that says why")
    if not isinstance((document["error"] or {}).get("message"), str | None):
        raise InputError(f"{path}: error.message is not a text")
    curves = document.get("curves", {})
    for name, values in curves.items():
        if not isinstance(values, list) or not all(isinstance(value, _NUMBER_OR_NULL) for value in values):
            raise InputError(f"{path}: curves.{_shown(name)} is not a list of numbers and nulls")
    if len(set(map(len, curves.values()))) > 1:
        raise InputError(f"{path}: its curves are of different lengths")
    for name, value in document["cost"].items():
        if name.endswith(_AMOUNTS) and not isinstance(value, _NUMBER_OR_NULL):
            raise InputError(f"{path}: cost.{_shown(name)} is not a number or null")
    pack = document["cost"].get("pack", {"ids": []})
    ids = pack.get("ids", []) if isinstance(pack, dict) else None
    if not isinstance(ids, list) or not all(isinstance(other, str) for other in ids):
        raise InputError(f"{path}: cost.pack.ids is not a list of run ids")


def check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """The run ids of a `suite.json`, and the kinds of what else it says; else InputError."""
    for name, item in (("ids", "run ids"), ("arguments", "words"), ("figures", "names")):
        listed = manifest.get(name, None if name == "ids" else [])
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise InputError(f"{path}: {name!r} is not a list of {item}")
    _require(path, manifest, {name: str for name in ("name", "about", "text") if name in manifest})
    _require(path, manifest, {"tune": dict} if "tune" in manifest else {})
    commands = manifest.get("commands", [])
    if not isinstance(commands, list) or not all(_spent(command) for command in commands):
        raise InputError(f"{path}: 'commands' is not a list of commands and their seconds")


def _spent(command: Any) -> bool:
    seconds = command.get("seconds") if isinstance(command, dict) else None
    return isinstance(seconds, dict) and all(isinstance(value, int | float) for value in seconds.values())


def _measured(path: Path, name: str, metric: Any) -> None:
    """Refuse what is no measured value: a number or null, with texts about it."""
    if not isinstance(metric, dict) or not isinstance(metric.get("value", "absent"), _NUMBER_OR_NULL):
        raise InputError(f"{path}: {name} has no value that is a number or null")
    if wrong := [text for text in _TEXTS if not isinstance(metric.get(text, ""), str)]:
        raise InputError(f"{path}: {name}.{wrong[0]} is not a text")


def _cut(value: Any) -> str:
    """A value of a document, as a part of one line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _shown(name: str) -> str:
    """A name that somebody else chose, as a part of one line."""
    return name if name.isprintable() and len(name) <= 80 else ascii(name[:80])


def _require(path: Path, tree: Mapping[str, Any], fields: Mapping[str, Any], where: str = "") -> None:
    for name, kind in fields.items():
        if not isinstance(tree.get(name, ...), kind):
            named = getattr(kind, "__name__", "dict or null")
            raise InputError(f"{path}: {where}{name} is missing or is not a {named}")


def parse(path: Path) -> dict[str, Any]:
    """A file that holds one strict JSON object: without NaN, and with no name twice. Raises InputError."""
    try:
        status = path.stat()  # a pipe would be waited for, a device never ends
        if not stat.S_ISREG(status.st_mode) or status.st_size > LIMIT:
            raise InputError(f"{path}: not a file of at most {LIMIT >> 20} MiB")
        tree = _decoded(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    except InputError:
        raise
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
    tree = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_finite, object_pairs_hook=_unique)
    try:
        json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half a character (a lone surrogate)") from None  # no file and no figure could hold it
    return tree


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:40]} is too large a number")
    return value


def _whole(digits: str) -> float:
    return value if -(1 << 63) <= (value := int(digits)) < 1 << 64 else _finite(digits)  # as orjson has it


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{_cut(next(name for name in names if names.count(name) > 1))} stands twice")
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
