"""A dry run ends with the trials by state and with how long they may take, by this machine's own records."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace

import pytest
from rich.console import Console
from tiny import CPU, prepare, shared_run, trial_of

from harness.commands import outlook
from harness.running.trial import Paths
from harness.store import Cost
from harness.store.files import as_json


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Paths:
    return shared_run(tmp_path_factory)


@pytest.fixture
def paths(done, tmp_path) -> Paths:
    """A copy of a run of ERM, GroupDRO, ADV and FEBS with seed 0, whose costs a test may set."""
    shutil.copytree(done.runs, tmp_path / "runs")
    return replace(done, runs=tmp_path / "runs")


def rewrite(prepared, record) -> None:
    (prepared.store.path(record.id) / "record.json").write_bytes(as_json(record))


def set_cost(prepared, trial, **changes) -> None:
    record = prepared.store.record(trial.id)
    cost = record.cost.model_copy(update=changes)
    rewrite(prepared, record.model_copy(update={"cost": cost}))


def said(prepared, slots: int = 1, retry_failed: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=1000)
    outlook.print_plan(console, prepared, slots, CPU, retry_failed, why=False)
    return console.file.getvalue().splitlines()


def test_a_done_plan_is_counted_and_needs_no_estimate(paths):
    assert said(prepare(["erm", "groupdro"], paths, seeds=(0,)))[-1] == "3 trials: 3 done."


def test_the_estimate_is_the_mean_of_the_same_methods_trials_over_the_slots(paths):
    prepared = prepare(["groupdro"], paths, seeds=(0, 1, 2))
    for trial, seconds in zip(prepared.plan.trials.values(), (100.0, 300.0), strict=False):
        if prepared.store.has(trial.id):
            set_cost(prepared, trial, fit_seconds=seconds, predict_seconds=30.0, score_seconds=10.0)
    set_cost(prepared, trial_of(prepare(["erm"], paths, seeds=(0,)), "erm"), fit_seconds=9999.0)
    # GroupDRO of seed 0 under two attributes took 140 s and 340 s; four of its trials are to run.
    costs = [prepared.store.record(t).cost for t in prepared.plan.trials if prepared.store.has(t)]
    mean = sum(c.fit_seconds + c.predict_seconds + c.score_seconds for c in costs) / len(costs)
    lines = said(prepared, slots=2)
    assert lines[-2] == "6 trials: 2 done, 4 to run."
    assert lines[-1].startswith(
        f"About {outlook.timedelta(seconds=round(4 * mean / 2))} for 4 of them, 2 at a time, by "
    )


def test_a_chain_takes_as_long_as_its_links_however_many_slots_there_are(paths):
    prepared = prepare(["febs"], paths, seeds=(0, 1))
    for trial in prepared.plan.trials.values():
        if prepared.store.has(trial.id):
            seconds = 100.0 if trial.plugin.name == "erm" else 50.0
            set_cost(prepared, trial, fit_seconds=seconds, predict_seconds=0.0, score_seconds=0.0)
    # Seed 1: ERM and, after it, FEBS twice beside each other.
    assert said(prepared, slots=8)[-1].startswith("About 0:02:30 for 3 of them, 8 at a time")


@pytest.mark.parametrize("elsewhere", [{"device": "NVIDIA A100"}, {"device": "cpu (riscv64)"}])
def test_records_of_another_device_tell_nothing(paths, elsewhere):
    prepared = prepare(["groupdro"], paths, seeds=(0, 1))
    for name in prepared.store.ids():
        record = prepared.store.record(name)
        changed = record.model_copy(update={"cost": Cost(fit_seconds=5.0, **elsewhere)})
        rewrite(prepared, changed)
    assert said(prepared)[-1].startswith("No estimate of the time: no trial of this protocol")


def test_records_of_a_machine_with_other_cores_tell_nothing(paths):
    prepared = prepare(["groupdro"], paths, seeds=(0, 1))
    for name in prepared.store.ids():
        record = prepared.store.record(name)
        other = record.environment | {"cpus": (os.cpu_count() or 1) + 1}
        rewrite(prepared, record.model_copy(update={"environment": other}))
    assert said(prepared)[-1].startswith("No estimate of the time")


def test_another_recipe_is_another_time(paths):
    assert said(prepare(["groupdro"], paths, seeds=(0,), epochs=50))[-1].startswith("No estimate of the time")


def test_failed_trials_are_counted_apart_and_run_again_on_request(paths):
    prepared = prepare(["groupdro"], paths, seeds=(0,))
    trial = trial_of(prepared, "groupdro")
    record = prepared.store.record(trial.id)
    rewrite(prepared, record.model_copy(update={"status": "failed"}))
    assert said(prepared)[-2:] == [
        "2 trials: 1 done, 1 failed.",
        "--retry-failed runs the failed ones again.",
    ]
    assert said(prepared, retry_failed=True)[-2] == "2 trials: 1 done, 1 to run."


def test_what_trains_again_for_its_weights_is_said_and_counted_in_the_time(paths):
    prepared = prepare(["febs"], paths, seeds=(0,))
    origin = trial_of(prepare(["erm"], paths, seeds=(0,)), "erm")
    for trial in prepared.plan.trials.values():
        if trial.id == origin.id:
            set_cost(prepared, trial, fit_seconds=100.0, predict_seconds=0.0, score_seconds=0.0)
            prepared.store.weights(trial.id).unlink(missing_ok=True)
        else:
            set_cost(prepared, trial, fit_seconds=50.0, predict_seconds=0.0, score_seconds=0.0)
    first = next(trial for trial in prepared.plan.trials.values() if trial.id != origin.id)
    record = prepared.store.record(first.id)
    rewrite(prepared, record.model_copy(update={"status": "failed"}))
    lines = said(prepared, retry_failed=True)
    assert any(line.startswith("1 of those that are done train again first") for line in lines)
    assert lines[-1].startswith("About 0:02:30 for 2 of them")
