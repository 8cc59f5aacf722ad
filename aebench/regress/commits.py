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
    git = ["git", "-C", str(repository)]
    try:
        # of one revision alone: git show would take a range, too
        hash = _said([*git, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"])
        date = _said([*git, "show", "--no-patch", "--format=%cI", hash, "--"]) if hash else None
    except FileNotFoundError:
        return None
    return Commit(hash, date) if hash and date else None


def _said(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
