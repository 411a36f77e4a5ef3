"""Some attributes of a protocol can be run alone: on the same split, beside what the board has of others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import parse, shared_run

import leaderboard
from harness.running.board import protocol_digest, write_protocol
from harness.running.prepare import Prepared
from harness.running.prepare import prepare as prepare_run
from harness.running.trial import Paths


def prepare(paths: Paths, methods: list[str], *attributes: str) -> Prepared:
    return prepare_run(parse(seeds=(0,)), methods, paths, "tiny.toml", attributes=attributes)


@pytest.fixture
def paths(tmp_path) -> Paths:
    return Paths(tmp_path / "runs", None, tmp_path / "cache")


def test_only_the_trials_of_that_attribute_and_what_they_start_from_are_planned(paths):
    whole, part = prepare(paths, ["febs", "adv"]), prepare(paths, ["febs", "adv"], "race")
    assert {row.attribute for row in part.plan.rows} == {"race"}
    assert part.plan.rows == tuple(row for row in whole.plan.rows if row.attribute == "race")
    labels = {trial.label for trial in part.plan.trials.values()}
    assert labels == {"erm seed 0", "febs race seed 0", "adv race seed 0"}


def test_the_split_the_ids_and_the_board_are_those_of_all_attributes(paths):
    whole, part = prepare(paths, ["adv"]), prepare(paths, ["adv"], "gender")
    assert part.cohort.digest == whole.cohort.digest
    assert set(part.plan.trials) < set(whole.plan.trials)
    assert protocol_digest(part.protocol, part.cohort) == protocol_digest(whole.protocol, whole.cohort)


def test_cells_of_the_other_attributes_stay_on_the_board(paths):
    write_protocol(prepare(paths, ["adv"], "race"), "harness run adv --attribute race")
    write_protocol(prepare(paths, ["adv"], "gender"), "harness run adv --attribute gender")
    board = prepare(paths, ["adv"]).store.protocol("tiny")
    assert sorted((row.method, row.attribute) for row in board.plan) == [("adv", "gender"), ("adv", "race")]


def test_code_that_changed_takes_the_cells_of_the_other_attributes_along(paths, tmp_path):
    # Or the board would show one attribute of the old method beside one of the new.
    file = tmp_path / "mine.py"
    file.write_text(Path("methods/adv.py").read_text())
    before = prepare(paths, [str(file)])
    write_protocol(before, "")
    file.write_text(file.read_text().replace("strength * features", "0.5 * strength * features"))
    write_protocol(prepare(paths, [str(file)], "race"), "")
    now = prepare(paths, [str(file)])
    assert set(now.plan.trials) != set(before.plan.trials)
    assert {row.trial for row in now.store.protocol("tiny").plan} == set(now.plan.trials)


def test_a_site_is_built_of_a_board_with_one_attribute(tmp_path_factory, tmp_path):
    done = shared_run(tmp_path_factory)
    paths = replace(done, runs=tmp_path / "runs")
    shutil.copytree(done.runs / "records", paths.runs / "records")
    write_protocol(prepare(paths, ["erm", "adv"], "race"), "harness run erm adv --attribute race")
    leaderboard.build(paths.runs, tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert "race" in page
