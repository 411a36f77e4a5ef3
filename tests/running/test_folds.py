"""Cross-validation by patient: a trial a fold, and one pooled score of every patient on the board."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_run import Inline
from tiny import CPU, Silent, parse
from tiny import prepare as prepare_tiny

import leaderboard
from harness.errors import HarnessError
from harness.running.board import write_protocol
from harness.running.prepare import Prepared
from harness.running.schedule import execute
from harness.running.trial import Paths
from harness.store import Store
from harness.submission import pack
from leaderboard.read import boards
from leaderboard.read.boards import METRICS

FOLDS = 2
CHANGES = {
    "split": {"folds": FOLDS},
    "attributes": {"gender": {}},
    "seeds": [0, 1],
    "epochs": 1,
    "cohort": {"source": "synthetic", "size": 64, "samples": 40, "shift": 1.0, "seed": 0},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    """ERM in two folds under two seeds, run, and on its board."""
    folder = tmp_path_factory.mktemp("folds")
    found = prepare_tiny(["erm"], Paths(folder / "runs", None, folder / "cache"), **CHANGES)
    outcome = execute(found, Inline(), Silent(), 1, CPU)
    assert not outcome.errors
    write_protocol(found, "harness run erm")
    return found


def test_a_trial_a_fold_and_seed_with_an_id_of_its_own(prepared):
    rows = prepared.plan.rows
    assert {(row.seed, row.fold) for row in rows} == {(s, f) for s in (0, 1) for f in range(FOLDS)}
    assert len({row.trial for row in rows}) == 2 * FOLDS
    assert [one.label for one in prepared.plan.trials.values()][:2] == [
        "erm seed 0 fold 0",
        "erm seed 0 fold 1",
    ]


def test_every_patient_is_scored_once_under_each_seed(prepared):
    store = Store(prepared.paths.runs)
    for seed in (0, 1):
        trials = [row.trial for row in prepared.plan.rows if row.seed == seed]
        samples = [sample for trial in trials for sample in set(store.scores(trial)["sample"])]
        assert sorted(samples) == sorted(prepared.cohort.subjects["sample"])


def test_the_board_has_each_samples_score_from_the_fold_that_tested_it(prepared):
    store = Store(prepared.paths.runs)
    (board,) = boards.of_store(store)
    assert len(board.test) == 40
    dice = board.matrix("erm", "gender", "cup", "dice")
    assert dice.shape == (2, 40)
    for row in prepared.plan.rows:
        own = store.scores(row.trial).query("structure == 'cup'").set_index("sample")["dice"]
        there = board.test["sample"].isin(own.index).to_numpy()
        assert dice[row.seed][there] == pytest.approx(own.reindex(board.test["sample"][there]).to_numpy())
    assert board.cost("erm", "gender").fit_seconds == pytest.approx(
        np.mean(
            [
                sum(store.record(r.trial).cost.fit_seconds for r in prepared.plan.rows if r.seed == seed)
                for seed in (0, 1)
            ]
        )
    )
    assert np.isfinite(board.scores[board.entries["erm"].done("gender")[0].id][:, METRICS.index("nsd")]).all()


def test_the_site_pools_the_folds_and_says_what_no_interval_holds(prepared, tmp_path):
    leaderboard.build(prepared.paths.runs, tmp_path / "site")
    export = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    (section, *_) = export["protocols"][0]["sections"]
    (method,) = section["methods"]
    assert method["status"] == "done"
    assert len(method["trials"]) == 2 * FOLDS
    assert section["group_samples"]["female"] + section["group_samples"]["male"] == 40
    assert not section["not_computed"]
    assert "tested in 2 folds" in (tmp_path / "site" / "tiny" / "protocol.html").read_text()


def test_a_fold_that_is_to_run_leaves_its_seed_without_a_score(prepared, tmp_path):
    store = Store(prepared.paths.runs)
    other = Store(tmp_path / "runs")
    write_protocol(
        prepare_tiny(["erm"], Paths(other.root, None, prepared.paths.cache), **CHANGES), "harness run"
    )
    for row in prepared.plan.rows[:-1]:
        other.path(row.trial).parent.mkdir(parents=True, exist_ok=True)
        other.path(row.trial).symlink_to(store.path(row.trial).resolve())
    (board,) = boards.of_store(other)
    assert board.entries["erm"].status("gender") == "partial"
    assert [record.seed for record in board.entries["erm"].done("gender")] == [0]


def test_running_again_runs_and_scores_nothing(prepared):
    outcome = execute(prepared, Inline(), Silent(), 1, CPU)
    assert (outcome.already, outcome.rescored, outcome.errors) == (2 * FOLDS, [], [])


def test_a_protocol_without_folds_keeps_its_words():
    assert "folds" not in parse().model_dump(mode="json")["split"]
    assert "fold" not in parse(**CHANGES).model_dump(mode="json")["split"]


def test_folds_are_not_packed(prepared):
    (plugin,) = {one.plugin for one in prepared.plan.trials.values()}
    with pytest.raises(HarnessError, match="pack under a protocol without"):
        pack.pack(prepared, plugin, "harness run erm")
