"""Where suites are: files, and those that ship with aebench."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from aebench.errors import InputError, unknown
from aebench.suite.tree import MAX_BYTES, one_line, shortened


def shipped() -> dict[str, Path]:
    """The suites that come with aebench: name -> file. In a checkout they lie beside the package."""
    package = Path(str(importlib.resources.files("aebench")))
    folder = package / "suites"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(path_or_name: str | Path) -> Path:
    """The file of a suite that was named by its path, or by the bare name of one that ships."""
    path, known = Path(path_or_name), shipped()
    try:
        if path.is_file():
            return path
        if str(path_or_name) in known:
            return known[str(path_or_name)]
        if path.exists():
            return path
        beside = {other.stem for other in path.parent.glob("*.yaml")}
    except (OSError, ValueError) as error:
        raise one_line(f"{shortened(str(path))}: {error}") from error
    missing = "" if str(path_or_name) == path.stem else f"{shortened(str(path), 200)}: no such file: "
    raise one_line(f"{missing}{unknown('suite', shortened(path.stem), {*known, *beside})}")


def read_text(path: Path) -> str:
    """The text of a suite file; InputError where it is no regular file, too long, unreadable or no UTF-8."""
    try:
        if path.is_dir():
            raise one_line(f"{path}: a directory, not a suite")
        if path.exists() and not path.is_file():
            raise one_line(f"{path}: not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise one_line(f"{path}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise one_line(f"{path}: {error}") from error
    if len(content) > MAX_BYTES:
        raise one_line(f"{path}: longer than {MAX_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise one_line(f"{path}:{line}: not a text file in UTF-8") from error
