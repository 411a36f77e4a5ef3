"""Trials as jobs of a Slurm cluster, through submitit: arrays, dependencies, time-outs with requeue."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.running.executors import Asked
from harness.running.executors.remote import Jobs, Sent, Task, Tasks

NEEDS = ("submitit",)
"""The libraries of this executor, which a machine without it does not have."""

_HELD = "launch failed requeued held"
_FOR_SBATCH = ("partition", "gres", "account", "constraint", "qos", "mem")


@dataclass(frozen=True)
class Options:
    """What Slurm is asked for, job by job; "" and 0 leave it to the cluster.

    time: minutes, as sbatch's; warning: seconds before its end at which a job keeps what it has and is queued
    again; per_job: trials one after another in a job; at_once: jobs of an array that run at a time.
    """

    partition: str = ""
    gres: str = ""
    account: str = ""
    constraint: str = ""
    qos: str = ""
    mem: str = ""
    time: int = 0
    cpus: int = 0
    warning: int = 90
    per_job: int = 1
    at_once: int = 256
    requeues: int = 1000


def make(asked: Asked, options: Options) -> SlurmExecutor:
    """Return the executor. Raises HarnessError where this machine submits to no cluster."""
    try:
        return SlurmExecutor(asked, options)
    except RuntimeError as error:
        raise HarnessError(f"--executor slurm: {error}; run it where sbatch is.") from None


class SlurmExecutor(Executor):
    """Collects tasks until `flush`, and sends them as one array; a thread waits for their results.

    Which node runs what, when and how often again is Slurm's affair.
    """

    def __init__(self, asked: Asked, options: Options) -> None:
        import submitit

        self.asked, self.options = asked, options
        self.slots = asked.jobs or options.at_once
        self.window = 1_000_000
        self.folder = asked.runs.resolve() / "slurm"
        self._slurm = submitit.SlurmExecutor(folder=self.folder, max_num_timeout=options.requeues)
        wanted = {name: getattr(options, name) for name in _FOR_SBATCH if getattr(options, name)}
        if asked.each > 1 and asked.device.type == "cuda":
            wanted.setdefault("gres", f"gpu:{asked.each}")
        if options.time:
            wanted["time"] = options.time
        self._slurm.update_parameters(
            job_name="harness",
            cpus_per_task=options.cpus or asked.threads * asked.each,
            array_parallelism=self.slots,
            signal_delay_s=options.warning,
            stderr_to_stdout=True,
            additional_parameters={"requeue": True},
            **wanted,
        )
        self._new: list[tuple[Future[Any] | None, Future[Any], Task]] = []
        self._jobs = Jobs(_states)
        self._job_of: dict[Future[Any], Any] = {}

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Keep a task until the next `flush`."""
        return self.submit_after(None, fn, *args)

    def submit_after(self, before: Future[Any] | None, fn: Any, /, *args: Any) -> Future[Any]:
        """Keep a task that is to start once another has ended, however it did."""
        future: Future[Any] = Future()
        self._new.append((before, future, (fn, args)))
        return future

    def flush(self) -> None:
        """Send what was submitted: an array of what waits for nothing, and one of what waits for those."""
        new, self._new = self._new, []
        self._send([one for one in new if one[0] is None], "")
        chained = [one for one in new if one[0] is not None]
        ids = {self._job_of[before].job_id for before, _, _ in chained if before in self._job_of}
        self._send(chained, f"afterany:{':'.join(sorted(ids))}" if ids else "")

    def _send(self, new: list[tuple[Any, Future[Any], Task]], dependency: str) -> None:
        import submitit

        if not new:
            return
        self._slurm.update_parameters(dependency=dependency or None)
        size = self.options.per_job
        chunks = [new[start : start + size] for start in range(0, len(new), size)]
        try:
            with self._slurm.batch():
                jobs = [
                    self._slurm.submit(Tasks([t for _, _, t in part], self.asked.preload, self.asked.seconds))
                    for part in chunks
                ]
        except (OSError, submitit.core.utils.FailedJobError) as error:
            said = str(error).strip().replace("\n", "; ")
            raise HarnessError(f"--executor slurm: {said}; what was sent before goes on.") from None
        for part, job in zip(chunks, jobs, strict=True):
            futures = [future for _, future, _ in part]
            self._job_of |= dict.fromkeys(futures, job)
            self._jobs.sent.append(Sent(job, futures))

    def stop(self, seconds: float) -> None:
        """Cancel the jobs: Slurm tells each to end, and a trial keeps its last epoch."""
        for sent in self._jobs.sent:
            sent.job.cancel()
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._jobs.left():
            time.sleep(0.5)
        self.shutdown(wait=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop watching; with `cancel_futures` cancel the jobs that are there."""
        self._jobs.forget()
        for sent in self._jobs.sent if cancel_futures else ():
            sent.job.cancel()


def _states() -> dict[str, str] | None:
    """Return the user's jobs that wait or run, by state; None where the controller does not answer."""
    asked = ["squeue", "--me", "-h", "-r", "-o", "%i|%T|%r"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    jobs = [line.split("|") for line in done.stdout.splitlines()]
    held = [job for job, _, reason in jobs if _HELD in reason]
    if held:  # for ever, by Slurm, because its node failed it: it is to be sent again
        subprocess.run(["scancel", *held], capture_output=True, check=False)
    return {job: state for job, state, _ in jobs if job not in held}
