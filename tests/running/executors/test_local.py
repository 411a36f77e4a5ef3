import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, wait
from pathlib import Path

import pytest
import torch
from tiny import CPU

from harness.running.executors import process
from harness.running.executors.local import LocalExecutor, WorkerDied, slots


def add(a: int, b: int) -> int:
    return a + b


def sleep(seconds: float) -> tuple[int, float, float]:
    began = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), began, time.monotonic()


def fail() -> None:
    raise ValueError("on purpose")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def variable(name: str) -> str | None:
    return os.environ.get(name)


@pytest.fixture
def executor():
    with LocalExecutor([{}, {}]) as it:
        yield it


def test_it_has_the_shape_of_concurrent_futures(executor):
    assert isinstance(executor, Executor)
    assert list(executor.map(add, [1, 2], [10, 20])) == [11, 22]


def test_each_task_has_a_process_of_its_own_and_two_run_at_a_time(executor):
    results = [f.result() for f in [executor.submit(sleep, 0.5) for _ in range(4)]]
    assert len({pid for pid, _, _ in results}) == 4
    moments = [began for _, began, _ in results]
    at_once = max(sum(began <= m < ended for _, began, ended in results) for m in moments)
    assert at_once == 2


def test_an_exception_comes_back_as_itself(executor):
    with pytest.raises(ValueError, match="on purpose"):
        executor.submit(fail).result()


def test_a_killed_task_says_so_and_the_next_one_runs(executor):
    dead, alive = executor.submit(die), executor.submit(add, 1, 1)
    with pytest.raises(WorkerDied, match="SIGKILL.*memory"):
        dead.result()
    assert alive.result() == 2


def test_a_slot_gives_its_task_its_environment():
    with LocalExecutor([{"CUDA_VISIBLE_DEVICES": "7"}]) as executor:
        assert executor.submit(variable, "CUDA_VISIBLE_DEVICES").result() == "7"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "7"


def test_shutdown_kills_what_runs_and_cancels_what_waits():
    executor = LocalExecutor([{}])
    running, waiting = executor.submit(sleep, 60), executor.submit(sleep, 60)
    # Until its process is there to be killed.
    while not executor._running:
        time.sleep(0.05)
    executor.shutdown(cancel_futures=True)
    wait([running, waiting], timeout=10)
    assert waiting.cancelled()
    assert isinstance(running.exception(), WorkerDied)


PARENT = """
import sys
sys.path[:0] = {path!r}
from test_local import sleep_after_telling
from tiny import CPU
from harness.running.executors.local import LocalExecutor
LocalExecutor([{{}}]).submit(sleep_after_telling, {file!r}).result()
"""


def sleep_after_telling(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_task_ends_with_the_process_that_asked_for_it(tmp_path):
    file = tmp_path / "pid"
    here = Path(__file__).parent
    script = PARENT.format(path=[str(here), str(here.parents[1])], file=str(file))
    parent = subprocess.Popen([sys.executable, "-c", script])
    while not (file.exists() and file.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    worker = int(file.read_text())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(worker)


def test_a_gpu_that_is_named_is_one_slot_and_keeps_its_number():
    assert slots(torch.device("cuda:1"), None, 1) == [{}]
    assert slots(torch.device("cuda:1"), 2, 1) == [{}, {}]


def test_gpus_that_are_named_are_a_slot_each_and_shared_by_more_jobs(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-7")
    assert slots(torch.device("cuda"), None, 1, (0, 2)) == [
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "GPU-7"},
    ]
    spread = [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(torch.device("cuda"), 3, 1, (1, 2))]
    assert spread == ["5", "GPU-7", "5"]


def test_the_kernels_count_of_what_it_ended_tells_want_of_memory_from_other_kills(monkeypatch):
    counts = iter([3, 3, 3, 4])  # before and after each of two tasks
    monkeypatch.setattr(process, "_killed", lambda: next(counts))
    with LocalExecutor([{}]) as executor:
        told = [executor.submit(die).exception() for _ in range(2)]
    assert [one.out_of_memory for one in told] == [False, True]


def test_cpu_slots_share_the_cores_between_threads():
    cores = len(os.sched_getaffinity(0))
    assert len(slots(CPU, None, 1)) == cores
    assert len(slots(CPU, None, cores)) == 1
    assert len(slots(CPU, 3, 1)) == 3
