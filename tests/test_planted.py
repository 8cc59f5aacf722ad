"""The faults that the gate is tried with are faults of the code as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAULTS = sorted((ROOT / "tests" / "benchmarks" / "experiments" / "faults").glob("*.patch"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda path: path.stem)
def test_a_planted_fault_still_applies(fault: Path) -> None:
    command = ["git", "apply", "--check", str(fault)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"mend the patch: {done.stderr}"
