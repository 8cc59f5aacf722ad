"""Other programs, run to their end: nothing that they started lives on, whatever ends or interrupts them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def started(
    command: Sequence[str], folder: Path, place: Path | None = None, variables: Mapping[str, str] | None = None,
    inherit: Collection[int] = (),
) -> Generator[subprocess.Popen[bytes]]:  # fmt: skip
    """A command that runs inside the block, at `place`, its output in the files stdout and stderr of `folder`.

    `inherit`: file descriptors that it gets.
    """
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=place, env=variables, pass_fds=inherit,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            # also where it has ended: what it left behind would disturb whatever is measured next
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            process.wait()


def run(command: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Its exit code and the `last` line of what it says."""
    with TemporaryDirectory() as folder, started(command, Path(folder), None, variables) as process:
        return process.wait(), said(Path(folder), ("stderr", "stdout"))


def said(folder: Path, streams: Sequence[str] = ("stdout", "stderr")) -> str:
    """The `last` line of what `started` wrote to a folder."""
    return last(*((folder / stream).read_text(encoding="utf-8", errors="replace") for stream in streams))


def last(*texts: str) -> str:
    """The last line that says something, the error's own where there is one."""
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    if "[end of output]" in lines:  # of what pip has run, which says more than pip does
        lines = lines[: lines.index("[end of output]")]
        return lines[-1][:300]
    errors = [line for line in lines if line.lower().startswith(("error", "e  "))]
    return (errors or lines or ["it said nothing"])[-1][:300]


def ending(code: int) -> str:
    """What an exit code says."""
    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
