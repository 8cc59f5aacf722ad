"""`aebench run` killed at random moments: nothing is lost, nothing half is taken for whole, the table is the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guarded import COMMAND, RUNS, SUITE, forked, leftovers, results
from safetensors.numpy import save_file

from aebench import pipeline, suite
from aebench.claims import FOLDER as CLAIMS
from aebench.pipeline import Done
from aebench.progress import Progress
from aebench.store import Store

KILLS = int(os.environ.get("AEBENCH_KILLS", "12"))
"""How often the suite is killed; a hundred and more where the environment says so."""

KILLING = """
from aebench.checkpoint import Checkpoint

load, resumed = Checkpoint.load, []
def noted(self, *rest):
    found = load(self, *rest)
    if found is not None:
        with open("resumed.log", "a") as log:
            log.write(f"{found[0]}\\n")
    return found
Checkpoint.load = noted

def ended(child, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)

here, codes, place, dead, longest = random.Random(given["seed"]), [], 0, 0, given["longest"]
def fresh():
    folder = Path(f"killed{place}")
    folder.mkdir()
    (folder / "trial.yaml").write_text(Path("trial.yaml").read_text())
    return folder

folder = fresh()
while True:
    child = start(given["command"], folder)
    last = dead == given["kills"]
    code = ended(child, 100 if last else here.uniform(0, longest))
    if code is None:
        number = here.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
        os.kill(child, number)
        code = end(child)
        if code:
            dead += 1
            codes.append([signal.Signals(number).name, code])
            continue
    assert code == 0, (folder / "out.log").read_text()
    if last:
        break
    place += 1
    folder = fresh()
print(json.dumps(codes))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def test_killed_at_random_times_the_table_is_that_of_an_undisturbed_run(tmp_path: Path):
    given = {"command": COMMAND, "kills": KILLS, "seed": 1, "longest": 1.8}
    codes = forked(textwrap.dedent(KILLING), tmp_path, given, timeout=60 + 10 * KILLS)
    assert len(codes) == KILLS
    counts = Counter(map(tuple, codes))
    assert set(counts) <= {("SIGKILL", -9), ("SIGTERM", 143), ("SIGTERM", -15)}
    straight = results(tmp_path / "straight")
    assert len(straight) == RUNS
    folders = sorted(tmp_path.glob("killed*"))
    resumed = []
    for folder in folders:
        assert results(folder) == straight
        assert leftovers(folder) == []
        said = (folder / "out.log").read_text()
        assert "Traceback" not in said
        with contextlib.suppress(FileNotFoundError):
            resumed += (folder / "resumed.log").read_text().split()
    said = "".join((folder / "out.log").read_text() for folder in folders)
    assert said.count("interrupted: ") == counts["SIGTERM", 143]
    told = f"{KILLS} kills of {len(folders)} suites: {dict(counts)}; {len(resumed)} packs gone on with"
    sys.stdout.write(f"{told}, after {' '.join(resumed)} steps\n")
    if KILLS >= 100:
        assert len(resumed) > 5


# ---- files that a loss of power may leave


def go(folder: Path, **options: Any) -> Done:
    todo = pipeline.plan(suite.parse(SUITE), folder, **options)
    return pipeline.execute(todo, device="cpu", report=False, progress=Progress(quiet=True))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    assert go(folder).trained == RUNS
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink, "empty": lambda path: path.write_bytes(b""), "cut": cut, "zeroed": zeroed,
}  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "damage"), [*((".json", damage) for damage in DAMAGES), (".npz", "gone"), (".npz", "cut")]
)
def test_a_damaged_file_is_as_none_and_its_pack_is_trained_again(sound: Path, tmp_path: Path, suffix: str, damage: str):
    shutil.copytree(sound, tmp_path / "here")
    pack = suite.packs(suite.parse(SUITE).runs)[1]
    DAMAGES[damage](tmp_path / "here" / "results" / "trial" / f"{pack[0].id}{suffix}")
    done = go(tmp_path / "here")
    assert done.trained == len(pack) == 2
    assert results(tmp_path / "here") == results(sound)
    assert go(tmp_path / "here").trained == 0


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_damaged_weights_are_said_where_they_are_needed(sound: Path, tmp_path: Path, damage: str):
    shutil.copytree(sound, tmp_path / "here")
    pack = suite.packs(suite.parse(SUITE).runs)[1]
    DAMAGES[damage](Store(tmp_path / "here" / "results" / "trial").weights_path(pack[0].id))
    more = suite.parse(SUITE.replace("[reconstruction, energy]", "[reconstruction, energy, size]"))
    quiet = Progress(quiet=True)
    done = pipeline.execute(pipeline.plan(more, tmp_path / "here"), device="cpu", report=False, progress=quiet)
    assert (done.trained, done.measured) == (0, RUNS - 1)
    assert any("--retrain" in note for note in done.notes)
    again = pipeline.plan(more, tmp_path / "here", retrain=True)
    assert pipeline.execute(again, device="cpu", report=False, progress=quiet).trained == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_account_is_written_anew(sound: Path, tmp_path: Path, damage: str):
    shutil.copytree(sound, tmp_path / "here")
    DAMAGES[damage](tmp_path / "here" / "results" / "trial" / "suite.json")
    assert go(tmp_path / "here").trained == 0
    told = Store(tmp_path / "here" / "results" / "trial").manifest()
    assert told is not None
    assert told["ids"] == [run.id for run in suite.parse(SUITE).runs]


def test_what_writers_and_holders_of_claims_left_is_swept_away(sound: Path, tmp_path: Path):
    shutil.copytree(sound, tmp_path / "here")
    folder = tmp_path / "here" / "results" / "trial"
    pack = suite.packs(suite.parse(SUITE).runs)[1]
    (folder / f"{pack[0].id}.json").unlink()
    for name in (f"{pack[0].id}.json", f"{pack[0].id}.npz", f"weights/{pack[0].id}.safetensors", f"{CLAIMS}/pack"):
        path = (folder / name).with_name(f".{Path(name).name}.elsewhere-1.tmp")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{")
        os.utime(path, (0, 0))
    assert go(tmp_path / "here").trained == len(pack)
    assert leftovers(tmp_path / "here") == []


def test_checkpoints_of_finished_runs_go_whatever_pack_they_were_of(sound: Path, tmp_path: Path):
    """As of a half of a pack that was split when memory lacked; those of runs that are not finished stay."""
    shutil.copytree(sound, tmp_path / "here")
    kept = tmp_path / "here" / "results" / "trial" / ".checkpoints"
    kept.mkdir()
    first, last = (pack[0].id for pack in suite.packs(suite.parse(SUITE).runs)[:2])
    for name, ids in {"half": first, "two": f"{first} {last}", "other": f"{first} {'0' * 16}"}.items():
        save_file({"w": np.zeros(2)}, kept / f"{name}.safetensors", {"runs": ids})
    go(tmp_path / "here")
    assert [path.name for path in kept.iterdir()] == ["other.safetensors"]
