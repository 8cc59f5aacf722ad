"""Tables of names, resolved on use: built-in entries, installed entry points, and a user's own code.

A table maps a name to `("module:attribute", one line about it)`. Nothing is imported before it is asked for.
Installed packages extend a table through the entry-point groups `aebench.variants`, `aebench.data`,
`aebench.metrics` and `aebench.networks`; a suite may also name `module:attribute` or `path/to/file.py:attribute`,
which runs code and is therefore refused unless the user allows it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from aebench.errors import InputError, unknown

Table = Mapping[str, tuple[str, str]]


def names(table: Table, group: str) -> dict[str, str]:
    """Every name of a table and its one line; installed entry points come last."""
    lines = {name: line for name, (_, line) in table.items()}
    for entry in entry_points(group=f"aebench.{group}"):
        lines.setdefault(entry.name, f"from {entry.value}")
    return lines


def resolve(table: Table, group: str, name: str, *, allow_code: bool = False) -> Any:
    """What a name stands for. `group` is the table's plural noun: variants, data, metrics, networks.

    Raises InputError where the name is unknown, or is code that `allow_code` does not permit.
    """
    if name in table:
        return _load(table[name][0])
    for entry in entry_points(group=f"aebench.{group}"):
        if entry.name == name:
            return entry.load()
    if ":" in name:
        if not allow_code:
            raise InputError(f"{group}: {name!r} is code of yours; allow it to run with --allow-code")
        return _load(name)
    raise unknown(group.removesuffix("s"), name, names(table, group))


def _load(reference: str) -> Any:
    module_name, _, attribute = reference.rpartition(":")
    try:
        if module_name.endswith(".py"):
            module = _from_file(Path(module_name).resolve(), fingerprint(reference))
        else:
            module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"{reference!r}: {error}") from error
    if not hasattr(module, attribute):
        raise InputError(f"{reference!r}: {module_name} has no attribute {attribute!r}")
    return getattr(module, attribute)


def fingerprint(reference: str) -> str | None:
    """sha256[:16] of the user's file that a reference names, so that other code is another run; None for a module."""
    path = Path(reference.rpartition(":")[0])
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.suffix == ".py" and path.is_file() else None


@functools.cache
def _from_file(path: Path, content: str | None) -> Any:
    """Run a user's file, once a process for each content."""
    name = f"aebench_user_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{str(path)!r}: no such Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
