"""What a task may do to the process that waits for it: fork, hang, leave at once, print without end."""

from __future__ import annotations

import os
import pickle
import re
import sys
import threading
import time
from pathlib import Path

import needs
import pytest

from harness.errors import HarnessError
from harness.running import log
from harness.running.executors import names, options, places, process
from harness.running.executors.local import LocalExecutor
from harness.running.executors.process import JobLost, TookTooLong, WorkerDied


def fork_and_leave(file: str) -> None:
    """Leave a child behind that holds all that this process had open."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
    Path(file).write_text(str(child))
    os._exit(3)


def hang() -> None:
    time.sleep(600)


def print_much(file: str, lines: int) -> None:
    with log.written(Path(file)):
        print("the first line", flush=True)
        for _ in range(lines):
            os.write(1, b"x" * 999 + b"\n")
        time.sleep(2 * log._LOOK_SECONDS)
        print("the last line", flush=True)


def alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_what_a_task_forked_ends_with_it_and_nobody_waits_for_its_pipe(tmp_path):
    with LocalExecutor([{}]) as executor:
        error = executor.submit(fork_and_leave, str(tmp_path / "child")).exception(timeout=300)
    assert isinstance(error, WorkerDied)
    assert "exited with status 3" in str(error)
    assert not error.from_outside
    until = time.monotonic() + 10
    while alive(int((tmp_path / "child").read_text())) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(int((tmp_path / "child").read_text()))


def test_one_that_hangs_is_ended_at_its_limit(tmp_path):
    with LocalExecutor([{}], seconds=0.5) as executor:
        error = executor.submit(hang).exception(timeout=300)
    assert isinstance(error, TookTooLong)
    assert not error.from_outside
    assert "longer than 0.00833 minutes" in str(error)


def test_a_log_without_end_keeps_its_beginning_and_its_end(tmp_path):
    file = tmp_path / "log.txt"
    with LocalExecutor([{}]) as executor:
        executor.submit(print_much, str(file), 30_000).result(timeout=60)  # 30 MB
    text = log.read(file)
    assert len(text) <= log.MOST + 100
    assert text.startswith("the first line\n")
    assert "bytes left out" in text
    assert text.endswith("the last line\n")
    assert file.stat().st_size < 30e6 / 2
    beginning, left, end = re.split(r"\n\.\.\. (\d+) bytes left out \.\.\.\n", text)
    # What comes between a look and a cut is lost uncounted; it is no more than what one look is late for.
    assert 30e6 / 2 < len(beginning) + int(left) + len(end) <= 30e6 + 100


def test_a_log_that_grew_in_a_moment_is_read_by_its_two_ends(tmp_path):
    file = tmp_path / "log.txt"
    file.write_bytes(b"first\n" + b"x" * (3 * log.MOST) + b"\nlast")
    text = log.read(file)
    assert len(text) < log.MOST
    assert (text[:6], text[-4:]) == ("first\n", "last")


@pytest.mark.parametrize("error", [WorkerDied(-9, True), WorkerDied(3), JobLost("gone"), TookTooLong(60.0)])
def test_how_a_process_died_comes_whole_from_another_machine(error):
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other)) == (type(error), str(error))
    assert vars(other) == vars(error)


@pytest.mark.parametrize(
    ("free", "peak", "cores", "many"),
    [(80e9, 4e9, 64, 15), (80e9, 4e9, 8, 8), (80e9, 90e9, 64, 1), (80e9, 0, 64, 1)],
)
def test_as_many_trials_share_a_gpu_as_its_memory_and_the_cores_hold(free, peak, cores, many):
    assert places.fitting(int(free), int(peak), cores) == many


def test_options_come_from_a_file_and_over_it_from_the_line(tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text('[executor.slurm]\npartition = "gpu"\ntime = 60\nmem = "4G"\n')
    found = options("slurm", file, ["time=5", "per-job=3"])
    assert (found.partition, found.time, found.per_job, found.mem) == ("gpu", 5, 3, "4G")
    assert options("slurm", None, ["account=1234"]).account == "1234"


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("[executor.slurm]\ntime = 1.5\n", [], "time: 1.5 is not a whole number"),
        ("[executor.slurm]\ntime = true\n", [], "time: True is not a whole number"),
        ("[executor.slurm]\npartition = [1]\n", [], "is not a text"),
        ("[executor.slurm]\nqeue = 'x'\n", [], r"\[executor.slurm\] qeue: the executor 'slurm' has no such"),
        ("executor = 3\n", [], r"has no table \[executor.slurm\]"),
        ("[executor", [], "it is to be TOML"),
        ("[executor.slurm]\n", ["time=soon"], "--set time: 'soon' is not a whole number"),
        ("[executor.slurm]\n", ["=1"], "give an option and its value"),
    ],
)
def test_what_is_no_option_is_one_sentence(tmp_path, text, given, said):
    file = tmp_path / "cluster.toml"
    file.write_text(text)
    with pytest.raises(HarnessError, match=said):
        options("slurm", file, given)


def test_a_package_brings_an_executor_and_a_watcher_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    depth: int = 1\n"
        "def make(*_): return 'made'\n"
    )
    about = tmp_path / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: mine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[harness.executors]\nmine = mine\n[harness.watchers]\nmine = mine\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from harness.running import executors, watchers

    assert "mine" in names()
    assert options("mine", None, ["depth=3"]).depth == 3
    assert executors.find("mine").make() == watchers.find("mine")() == "made"


def leak(file: str) -> str:
    """Keep memory, files and a thread that never ends, as a plugin may; what it was asked for is done."""
    kept = [bytearray(10**8), *(os.open(file, os.O_RDWR | os.O_CREAT) for _ in range(200))]
    threading.Thread(target=lambda: time.sleep(600) or kept, daemon=False).start()
    Path(file).write_text(str(os.getpid()))
    return "done"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_a_task_leaks_goes_with_its_process_and_its_thread_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_EXIT_SECONDS", 0.2)
    with LocalExecutor([{}]) as executor:
        before = executor.submit(open_files).result(timeout=60)
        assert executor.submit(leak, str(tmp_path / "process")).result(timeout=60) == "done"
        assert executor.submit(open_files).result(timeout=60) == before
    assert not alive(int((tmp_path / "process").read_text()))


def daemonise(file: str, leaves: bool) -> None:
    """Leave a daemon behind as daemons are made: two forks, a session of its own, nothing open."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            os.chdir("/")
            Path(file).write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)
    while not (Path(file).is_file() and Path(file).read_text()):
        time.sleep(0.01)
    if leaves:
        raise ValueError("the task failed")


@needs.unless(
    sys.platform == "linux", "the kernel hands orphans over on Linux alone", "a machine with `/proc`"
)
@pytest.mark.parametrize("leaves", [False, True])
def test_a_daemon_that_a_task_made_ends_with_it(tmp_path, leaves):
    with LocalExecutor([{}]) as executor:
        error = executor.submit(daemonise, str(tmp_path / "daemon"), leaves).exception(timeout=300)
    assert isinstance(error, ValueError) == leaves
    assert not alive(int((tmp_path / "daemon").read_text()))


def leave_as_if_well() -> None:
    os._exit(0)


def test_one_that_leaves_with_status_0_and_no_result_has_died(tmp_path):
    with LocalExecutor([{}]) as executor:
        error = executor.submit(leave_as_if_well).exception(timeout=300)
    assert isinstance(error, WorkerDied)
    assert "exited with status 0" in str(error)
    assert not error.from_outside
