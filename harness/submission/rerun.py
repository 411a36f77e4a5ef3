"""Train one seed of a submission again from its enclosed source and compare the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.cohorts.source import Progress, silent
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.running.executors.local import LocalExecutor
from harness.running.plan import Trial
from harness.running.prepare import Prepared, prepare
from harness.running.schedule import embed_cohort, execute
from harness.running.trial import Paths, run_logged
from harness.sandbox.runs import Sandbox
from harness.store import Record, leases, names
from harness.submission.archive import Submission
from harness.submission.contents import parse_curve
from harness.submission.findings import Finding, Parsed, Report
from harness.submission.yardstick import Yardstick


def rerun(
    submission: Submission,
    report: Report,
    yardstick: Yardstick,
    seed: int,
    paths: Paths,
    device: torch.device,
    box: Sandbox | None = None,
    progress: Progress = silent,
) -> Iterator[Finding]:
    """Yield one finding for each trial of `seed`.

    This executes the submitter's code: in `box`, or on this machine. It runs under a temporary folder;
    `paths` says where the cohort's files and the cache are. Equal predictions confirm a trial.
    Different ones fail it if device, harness and libraries are the same. `progress` is told how far each is.
    """
    if seed not in yardstick.protocol.seeds:
        seeds = ", ".join(map(str, yardstick.protocol.seeds))
        raise HarnessError(f"--rerun {seed}: the protocol's seeds are {seeds}.")
    with leases.leased("rerun") as folder:
        prepared = _prepare(submission, yardstick, seed, folder, paths, box)
        outcome = _execute(prepared, device, box, progress)
        trials = {(row.attribute, row.seed): row.trial for row in prepared.plan.rows if _own(row, submission)}
        rows = [row for row in submission.manifest.plan if row.seed == seed]
        for stated, ours in {row.trial: trials[row.attribute, row.seed] for row in rows}.items():
            yield _compare(report.parsed[stated], prepared, ours, outcome)


def _own(row: Any, submission: Submission) -> bool:
    return bool(row.method == submission.manifest.method)


def _prepare(
    submission: Submission, yardstick: Yardstick, seed: int, folder: Path, paths: Paths, box: Sandbox | None
) -> Prepared:
    file = folder / submission.manifest.plugin
    for name, text in submission.source.items():
        # The names have been matched against letters, digits and single slashes when the file was read.
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    chosen = yardstick.protocol.model_copy(update={"seeds": (seed,)})
    within = Paths(folder / "runs", paths.data, paths.cache)
    describe = discovery.describe_all if box is None else box.describe
    tuned = submission.manifest.tuned
    prepared = prepare(chosen, [str(file)], within, "the protocol", describe=describe, tuned=tuned)
    if prepared.broken:
        raise HarnessError(prepared.broken[0].error)
    if discovery.find(str(file)).name != submission.manifest.method:
        raise HarnessError(f"{submission.manifest.plugin} is not the file of '{submission.manifest.method}'.")
    return prepared


class _Telling:
    def __init__(self, tell: Progress) -> None:
        self.tell = tell

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None: ...

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        for trial, state in progress:
            self.tell(f"Training again, {trial.label}, {state['stage']}", state["done"], state["total"])

    def finished(self, trial: Trial, status: str, seconds: float) -> None: ...


def _execute(
    prepared: Prepared, device: torch.device, box: Sandbox | None, progress: Progress
) -> dict[str, str]:
    """Run the trials one at a time; return trial to how it ended."""
    run_one = run_logged if box is None else box.run_logged
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        embed_cohort(prepared, executor, 1, device, progress)
        outcome = execute(prepared, executor, _Telling(progress), 1, device, run_one=run_one)
    return {trial.id: status for status, trials in outcome.by_status.items() for trial in trials}


def _compare(stated: Parsed, prepared: Prepared, trial: str, outcome: dict[str, str]) -> Finding:
    label = prepared.plan.trials[trial].label
    if outcome[trial] != "done":
        return Finding("rerun", "failed", f"{label}: ended as {outcome[trial]} here")
    _, labels = prepared.store.predictions(trial)
    here = prepared.store.record(trial)
    if other := _other_method(stated.record, here):
        return Finding("rerun", "failed", f"{label}: its record states another {other} than its source gives")
    unlike = _unlike(stated.record, here)
    if np.array_equal(labels, stated.labels):
        if not unlike and not _curve(prepared, trial).equals(stated.curve):
            return Finding("rerun", "failed", f"{label}: trained again, another learning curve")
        return Finding("rerun", "confirmed", f"{label}: trained again, the same predictions to the bit")
    same = f"{100 * float((labels == stated.labels).mean()):.2f}% of its pixels are the same"
    if not unlike:
        return Finding("rerun", "failed", f"{label}: trained again, other predictions; {same}")
    with_other = f"trained again with other {' and '.join(unlike)}"
    return Finding("rerun", "could not confirm", f"{label}: {with_other}; {same}")


def _unlike(stated: Record, here: Record) -> list[str]:
    """Return in what two trainings differ that may change last bits, and with them a curve or predictions."""
    # No text of the submission's is repeated.
    first, second = stated.identity["libraries"], here.identity["libraries"]
    libraries = sorted(name for name in second if first.get(name) != second[name])
    compiled = (stated.cost.compile_seconds > 0) != (here.cost.compile_seconds > 0)
    differs = {
        "code of the harness": stated.identity["code"] != here.identity["code"],
        f"versions ({', '.join(libraries) or 'of more libraries'})": first != second,
        f"device than {here.cost.device}": stated.cost.device != here.cost.device,
        # The sum of slices or cards is the whole batch's gradient but for last bits; so is what is compiled.
        "slices of a batch": any(one.environment.get("slice") for one in (stated, here)),
        f"cards ({stated.cost.cards}, here {here.cost.cards})": stated.cost.cards != here.cost.cards,
        "compilation": compiled,
    }
    return [name for name, unlike in differs.items() if unlike]


def _other_method(stated: Record, here: Record) -> str:
    """Return what a record says otherwise of its method than the one made here does, "" where nothing."""
    fields = (
        *("hyper_parameters", "defaults", "reads_attribute", "reads_attribute_at_test"),
        *("starts_from", "takes", "sampler", "passes"),
    )
    differ = [name for name in fields if getattr(stated.method, name) != getattr(here.method, name)]
    differ += ["way of training"] if stated.trained not in ("", here.trained) else []
    return differ[0].replace("_", " ").replace("hyper parameters", "hyper-parameters") if differ else ""


def _curve(prepared: Prepared, trial: str) -> pd.DataFrame:
    return parse_curve((prepared.store.path(trial) / names.CURVE).read_bytes())
