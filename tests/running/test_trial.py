"""One trial end to end on a tiny cohort with a tiny U-Net: determinism, kills, records, failures."""

from __future__ import annotations

import multiprocessing
import shutil
import textwrap
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cohort_files import write_fairseg
from tiny import CPU, PROTOCOL, UNET, Silent, prepare, trial_of

from harness import metrics
from harness.cohorts import synthetic
from harness.errors import HarnessError
from harness.running import trial
from harness.running.executors.local import LocalExecutor
from harness.running.schedule import execute
from harness.running.trial import Paths
from harness.store import CURVE, SCORES, Store
from harness.training import compiling, fit

PLUGIN = """
import torch
from harness import Card, Method, segmentation_loss

class Bad(Method):
    card = Card(title="Bad")

    def loss(self, batch, output):
        loss = segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
        {line}
"""

HALF = PROTOCOL["cohort"] | {"samples": 40}
SYNTHETIC = {key: PROTOCOL["cohort"][key] for key in ("samples", "shift", "seed")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def paths(tmp_path, cache):
    return Paths(tmp_path / "runs", None, cache)


def plugin_file(folder: Path, line: str) -> str:
    file = folder / "bad.py"
    file.write_text(textwrap.dedent(PLUGIN).format(line=line))
    return str(file)


def test_a_record_holds_what_the_design_says(tiny_run):
    prepared = prepare(["erm"], tiny_run)
    (one, _) = prepared.plan.trials.values()
    store = prepared.store
    record = store.record(one.id)
    assert record.status == "done"
    assert sorted(record.files) == ["curve.csv", "log.txt", "predictions.npz", "scores.parquet"]
    scores, curve = store.scores(one.id), store.curve(one.id)
    assert tuple(scores.columns) == SCORES
    assert tuple(curve.columns) == CURVE
    test = prepared.cohort.rows("test")
    assert len(scores) == 3 * len(test)
    samples, labels = store.predictions(one.id)
    assert labels.shape == prepared.cohort.masks[test].shape
    # The scores follow from predictions and truth alone.
    cup = scores[scores.structure == "cup"].reset_index()
    truth = prepared.cohort.masks[test[0]] == 2
    assert cup.dice[0] == pytest.approx(metrics.dice(labels[0] == 2, truth))
    assert list(cup["sample"]) == list(samples)
    assert record.cost.fit_seconds > 0
    assert record.cost.trained_parameters > 1000
    assert not (store.root / "work" / one.id).exists()


def test_same_trial_twice_gives_identical_bytes(paths, tmp_path):
    torch.compile(torch.sin, backend="eager")(torch.ones(2))  # for another than these trials
    assert compiling.seconds() > 0
    one = trial_of(prepare(["groupdro"], paths, backbone=UNET, cohort=HALF), "groupdro")
    files = []
    for runs in (tmp_path / "first", tmp_path / "second"):
        assert trial.run(one, Paths(runs, None, paths.cache), CPU) == "done"
        folder = runs / "records" / one.id
        files.append(
            {n: (folder / n).read_bytes() for n in ("scores.parquet", "predictions.npz", "curve.csv")}
        )
        assert Store(runs).record(one.id).cost.compile_seconds == 0
    assert files[0] == files[1]


# What a batch normalisation carries along must be resumed too.
RESUMED = {"methods": ["erm-balanced"], "epochs": 6, "backbone": UNET, "cohort": HALF}


def train(paths: Paths) -> None:
    """Be the process that is killed: a checkpoint after every epoch."""
    fit.CHECKPOINT_SECONDS = 0.0
    trial.run(trial_of(prepare(paths=paths, **RESUMED), "erm-balanced"), paths, CPU)


def start(runs: Path, cache: Path) -> BaseProcess:
    process = multiprocessing.get_context("forkserver").Process(target=train, args=[Paths(runs, None, cache)])
    process.start()
    return process


def ended_well(process: BaseProcess) -> bool:
    process.join()
    return process.exitcode == 0


def test_killed_trial_resumes_to_the_same_bits(paths, tmp_path):
    prepared = prepare(paths=paths, **RESUMED)
    one = trial_of(prepared, "erm-balanced")
    assert ended_well(start(tmp_path / "whole", paths.cache))
    expected = (tmp_path / "whole" / "records" / one.id / "scores.parquet").read_bytes()
    runs = tmp_path / "killed"
    checkpoint = runs / "work" / one.id / "checkpoint.pt"
    kills, seen = 0, -1.0
    while kills < 5:
        process = start(runs, paths.cache)
        # Five different moments: each after one more checkpoint than the last, and a bit later into
        # the epoch that follows it.
        while process.is_alive() and (not checkpoint.exists() or checkpoint.stat().st_mtime == seen):
            time.sleep(0.01)
        time.sleep(0.03 * kills)
        if not process.is_alive():
            break
        process.kill()
        process.join()
        kills += 1
        seen = checkpoint.stat().st_mtime
    assert kills == 5
    assert not (runs / "records" / one.id).exists()
    assert ended_well(start(runs, paths.cache))
    assert (runs / "records" / one.id / "scores.parquet").read_bytes() == expected


def test_erm_serves_every_attribute_and_febs_starts_from_it(paths):
    prepared = prepare(["febs"], paths)
    by_name = {t.plugin.name: [] for t in prepared.plan.trials.values()}
    for one in prepared.plan.trials.values():
        by_name[one.plugin.name].append(one)
    seeds, attributes = len(prepared.protocol.seeds), len(prepared.protocol.attributes)
    assert len(by_name["erm"]) == seeds
    assert len(by_name["febs"]) == seeds * attributes
    erm = {t.seed: t.id for t in by_name["erm"]}
    assert all(t.starts_from == erm[t.seed] for t in by_name["febs"])
    assert {r.trial for r in prepared.plan.rows if r.method == "erm"} == set(erm.values())


def test_a_second_run_does_nothing(tiny_run, tmp_path):
    paths = replace(tiny_run, runs=shutil.copytree(tiny_run.runs, tmp_path / "runs"))
    prepared = prepare(["erm", "febs"], paths, seeds=(0,))
    stamps = {p: p.stat().st_mtime_ns for p in paths.runs.rglob("*") if p.is_file()}
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        second = execute(prepared, executor, Silent(), 2, CPU)
    assert (second.already, second.count("done")) == (3, 3)
    assert stamps == {p: p.stat().st_mtime_ns for p in paths.runs.rglob("*") if p.is_file()}


def test_beside_others_gives_the_same_bytes_as_alone(tiny_run, tmp_path):
    alone = replace(tiny_run, runs=tmp_path / "alone")
    one = trial_of(prepare(["groupdro"], alone), "groupdro")
    trial.run(one, alone, CPU)
    name = f"records/{one.id}/scores.parquet"
    assert (alone.runs / name).read_bytes() == (tiny_run.runs / name).read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return loss * float('nan')", "Bad.loss became nan at step 0"),
        ("return output.losses", r"Bad.loss returned shape \(8,\); a method returns one scalar tensor"),
        ("return loss.item()", "Bad.loss returned float; a method returns one scalar tensor"),
        ("return loss.detach()", "returned a tensor without a gradient"),
        ("raise KeyError('mine')", r"bad.py:10: KeyError: 'mine'"),
        ("raise SystemExit(3)", r"bad.py:10: SystemExit: 3"),
    ],
)
def test_a_failing_method_is_recorded_with_its_reason_and_traceback(paths, tmp_path, line, message):
    prepared = prepare([plugin_file(tmp_path, line)], paths, seeds=(0,))
    one = trial_of(prepared, "bad")
    assert trial.run(one, paths, CPU) == "failed"
    record = prepared.store.record(one.id)
    assert record.status == "failed"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(record.error)
    assert "Traceback" in prepared.store.log(one.id)
    assert sorted(record.files) == ["log.txt"]


def test_a_failed_trial_does_not_stop_the_others_and_is_retried_only_when_asked(paths, tmp_path):
    names = [plugin_file(tmp_path, "raise RuntimeError('no')"), "erm"]
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        prepared = prepare(names, paths, seeds=(0,))
        first = execute(prepared, executor, Silent(), 2, CPU)
        assert (first.count("failed"), first.count("done")) == (2, 1)
        again = execute(prepared, executor, Silent(), 2, CPU)
        assert (again.count("failed"), again.already) == (2, 1)
        finished = prepared.store.record(trial_of(prepared, "bad").id).finished
        time.sleep(1.1)
        execute(prepared, executor, Silent(), 2, CPU, retry_failed=True)
    assert prepared.store.record(trial_of(prepared, "bad").id).finished > finished


def test_a_killed_worker_is_a_failed_record_that_says_so(paths, tmp_path):
    prepared = prepare([plugin_file(tmp_path, "import os; os.kill(os.getpid(), 9)")], paths, seeds=(0,))
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        execute(prepared, executor, Silent(), 1, CPU)
    assert "SIGKILL" in prepared.store.record(trial_of(prepared, "bad").id).error


def test_what_a_plugin_prints_is_in_its_log(paths, tmp_path):
    prepared = prepare([plugin_file(tmp_path, "print('hello from bad'); return loss")], paths, seeds=(0,))
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        execute(prepared, executor, Silent(), 1, CPU)
    assert "hello from bad" in prepared.store.log(trial_of(prepared, "bad").id)


def test_a_method_that_goes_to_another_folder_leaves_its_record_in_that_of_records(
    paths, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    here = replace(paths, runs=Path("relative"))
    moving = plugin_file(tmp_path, f"import os; os.chdir({str(tmp_path.parent)!r}); return loss")
    prepared = prepare([moving], here, seeds=(0,))
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        execute(prepared, executor, Silent(), 1, CPU)
    assert Store(tmp_path / "relative").is_done(trial_of(prepared, "bad").id)


def test_an_id_changes_with_what_can_change_the_result_and_with_nothing_else(paths, tmp_path):
    def erm_id(**changes) -> str:
        return trial_of(prepare(["erm"], paths, **changes), "erm").id

    same = erm_id()
    assert erm_id(title="Another title") == same
    assert erm_id(seeds=(0, 1, 2)) == same
    assert erm_id(finetune={"epochs": 9}) == same
    assert erm_id(learning_rate=0.5) != same
    assert erm_id(cohort=PROTOCOL["cohort"] | {"seed": 5}) != same
    plugin = plugin_file(tmp_path, "return loss")
    before = trial_of(prepare([plugin], paths), "bad").id
    plugin_file(tmp_path, "return 2 * loss")
    assert trial_of(prepare([plugin], paths), "bad").id != before


@pytest.mark.parametrize("changed", ["bad.py", "helper.py"])
def test_a_method_edited_since_it_was_planned_is_not_filed_under_the_old_id(paths, tmp_path, changed):
    (tmp_path / "helper.py").write_text("FACTOR = 1\n")
    prepared = prepare([plugin_file(tmp_path, "import helper; return loss")], paths)
    one = trial_of(prepared, "bad")
    with (tmp_path / changed).open("a") as file:
        file.write("EDITED = True\n")
    with pytest.raises(
        trial.HarnessError, match=r"bad\.py: .* changed since this run was planned; run again"
    ):
        trial.run(one, paths, CPU)
    assert not prepared.store.has(one.id)


def test_a_record_keeps_the_source_that_ran(paths, tmp_path):
    file = Path(plugin_file(tmp_path, "open(__file__, 'a').write('#'); return loss"))
    text = file.read_text()
    prepared = prepare([str(file)], paths)
    one = trial_of(prepared, "bad")
    assert trial.run(one, paths, CPU) == "done"
    assert prepared.store.record(one.id).method.source == text != file.read_text()


def test_a_cohort_that_changed_since_the_plan_stops_the_trial(paths):
    prepared = prepare(["erm"], paths)
    one = trial_of(prepared, "erm")
    one = replace(one, identity=one.identity | {"data": one.identity["data"] | {"train masks": "0" * 64}})
    with pytest.raises(trial.HarnessError, match="The cohort .* has changed since this run was planned"):
        trial.run(one, paths, CPU)
    assert not prepared.store.has(one.id)


def test_a_trial_that_another_process_has_finished_meanwhile_is_not_run_again(paths):
    prepared = prepare(["erm"], paths)
    one = trial_of(prepared, "erm")
    with LocalExecutor([{}], preload=["harness.running.trial"]) as executor:
        for _ in range(2):
            assert executor.submit(trial.run_logged, one, paths, CPU).result() == "done"
            stamp = (prepared.store.path(one.id) / "record.json").stat().st_ino
    assert (prepared.store.path(one.id) / "record.json").stat().st_ino == stamp
    assert not (paths.runs / "work" / one.id).exists()


def test_a_full_disk_leaves_no_record_and_a_sentence(paths, tmp_path, monkeypatch):
    one = trial_of(prepare(["erm"], paths), "erm")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device", str(paths.runs))

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(trial.HarnessError, match="the disk is full"):
        trial.run(one, paths, CPU)
    assert list((paths.runs / "records").iterdir()) == []
    monkeypatch.undo()
    assert trial.run(one, paths, CPU) == "done"


@pytest.mark.parametrize(("error", "whose"), [(torch.cuda.OutOfMemoryError, "GPU"), (MemoryError, "host")])
def test_want_of_memory_is_no_fault_of_the_method(paths, monkeypatch, error, whose):
    """Where memory is full while it predicts, say, no record blames it."""

    def full(*_):
        raise error("Tried to allocate 2.00 GiB.")

    one = trial_of(prepare(["erm"], paths), "erm")
    monkeypatch.setattr("harness.training.train.predict", full)
    with pytest.raises(HarnessError, match=f"erm seed 0: the {whose}'s memory is full, which is no fault of"):
        trial.run(one, paths, CPU)
    assert not Store(paths.runs).has(one.id)


def test_a_loss_that_takes_all_of_the_hosts_memory_is_told_with_its_line(paths, tmp_path):
    file = plugin_file(tmp_path, "torch.empty(2**60, dtype=torch.uint8)")
    one = trial_of(prepare([file], paths), "bad")
    assert trial.run(one, paths, CPU) == "failed"
    assert "bad.py:10: RuntimeError: [enforce fail at alloc_cpu" in Store(paths.runs).record(one.id).error


def test_learning_curve_has_the_loss_of_every_group(tiny_run):
    prepared = prepare(["erm"], tiny_run)
    curve = prepared.store.curve(trial_of(prepared, "erm").id)
    overall = curve[(curve.quantity == "loss") & (curve.attribute == "")]
    assert list(overall.epoch) == [0, 1]
    assert set(curve[curve.attribute == "race"].group) == {"Asian", "Black", "White"}
    assert pd.api.types.is_float_dtype(curve.value)


@pytest.mark.parametrize("generation", ["published", "scripts"])
def test_fairseg_files_give_the_same_record_as_the_cohort_they_came_from(tiny_run, tmp_path, generation):
    original = prepare(["erm"], tiny_run)
    source = synthetic.open_source(synthetic.Options(**SYNTHETIC), PROTOCOL["cohort"]["size"], None)
    people = [source.read(row).columns for row in range(PROTOCOL["cohort"]["samples"])]
    data = write_fairseg(original.cohort, people, tmp_path / "data", generation)
    cohort = {"source": "fairseg", "size": 64, "train": "train.txt", "test": "test.txt"}
    copied = Paths(tmp_path / "copied", data, tmp_path / "cache")
    from_files = prepare(["erm"], copied, cohort=cohort)
    one, other = trial_of(original, "erm"), trial_of(from_files, "erm")
    assert one.id == other.id
    trial.run(other, copied, CPU)
    for name in ("scores.parquet", "predictions.npz"):
        first, second = (p.runs / "records" / one.id / name for p in (tiny_run, copied))
        assert first.read_bytes() == second.read_bytes()
