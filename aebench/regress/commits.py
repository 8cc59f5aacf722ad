"""A commit by any of its names: its hash and its date."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from aebench.errors import InputError


@dataclass(frozen=True)
class Commit:
    """A commit of a repository."""

    hash: str
    date: str
    """When it was committed, in ISO 8601."""


def commit(revision: str, repository: str | Path = ".") -> Commit | None:
    """The commit that a revision names in the repository; None where there is none, no repository, or no git.

    Raises InputError where git would take the name for one of its options.
    """
    if revision.startswith("-"):
        raise InputError(f"{revision!r} is no git revision: it begins with a dash")
    command = ["git", "-C", str(repository), "show", "--no-patch", "--format=%H %cI", f"{revision}^{{commit}}", "--"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    hash, _, date = done.stdout.strip().partition(" ")
    return Commit(hash, date) if done.returncode == 0 and hash else None
