"""Scores have an identity of their own: a changed metric scores kept predictions again and trains nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_run import Inline
from test_trial import Silent
from tiny import CPU, parse, prepare

from harness.errors import HarnessError
from harness.running import schedule, scoring, trial
from harness.running.board import write_protocol
from harness.running.schedule import execute
from harness.running.trial import Paths


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny run of ERM under one seed, whole."""
    folder = tmp_path_factory.mktemp("scoring")
    prepared = prepare(["erm"], Paths(folder / "runs", None, folder / "cache"), seeds=(0,), epochs=1)
    write_protocol(prepared, "harness run erm")
    for one in prepared.plan.trials.values():
        assert trial.run(one, prepared.paths, CPU) == "done"
    return prepared


@pytest.fixture
def ran(whole, tmp_path):
    """A copy of the run, to be changed."""
    runs = shutil.copytree(whole.paths.runs, tmp_path / "runs")
    return replace(whole, paths=replace(whole.paths, runs=runs))


def run_again(prepared):
    return execute(prepared, Inline(), Silent(), 1, CPU)


def files(prepared) -> dict[str, bytes]:
    (name,) = prepared.plan.trials
    return {path.name: path.read_bytes() for path in prepared.store.path(name).iterdir()}


def test_what_is_scored_as_now_stays_as_it_is(ran):
    before = files(ran)
    outcome = run_again(ran)
    assert outcome.rescored == []
    assert files(ran) == before


def test_a_changed_metric_scores_again_and_trains_nothing(ran, monkeypatch):
    before = files(ran)
    (name,) = ran.plan.trials

    def half(*_):
        return {
            "dice": 0.5,
            "iou": 0.5,
            "hd95": 1.0,
            "hd95_max": 1.0,
            "asd": 1.0,
            "nsd": 0.5,
            "missed": False,
        }

    real = scoring.scoring_identity
    monkeypatch.setattr("harness.metrics.score.score_structure", half)
    changed = lambda basis: real(basis) | {"code": {"harness/metrics/surface.py": "another"}}  # noqa: E731
    monkeypatch.setattr(schedule, "scoring_identity", changed)
    monkeypatch.setattr(trial, "train_here", lambda *_: pytest.fail("trained"))
    outcome = run_again(ran)
    assert (outcome.rescored, outcome.already, outcome.errors) == ([name], 1, [])
    after = files(ran)
    differ = {file for file in before if before[file] != after[file]}
    assert differ == {"record.json", "scores.parquet"}
    assert (ran.store.scores(name)["dice"] == 0.5).all()
    assert ran.store.record(name).scoring["code"] == {"harness/metrics/surface.py": "another"}
    assert run_again(ran).rescored == []


def test_other_true_masks_of_the_test_samples_are_another_scoring_and_the_same_trial(tmp_path, monkeypatch):
    from harness import cohorts

    real = cohorts.load
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    one = prepare(["erm"], paths)

    def mended(*args):
        cohort = real(*args)
        masks = np.array(cohort.masks)
        masks[cohort.rows("test")[0]] = 0
        return replace(cohort, masks=masks)

    monkeypatch.setattr(cohorts, "load", mended)
    other = prepare(["erm"], paths)
    assert one.plan.trials.keys() == other.plan.trials.keys()
    assert scoring.scoring_identity(one.basis) != scoring.scoring_identity(other.basis)


def test_a_renamed_structure_is_another_scoring_and_the_same_trial(tmp_path):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    renamed = parse().structures | {"whole": (1, 2)}
    one, other = prepare(["erm"], paths), prepare(["erm"], paths, structures=renamed)
    assert one.plan.trials.keys() == other.plan.trials.keys()
    assert scoring.scoring_identity(one.basis) != scoring.scoring_identity(other.basis)


def test_predictions_of_other_samples_are_refused_by_their_folder(ran):
    (name,) = ran.plan.trials
    renamed = ran.cohort.subjects.assign(sample="other " + ran.cohort.subjects["sample"].astype(str))
    with pytest.raises(HarnessError, match=rf"{name}: its predictions are of other samples"):
        scoring.rescore(ran.store, name, ran.protocol, replace(ran.cohort, subjects=renamed), {"code": {}})


def test_scores_made_again_are_the_scores_that_were(ran):
    (name,) = ran.plan.trials
    before = ran.store.scores(name)
    scoring.rescore(ran.store, name, ran.protocol, ran.cohort, {"code": {}})
    pd.testing.assert_frame_equal(ran.store.scores(name), before)


def test_who_watches_is_told_of_each_sample_and_the_scores_are_the_same(whole):
    protocol, cohort = whole.protocol, whole.cohort
    labels = np.zeros_like(cohort.masks[cohort.rows("test")])
    told: list[tuple[int, int]] = []
    scores = scoring.score(protocol, cohort, labels, lambda done, total: told.append((done, total)))
    count = len(labels)
    assert sorted(set(told)) == [(done, count) for done in range(count + 1)]
    assert scores.equals(scoring.score(protocol, cohort, labels))
