"""Check that a plugin trains in the sandbox, where a maintainer will run it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from harness.check import bench
from harness.check.subject import Line, Subject, verdict
from harness.running.executors.local import LocalExecutor
from harness.running.plan import Trial
from harness.running.prepare import prepare
from harness.running.schedule import execute
from harness.running.trial import Paths
from harness.sandbox import engine
from harness.sandbox.limits import GB, Limits
from harness.sandbox.runs import Sandbox

NAME = "works in the sandbox"
_LIMITS = Limits(memory=4 * GB, seconds=120)
_FIX = "Inside there is no network, nothing to write to but /tmp, and no file but its own."


class _Silent:
    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None: ...

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None: ...

    def finished(self, trial: Trial, status: str, seconds: float) -> None: ...


def check(subject: Subject) -> Iterator[Line]:
    """Yield one line; it is skipped where there is no engine or no image."""
    reason = subject.stopped or engine.unavailable()
    if reason:
        yield Line(NAME, "skipped", reason)
        return
    cache = subject.scratch / "cache"
    box = Sandbox("cpu", _LIMITS, cache, "check")
    paths = Paths(subject.scratch / "sandboxed", None, cache)
    methods = [str(subject.plugin.file)]
    prepared = prepare(bench.PROTOCOL, methods, paths, "the check", describe=box.describe)
    if prepared.broken:
        yield verdict(NAME, f"{prepared.broken[0].error} {_FIX}")
        return
    sandboxed = box.run_logged
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        outcome = execute(prepared, executor, _Silent(), 1, torch.device("cpu"), run_one=sandboxed)
    failed = [prepared.store.record(trial.id).error for trial in outcome.by_status.get("failed", [])]
    yield verdict(NAME, f"{failed[0]} {_FIX}" if failed else "")
