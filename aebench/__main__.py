"""The command `aebench`, also `python -m aebench`."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading

from aebench.cli import main

OBJECTS = 50_000
"""New objects after which Python looks for cycles among them. It does after some 700 by itself, of which a third of the
time goes that importing torch and pandas takes."""


def program() -> None:
    """Run `main` and leave at once: Python would take one to two seconds to take apart what torch has loaded."""
    gc.set_threshold(OBJECTS)
    code = 0
    try:
        main()
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            raise
        code = leaving.code or 0
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.exit(code)  # which waits for them
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except OSError:  # what could not be written is told as Python tells it
        sys.exit(code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    program()
