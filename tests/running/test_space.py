"""Weights stay where a method may start from them, and come back to the bit where a later one does."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tiny import CPU, Silent, prepare

from harness.errors import HarnessError
from harness.plugin import discovery
from harness.running import trial
from harness.running.executors.local import LocalExecutor
from harness.running.schedule import execute
from harness.running.space import parts, prune, readable, size_of
from harness.running.trial import Paths
from harness.store import Cost, Store

LATER = """
from harness import Batch, Card, Method, Output, segmentation_loss


class Later(Method):
    card = Card(title="Later")
    starts_from = "groupdro"
    reads_attribute = True

    def loss(self, batch: Batch, output: Output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


@pytest.fixture
def paths(tiny_run, tmp_path):
    """A copy of the run of ERM, GroupDRO, ADV and FEBS, all of whose weights are there."""
    return Paths(shutil.copytree(tiny_run.runs, tmp_path / "runs"), None, tiny_run.cache)


def weights_of(paths, *names):
    prepared = prepare(names, paths, seeds=(0,))
    store = Store(paths.runs)
    return {
        (one.plugin.name, one.attribute): store.weights(one.id).is_file()
        for one in prepared.plan.trials.values()
    }


def files(store, ids):
    return {
        path.relative_to(store.root): path.read_bytes() for one in ids for path in store.path(one).iterdir()
    }


def run(file, paths):
    prepared = prepare([str(file)], paths, seeds=(0,))
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        return prepared, execute(prepared, executor, Silent(), 2, CPU)


def test_what_methods_start_from_is_read_from_their_files():
    assert discovery.origins() == {"erm"}


def test_only_weights_that_a_method_starts_from_stay(paths):
    found = prune(prepare(["erm", "groupdro", "febs"], paths, seeds=(0,)))
    assert weights_of(paths, "erm", "groupdro", "febs") == {
        ("erm", None): True,
        ("groupdro", "race"): False,
        ("groupdro", "gender"): False,
        ("febs", "race"): False,
        ("febs", "gender"): False,
    }
    assert (found.kept, found.removed) == (1, 4)
    assert found.removed_bytes > found.kept_bytes > 0
    # ADV was not in the plan: another run may be at it.
    assert weights_of(paths, "adv") == {("adv", "race"): True, ("adv", "gender"): True}


def test_weights_that_are_gone_come_back_to_the_bit_and_no_record_changes(paths, tmp_path):
    file = tmp_path / "later.py"
    file.write_text(LATER)
    whole = Paths(shutil.copytree(paths.runs, tmp_path / "whole"), None, paths.cache)
    prepared, outcome = run(file, whole)
    assert outcome.again == []
    store = Store(paths.runs)
    before = files(store, store.ids())
    prune(prepare(["groupdro"], paths, seeds=(0,)))
    _, outcome = run(file, paths)
    assert sorted(one.plugin.name for one in outcome.again) == ["groupdro", "groupdro"]
    assert (outcome.already, outcome.count("done"), outcome.errors) == (0, 4, [])
    assert {name: data for name, data in files(store, store.ids()).items() if name in before} == before
    for one in prepared.plan.trials.values():
        assert store.weights(one.id).read_bytes() == Store(whole.runs).weights(one.id).read_bytes()
        for name in ("predictions.npz", "scores.parquet", "curve.csv"):
            assert (store.path(one.id) / name).read_bytes() == (
                Store(whole.runs).path(one.id) / name
            ).read_bytes()


def test_weights_are_not_trained_again_for_what_is_done(paths):
    prune(prepare(["erm", "febs"], paths, seeds=(0,)))
    prepared = prepare(["febs"], paths, seeds=(0,))
    for one in prepared.plan.trials.values():
        Store(paths.runs).weights(one.id).unlink(missing_ok=True)
    outcome = execute(prepared, None, Silent(), 1, CPU)
    assert (outcome.again, outcome.already) == ([], 3)


def test_a_record_of_another_machine_is_not_taken_for_this_ones(paths):
    prepared = prepare(["groupdro"], paths, seeds=(0,))
    one = next(one for one in prepared.plan.trials.values() if one.plugin.name == "groupdro")
    store = Store(paths.runs)
    store.weights(one.id).unlink()
    _, labels = store.predictions(one.id)

    def otherwise(*_):
        return trial.Fitted(1 - labels.clip(0, 1), [], Cost(), {})

    with pytest.raises(HarnessError, match="predicts otherwise than its record"):
        trial.run(replace(one, again=True), paths, CPU, train=otherwise)
    assert store.record(one.id).status == "done"
    assert not store.weights(one.id).exists()


def test_the_parts_add_up_to_the_folder(paths):
    found = parts(Paths(paths.runs, None, paths.runs / "no-cache"))
    assert {part.path.name for part in found} >= {"records", "weights"}
    assert sum(part.size for part in found) == size_of(paths.runs)
    assert all(part.what for part in found)
    assert [readable(size) for size in (999, 1500, 680_000_000)] == ["999 B", "1.5 kB", "680 MB"]
