"""What there is, and where it lies."""

from __future__ import annotations

from pathlib import Path

from aebench import plugins
from aebench.data import DATASETS, Row, files, own
from aebench.data.spec import describe, outline, resolve


def where(name: str) -> list[tuple[Path, bool]]:
    """See `aebench.data.where`."""
    if own.is_path(name):
        path = Path(name).expanduser()
        return [(path, path.is_file())]
    published = resolve(name).files
    return [(folder, not files.lacking(folder, published)) for folder in files.folders(published)] if published else []


def fetch(name: str) -> list[Path]:
    """See `aebench.data.fetch`."""
    published = resolve(name).files
    return files.fetch(published) if published else []


def listing() -> list[Row]:
    """See `aebench.data.listing`."""
    return [_row(name, about) for name, about in plugins.names(DATASETS, "data").items()]


def _row(name: str, about: str) -> Row:
    """An installed plug-in is only named: listing runs no code but aebench's."""
    if name not in DATASETS:
        return Row(name, about, None, None, None)
    published = resolve(name).files
    available = published is None or any(not files.lacking(folder, published) for folder in files.folders(published))
    return Row(name, about, *outline(describe(name)), available)
