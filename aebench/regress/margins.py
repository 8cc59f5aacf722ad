"""What the clock of a machine shows where nothing changed: A against A, kept by machine, from which margins follow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench.errors import InputError
from aebench.regress import documents, machine
from aebench.store import atomic

if TYPE_CHECKING:
    from aebench.regress.pairs import Sampler

FOLDER = Path("results/noise")
SCHEMA = 1
HARDWARE = ("processor", "cores", "architecture", "system", "gpu")
"""What of an identity the noise belongs to: it outlives a new Python or torch."""


@dataclass(frozen=True)
class Noise:
    """How far two measurements of the same code lay apart on a machine."""

    machine: Mapping[str, str]
    shares: Mapping[str, float]
    """Measure of a time as text -> the largest absolute bound of its effect."""
    pairs: int
    repeats: int
    made: Mapping[str, Any]


def hardware(identity: Mapping[str, str]) -> dict[str, str]:
    """The part of an identity that noise belongs to."""
    return {key: identity[key] for key in HARDWARE if key in identity}


def place(identity: Mapping[str, str], repository: str | Path = ".") -> Path:
    """Where the noise of a machine is kept."""
    return Path(repository) / FOLDER / f"{machine.key(hardware(identity))}.json"


def measure(
    sample: Sampler,
    *,
    pairs: int,
    repeats: int,
    alpha: float = 0.05,
    only: Collection[str] = (),
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """The largest absolute bound of each time's effect over `repeats` comparisons by `sample`, whose sides are equal.

    Raises InputError where `pairs` are too few for a bound, or no benchmark is timed.
    """
    from aebench.regress.gate import FEWEST, decide
    from aebench.regress.pairs import gather, side

    if pairs < FEWEST:
        raise InputError(f"--pairs {pairs}: {FEWEST} are the fewest that allow a bound")
    if 0.5**pairs > alpha:  # all on one side happen by chance as often as that
        raise InputError(f"--pairs {pairs}: too few for a bound at --alpha {alpha:g}")
    found: dict[str, float] = {}
    for repeat in range(repeats):
        reports = gather(sample, pairs, only, told, f"A against A, {repeat + 1} of {repeats}")
        for finding in decide(side(reports["base"], "A"), side(reports["new"], "A again"), alpha=alpha):
            bound = max(abs(finding.lower), abs(finding.upper))
            if finding.measure.kind == "time" and math.isfinite(bound):
                found[str(finding.measure)] = max(found.get(str(finding.measure), 0.0), bound)
    if not found:
        raise InputError("no benchmark is timed: there is no noise to measure")
    return found


def write(noise: Noise, path: Path) -> None:
    """Write it; what the file knows of benchmarks that were not measured now stays."""
    known = read(path).shares if path.exists() else {}
    document = {
        "schema": SCHEMA,
        "kind": "noise",
        "machine": dict(noise.machine),
        "made": dict(noise.made),
        "pairs": noise.pairs,
        "repeats": noise.repeats,
        "noise": {**known, **noise.shares},
    }
    atomic.replace(path, lambda file: file.write((json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()))


def read(path: Path) -> Noise:
    """The noise of a file; InputError names the file and what is wrong with it."""
    found = documents.read(path)
    if found.get("kind") != "noise":
        raise InputError(f"{path}: not the noise of a machine; aebench noise measures it")
    if found.get("schema") != SCHEMA:
        raise InputError(f"{path}: its schema is {found.get('schema')!r}; this aebench reads {SCHEMA}")
    try:
        shares = {str(name): float(share) for name, share in found["noise"].items()}
        if wrong := [name for name, share in shares.items() if not 0 <= share < math.inf]:
            raise ValueError(f"{wrong[0]}: {shares[wrong[0]]} is no share")
        return Noise(dict(found["machine"]), shares, int(found["pairs"]), int(found["repeats"]), dict(found["made"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: broken: {type(error).__name__}: {error}") from error


def known(path: Path | None, identity: Mapping[str, str], repository: str | Path = ".") -> tuple[dict[str, float], str]:
    """The shares that count on this machine, and a line that says where they come from, or why there are none."""
    file = path or place(identity, repository)
    if path is None and not file.exists():
        return {}, "the noise of this machine is not known (aebench noise measures it): times get a margin of 3 %"
    noise = read(file)
    here = hardware(identity)
    differing = [key for key in HARDWARE if noise.machine.get(key) != here.get(key)]
    if differing:
        says = "; ".join(f"{key} {noise.machine.get(key)!r}, here {here.get(key)!r}" for key in differing)
        return {}, f"{file} is ignored: it is of another machine ({says})"
    return dict(noise.shares), f"noise of this machine: {file}"
