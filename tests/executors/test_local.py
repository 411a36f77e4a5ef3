import os
import signal
import time
from concurrent.futures import Executor, wait

import pytest

from harness.executors.local import LocalExecutor, WorkerDied, slots


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
    while not running.running():
        time.sleep(0.05)
    time.sleep(0.5)
    executor.shutdown(cancel_futures=True)
    wait([running, waiting], timeout=10)
    assert waiting.cancelled()
    assert isinstance(running.exception(), WorkerDied)


def test_cpu_slots_share_the_cores_between_threads():
    cores = len(os.sched_getaffinity(0))
    assert len(slots("cpu", None, 1)) == cores
    assert len(slots("cpu", None, cores)) == 1
    assert len(slots("cpu", 3, 1)) == 3
