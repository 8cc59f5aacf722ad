"""The command leaves at once: with its exit code, and nothing lost of what it had to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")

LEAVING = """
import atexit, sys, threading, time
from aebench import __main__ as command


class Held:
    def __del__(self):
        print("taken apart")


held = Held()
atexit.register(print, "what was asked for at exit")
command.main = lambda: {main}
print("said", end=" ")
command.program()
"""


def leaving(main: str, **words) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LEAVING.replace("{main}", main)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60, **words)


@pytest.mark.parametrize(
    ("main", "code"), [("None", 0), ("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit(143)", 143)]
)
def test_a_command_leaves_with_its_code_all_said_and_nothing_taken_apart(main: str, code: int):
    done = leaving(main, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (code, "said what was asked for at exit\n", "")


def test_a_command_that_fails_says_so():
    done = leaving("1 / 0", stdout=subprocess.PIPE)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    done = leaving("sys.exit('a line')", stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "a line\n")


def test_a_command_waits_for_its_threads():
    work = "threading.Thread(target=lambda: (time.sleep(0.3), print('worked'))).start()"
    assert "worked" in leaving(work, stdout=subprocess.PIPE).stdout


def test_a_users_own_code_has_its_files_closed(tmp_path: Path):
    kept = f"globals().update(log=open({str(tmp_path / 'log')!r}, 'w'))"
    main = f"{kept} or log.write('kept') and sys.argv.append('--allow-code')"
    leaving(main, stdout=subprocess.PIPE)
    assert (tmp_path / "log").read_text() == "kept"


def test_a_profiler_says_what_it_saw():
    main = "__import__('cProfile').Profile().enable()"
    assert "taken apart" in leaving(main, stdout=subprocess.PIPE).stdout


def test_a_stream_that_is_closed_is_no_failure():
    assert leaving("sys.stdout.close()", stdout=subprocess.PIPE).returncode == 0


@full_disk
def test_what_cannot_be_written_is_no_success():
    with open("/dev/full", "w") as full:
        done = leaving("None", stdout=full)
    assert done.returncode != 0
    assert "No space left" in done.stderr


@full_disk
def test_a_table_that_cannot_be_written_is_one_line_and_no_failed_run():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "aebench", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write the output: No space left on device\n"
