"""The command leaves at once: with its exit code, and nothing lost of what it had to say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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


PROGRAM = "from aebench.__main__ import program; program()"
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@full_disk
@pytest.mark.parametrize("words", [["list", "suites", "--json"], ["list", "--json"], ["--help"]])
def test_what_cannot_be_written_is_one_line_however_late_that_shows(words: list[str]):
    """A short text is in a buffer until the command ends."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=BUFFERED)
    assert (done.returncode, done.stderr) == (2, "error: cannot write the output: No space left on device\n")


@full_disk
def test_an_error_that_cannot_be_said_is_still_one():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "aebench", "compare", "no", "where"]
        assert subprocess.run(command, stderr=full, check=False).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="other pipes")
@pytest.mark.parametrize("words", [["list"], ["list", "suites", "--json"], ["list", "--json"], ["--help"]])
@pytest.mark.parametrize("start", [["-m", "aebench"], ["-c", PROGRAM]])
def test_a_pipe_that_nobody_reads_ends_the_command_without_a_word(words: list[str], start: list[str]):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        command = [sys.executable, *start, *words]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, env=BUFFERED)
        assert (done.returncode, done.stderr) == (141, "")
        assert subprocess.run(command, stdout=closed, stderr=closed, check=False, env=BUFFERED).returncode == 141


HANGS = """
import os, time
from pathlib import Path

Path({place!r}, str(os.getpid())).touch()

def test_work(benchmark):
    benchmark.pedantic(time.sleep, args=(60,), rounds=1)
"""


def runs(process: str) -> bool:
    """Whether there is such a process, and it has not ended."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.startswith("Z")


@pytest.mark.skipif(os.name != "posix", reason="no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(("command", "sides"), [("compare", 2), ("noise", 1)])
def test_a_comparison_that_is_ended_leaves_no_process(
    tmp_path: Path, command: str, sides: int, number: signal.Signals, code: int
):
    """And its code says by what it was ended."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "seen").mkdir()
    (tmp_path / "bench" / "test_hangs.py").write_text(HANGS.format(place=str(tmp_path / "seen")))
    words = [*[sys.prefix] * sides, "--benchmarks", "bench", "--keep", "kept"]
    process = subprocess.Popen(
        [sys.executable, "-m", "aebench", command, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if len(seen := os.listdir(tmp_path / "seen")) == 2:
            break
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    assert said.splitlines()[-1] == "interrupted: nothing is kept"
    assert len(seen) == 2
    assert not any(map(runs, seen))
    assert os.listdir(tmp_path / "kept") == []


STARTS = """
import sys, time
from pathlib import Path
from aebench.cli.compare import progress
from aebench.regress import programs

print("begun", flush=True)
with progress(quiet=True):
    while True:
        with programs.started(["sleep", sys.argv[1]], Path()) as process:
            print(process.pid, flush=True)
            time.sleep(0.02)
"""


@pytest.mark.skipif(os.name != "posix", reason="no such signals")
def test_an_end_while_a_process_is_being_started_leaves_none(tmp_path: Path):
    """Each end comes at another moment around that at which the next process is started."""
    seconds = f"100.{os.getpid()}"  # by which they are known
    for i in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", STARTS, seconds], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )  # fmt: skip
        assert process.stdout
        for _ in range(2):
            process.stdout.readline()
        time.sleep(0.018 + 0.0007 * i)
        process.terminate()
        process.communicate(timeout=60)
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        left = [line.split()[0] for line in listed.splitlines() if line.endswith(f"sleep {seconds}")]
        for pid in left:
            os.kill(int(pid), signal.SIGKILL)
        assert not left
