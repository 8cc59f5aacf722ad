"""A plugin of pytest that notes what happens: which benchmarks begin, end and fail, and with which torch.

So a crash is told from an absence, and exact numbers of two versions of torch are not compared. It also keeps to the
benchmarks that were asked for: pytest itself runs nothing at all where one of several names is not found, as on a side
whose package has fewer parameters, and leaves out by the beginning of a name.

It is copied beside the measurements and runs in environments that may have no aebench: nothing but the standard
library here. Without the variables `FILE` and `CHOSEN` it does nothing.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from contextlib import suppress
from importlib import metadata
from typing import Any

FILE = "AEBENCH_GATE_EVENTS"
"""Names the file that gets a line of JSON, `[event, benchmark, why]`, as soon as something happens."""
CHOSEN = "AEBENCH_GATE_CHOSEN"
"""Names the file of JSON that says what to run: `{"only": benchmarks and files, "without": benchmarks}`, all where
"only" is empty."""

looking: list[bool] = []
"""Whether Python looked for garbage before this was loaded."""
ended: list[int] = []
"""The exit code of this process, once it is known."""
DONE = (0, 1, 5)
"""Exit codes after which pytest has nothing more to say: all ran, some failed, none was chosen."""


def pytest_configure() -> None:
    """Which torch there is, without importing it; and no look for garbage while much is imported."""
    if FILE in os.environ:
        looking.append(gc.isenabled())
        gc.disable()
    with suppress(metadata.PackageNotFoundError):
        note("torch", "", metadata.version("torch"))


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what was not asked for."""
    if CHOSEN not in os.environ:
        return
    with open(os.environ[CHOSEN], encoding="utf-8") as file:
        said = json.load(file)
    only, without = set(said["only"]), set(said["without"])

    def wanted(name: str) -> bool:
        return name not in without and (not only or name in only or name.partition("::")[0] in only)

    left_out = [item for item in items if not wanted(item.nodeid)]
    if left_out:
        items[:] = [item for item in items if wanted(item.nodeid)]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: Any) -> None:
    """Garbage is looked for again; the benchmarks that there are, where they are only listed."""
    if any(looking):
        gc.enable()
    if session.config.getoption("collectonly"):
        for item in session.items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                note("found", item.nodeid)


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins: where its process dies, this line is the last."""
    note("began", nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    """A test, its set-up or its tear-down has failed."""
    if report.failed:
        note("failed", report.nodeid, reason(report.longrepr))


def pytest_collectreport(report: Any) -> None:
    """A file that cannot be imported: all its benchmarks fail."""
    if report.failed:
        note("failed", report.nodeid, reason(report.longrepr))


def pytest_runtest_logfinish(nodeid: str) -> None:
    """A test is over, whatever came of it."""
    note("ended", nodeid)


def pytest_sessionfinish(exitstatus: int) -> None:
    """How it ended."""
    ended.append(int(exitstatus))


def pytest_unconfigure() -> None:
    """Leave at once: Python would take one to two seconds to take apart what torch has loaded."""
    if FILE in os.environ and ended and ended[0] in DONE and sys.exc_info()[0] is None:
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(ended[0])


def note(event: str, benchmark: str, why: str = "") -> None:
    """Append a line, at once."""
    if FILE in os.environ:
        with open(os.environ[FILE], "a", encoding="utf-8") as file:
            file.write(json.dumps([event, benchmark, why]) + "\n")


def reason(representation: Any) -> str:
    """The line of a failure that names the error."""
    crash = getattr(representation, "reprcrash", None)
    if crash is not None:
        return str(crash.message).strip().split("\n")[0][:300]
    lines = [line.strip() for line in str(representation).splitlines() if line.strip()]
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (errors or lines or ["it said nothing"])[-1][:300]
