"""Tables of names, resolved on use: built-in entries, installed entry points, and a user's own code.

A table maps a name to `("module:attribute", one line about it)`. Nothing is imported before it is asked for.
Installed packages extend a table through the entry-point groups `aebench.variants`, `aebench.data`,
`aebench.metrics` and `aebench.networks`; a suite may also name `module:attribute` or `path/to/file.py:attribute`,
which runs code and is therefore refused unless the user allows it.
"""

from __future__ import annotations

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
        module = _from_file(module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"{reference!r}: {error}") from error
    if not hasattr(module, attribute):
        raise InputError(f"{reference!r}: {module_name} has no attribute {attribute!r}")
    return getattr(module, attribute)


def _from_file(path: str) -> Any:
    name = f"aebench_user_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise InputError(f"{path!r}: no such Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
