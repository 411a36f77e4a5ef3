"""What engines share: what a job does on its machine, and how its results come back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from harness.running.executors.local import LocalExecutor
from harness.running.executors.process import JobLost, WorkerDied

GRACE_SECONDS = 30.0
"""How long a task may take to keep its last epoch when its job is about to end."""

Task = tuple[Callable[..., Any], tuple[Any, ...]]
Answer = tuple[str, Any]


@dataclass(frozen=True)
class Tasks:
    """Some tasks, with what `LocalExecutor` needs to run them; a job calls it.

    What one returns or raises comes back as ("returned", value) or ("raised", error).
    """

    tasks: Sequence[Task]
    preload: Sequence[str]
    seconds: float | None = None
    at_once: int = 1
    running: list[LocalExecutor] = field(default_factory=list)

    def __call__(self) -> list[Answer]:
        """Run the tasks; return how each ended."""
        # Numbers of cores and GPUs are the engine's to give: this process has no others.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with LocalExecutor([{}] * self.at_once, self.preload, self.seconds) as executor:
            self.running.append(executor)
            futures = [executor.submit(function, *arguments) for function, arguments in self.tasks]
            answers: list[Answer] = []
            for future in futures:
                try:
                    answers.append(("returned", future.result()))
                except WorkerDied as error:
                    if error.exitcode == -signal.SIGTERM:
                        # The engine is about to end this process as well, and to begin the job again.
                        time.sleep(GRACE_SECONDS)
                    answers.append(("raised", error))
                except Exception as error:  # noqa: BLE001 - it belongs to whoever asked for the result
                    answers.append(("raised", error))
        return answers

    def checkpoint(self) -> Any:
        """Be called by submitit shortly before the job's time is over or others need its place: begin anew.

        Each task keeps its last epoch and goes on from there; those that are done say so at once.
        """
        from submitit.helpers import DelayedSubmission

        for executor in self.running:
            executor.stop(GRACE_SECONDS)
        return DelayedSubmission(replace(self, running=[]))


def settle(futures: Sequence[Future[Any]], answers: Sequence[Answer]) -> None:
    """Hand the answers of a job to those who wait for them."""
    for future, (outcome, value) in zip(futures, answers, strict=True):
        if outcome == "returned":
            future.set_result(value)
        else:
            future.set_exception(value)


POLL_SECONDS = 2.0

_MISSED = 3
"""Looks at the queue in which a job is neither there nor has a result before it is given up."""


@dataclass
class Sent:
    """A job of submitit's, and who waits for its tasks."""

    job: Any
    futures: Sequence[Future[Any]]
    missed: int = 0


class Jobs:
    """Jobs that were sent: a thread hands their results over, and says which were lost.

    states: returns the jobs that an engine has, by state; None where it does not answer.
    """

    def __init__(self, states: Callable[[], dict[str, str] | None]) -> None:
        self._states = states
        self._ended = threading.Event()
        self.sent: list[Sent] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def forget(self) -> None:
        """Stop watching."""
        self._ended.set()

    def left(self) -> bool:
        """Tell whether the engine still has one of the jobs."""
        states = self._states()
        return states is None or any(sent.job.job_id in states for sent in self.sent)

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            states = self._states() if self.sent else None
            for sent in list(self.sent):
                self._look(sent, states)

    def _look(self, sent: Sent, states: dict[str, str] | None) -> None:
        job = sent.job
        if job.paths.result_pickle.exists():
            self.sent.remove(sent)
            settle(sent.futures, _answers(sent))
        elif states is None:
            return
        elif job.job_id in states:
            sent.missed = 0
            waiting = [future for future in sent.futures if not future.running()]
            for future in waiting if states[job.job_id] == "RUNNING" else ():
                future.set_running_or_notify_cancel()
        else:
            sent.missed += 1
            if sent.missed >= _MISSED:
                self.sent.remove(sent)
                lost = JobLost(f"its job {job.job_id} ended without a result; see {job.paths.stdout}")
                settle(sent.futures, [("raised", lost)] * len(sent.futures))


def _answers(sent: Sent) -> Sequence[Answer]:
    try:
        answers: Sequence[Answer] = sent.job.result()
    except Exception as error:  # noqa: BLE001 - submitit's own, about a job that could not start
        return [("raised", JobLost(f"its job {sent.job.job_id}: {error}"))] * len(sent.futures)
    return answers
