"""JSON files that others may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aebench.errors import InputError
from aebench.store import atomic


def read(file: str | Path) -> dict[str, Any]:
    """The object of a JSON file, {} where it holds something else; InputError where it cannot be read or is broken."""
    try:
        found = json.loads(Path(file).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {atomic.reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: broken JSON: {error}") from error
    return found if isinstance(found, dict) else {}
