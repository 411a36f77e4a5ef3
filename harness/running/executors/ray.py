"""Trials as tasks of a Ray cluster: on Kubernetes, in a cloud, or two machines under a desk."""

from __future__ import annotations

import logging
import os
import socket
import threading
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.running.executors import Asked
from harness.running.executors.process import JobLost
from harness.running.executors.remote import Tasks, settle

NEEDS = ("ray",)
"""The libraries of this executor, which a machine without it does not have."""

ASK_SECONDS = 10.0
"""How long a cluster's machine may take to answer at its address."""


@dataclass(frozen=True)
class Options:
    """What Ray is asked for.

    address: of the cluster, as `ray.init` takes it; cpus, gpus: of a trial, gpus may be a part of one; 0 cpus
    for as many as it has threads; at_once: tasks that are given to it at a time; retries: how often Ray
    begins a task again whose node has gone.
    """

    address: str = "auto"
    cpus: int = 0
    gpus: float = 0.0
    at_once: int = 1000
    retries: int = 10


def make(asked: Asked, options: Options) -> RayExecutor:
    """Return the executor. Raises HarnessError where no cluster answers."""
    import ray as engine

    try:
        if not engine.is_initialized():
            _ask(options.address)
            engine.init(address=options.address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # noqa: BLE001 - Ray has no type of its own for what went wrong there
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise HarnessError(
            f"--executor ray: {said} (--set address={options.address}); `ray start --head` starts one."
        ) from None
    return RayExecutor(asked, options)


def _ask(address: str) -> None:
    """Raise ConnectionError if nothing listens at HOST:PORT, where Ray itself asks for minutes."""
    wanted = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = wanted.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ASK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"nothing answers at {wanted}: {error}") from None


class RayExecutor(Executor):
    """Gives each task to Ray, which places it, and begins it again where its node goes down."""

    def __init__(self, asked: Asked, options: Options) -> None:
        import ray as engine

        self.asked = asked
        self.window = options.at_once
        gpus = options.gpus or (float(asked.each) if asked.device.type == "cuda" else 0.0)
        cpus = options.cpus or asked.threads * asked.each
        resources: dict[str, float] = engine.cluster_resources()  # type: ignore[no-untyped-call]
        self.slots = asked.jobs or max(1, int(resources.get("CPU", 1) // cpus))
        self._task = engine.remote(num_cpus=cpus, num_gpus=gpus, max_retries=options.retries)(_run)
        self._waiting: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a task to Ray; the future raises JobLost where Ray gives it up."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        reference = self._task.remote(Tasks([(fn, args)], self.asked.preload, self.asked.seconds))
        with self._lock:
            self._waiting[future] = reference
        reference.future().add_done_callback(lambda done: self._answer(future, done))
        return future

    def _answer(self, future: Future[Any], done: Future[Any]) -> None:
        with self._lock:
            if self._waiting.pop(future, None) is None:
                return
        try:
            answers = done.result()
        except Exception as error:  # noqa: BLE001 - Ray's own, about a task that it could not end
            answers = [("raised", JobLost(f"Ray gave it up: {str(error).splitlines()[0]}"))]
        settle([future], answers)

    def stop(self, seconds: float) -> None:
        """Cancel what runs; what a trial has written of its epochs is kept."""
        self.shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; with `cancel_futures` its tasks end."""
        import ray as engine

        with self._lock:
            left, self._waiting = dict(self._waiting), {}
        for reference in left.values() if cancel_futures else ():
            engine.cancel(reference, force=True)


def _run(tasks: Tasks) -> Any:
    return tasks()
