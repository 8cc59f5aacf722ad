"""The command `aebench`, also `python -m aebench`."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading

from aebench.cli import main

OBJECTS = 10_000
"""New objects after which Python looks for garbage among them. By itself it does after so few that a third of the time
goes into it that importing torch and pandas takes."""


def program() -> None:
    """The command: run `main` and leave at once, as Python would take a second or two to take apart what torch loaded.

    It leaves as Python does where that may matter: files that a user's own code has open are closed, threads are waited
    for, a profiler or tracer tells what it saw. Garbage is looked for less often than Python does.
    """
    gc.set_threshold(OBJECTS)
    code = 0
    try:
        main()
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            raise
        code = leaving.code or 0
    threads = [
        thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon
    ]
    if threads or "--allow-code" in sys.argv or sys.gettrace() or sys.getprofile():
        sys.exit(code)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:  # what could not be written is told as Python tells it
        sys.exit(code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
