"""`list`, `show` and `report` on records: for a person in an order that helps, for a program as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from make_records import World, make_store, trial_id

from harness.cli import cli
from harness.errors import HarnessError
from harness.store import Store

WORLD = World(
    methods=("febs", "erm", "adv"), attributes=("race", "gender"), seeds=(2, 0, 1), samples=60,
    failed=frozenset({("adv", "race", 1)}),
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("records") / "runs", WORLD).root


def invoke(*arguments: str, status: int = 0):
    done = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert done.exit_code == status, done.output
    return done


def test_trials_stand_by_method_attribute_and_seed_with_score_time_and_date(runs):
    lines = invoke("list", "trials", "--runs", runs).stdout.splitlines()
    # ERM reads no attribute: one trial a seed; the others one for each of two attributes.
    assert len(lines) == 3 + 2 * 6
    keys = [(line.split()[2], line.split()[3], int(line.split("seed ")[1].split()[0])) for line in lines]
    assert keys == sorted(keys)
    scores = Store(runs).scores(trial_id(WORLD, "febs", "race", 0))
    dice = scores.loc[scores["structure"] == "cup", "dice"].mean()
    (febs,) = [line for line in lines if "febs" in line and "race" in line and "seed 0" in line]
    assert f"cup Dice {dice:.4f}" in febs
    assert "0:01:11" in febs  # 60 + 4 + 0 seconds of training, 5 of predicting and 2 of scoring
    assert "2025-01-01" in febs or "2024-12-31" in febs  # midnight in UTC, as this machine has it
    (bad,) = [line for line in lines if "failed" in line]
    assert "Dice" not in bad


def test_trials_as_json_are_the_same_rows_and_nothing_else(runs):
    rows = json.loads(invoke("list", "trials", "--runs", runs, "--json").stdout)
    lines = invoke("list", "trials", "--runs", runs).stdout.splitlines()
    assert [row["id"][:8] for row in rows] == [line.split()[0] for line in lines]
    assert {row["status"] for row in rows} == {"done", "failed"}
    assert [row["dice"] is None for row in rows] == [row["status"] == "failed" for row in rows]


def test_without_records_it_is_said_and_json_is_an_empty_list(tmp_path):
    done = invoke("list", "trials", "--runs", tmp_path / "none")
    assert done.stdout == ""
    assert "no trial has left a record yet" in done.stderr
    assert json.loads(invoke("list", "trials", "--runs", tmp_path / "none", "--json").stdout) == []


def test_without_boards_it_is_said(tmp_path):
    assert (
        "there is no board yet; `harness run` makes one."
        in invoke("board", "list", "--runs", tmp_path / "none").output
    )


def test_methods_and_protocols_as_json():
    methods = {row["name"]: row for row in json.loads(invoke("list", "methods", "--json").stdout)}
    assert methods["groupdro"]["hyper_parameters"] == {"step_size": 0.01, "adjustment": 0.0}
    assert "quick" in {row["name"] for row in json.loads(invoke("list", "protocols", "--json").stdout)}


def test_a_trial_begins_with_ten_lines_for_a_person(runs):
    trial = trial_id(WORLD, "febs", "race", 0)
    lines = invoke("show", trial[:12], "--runs", runs).stdout.splitlines()
    assert lines[10] == ""
    card = {line[:9].strip(): line[10:] for line in lines[:10]}
    frame = Store(runs).scores(trial)
    cup = frame[frame["structure"] == "cup"].set_index("sample")["dice"]
    race = Store(runs).subjects("quick").set_index("sample")["race"].reindex(cup.index)
    for group in ("Asian", "Black", "White"):
        assert f"{group} {cup[race == group].mean():.4f}" in card["by group"]
    assert card["scores"].startswith(f"Dice cup {cup.mean():.4f}, ")
    assert card["trial"].startswith(f"{trial}, done on 202")
    assert "0:01:04 training, 5.0 s predicting, 2.0 s scoring, 0.90 GB at most" in card["cost"]
    assert card["files"] == f"{runs}/records/{trial}/"
    assert any(line.startswith("cup") for line in lines[11:])


def test_a_method_that_reads_no_attribute_is_shown_by_the_groups_of_all(runs):
    lines = invoke("show", trial_id(WORLD, "erm", "race", 0), "--runs", runs).stdout.splitlines()
    (groups,) = [line for line in lines if line.startswith("by group")]
    assert "race Asian" in groups
    assert "gender Female" in groups


def test_a_failed_trial_ends_with_its_log(runs):
    text = invoke("show", trial_id(WORLD, "adv", "race", 1), "--runs", runs).stdout
    assert text.splitlines()[10] == ""
    assert "Loss became NaN in epoch 2 of 5" in text
    assert text.rstrip().endswith("Traceback: simulated")


def test_a_trial_as_json_is_its_record_without_the_source(runs):
    record = json.loads(invoke("show", trial_id(WORLD, "febs", "race", 0), "--runs", runs, "--json").stdout)
    assert record["status"] == "done"
    assert "source" not in record["method"]


def test_an_id_that_begins_several_names_them(runs):
    done = CliRunner().invoke(cli, ["show", "", "--runs", str(runs)])
    assert isinstance(done.exception, HarnessError)
    ids = sorted(Store(runs).ids())
    first = next(one[0] for one in ids if sum(other.startswith(one[0]) for other in ids) > 1)
    few = CliRunner().invoke(cli, ["show", first, "--runs", str(runs)]).exception
    assert f"records with an id that begins with '{first}': " in str(few)


@pytest.mark.parametrize("missing", ["some", "all"])
def test_no_site_is_written_where_no_trial_has_ended(tmp_path, missing):
    cells = frozenset((m, a, s) for m in WORLD.methods for a in WORLD.attributes for s in WORLD.seeds)
    world = replace(
        WORLD, missing=cells if missing == "all" else frozenset(sorted(cells)[1:]), failed=frozenset()
    )
    make_store(tmp_path / "runs", world)
    done = CliRunner().invoke(
        cli, ["report", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "site")]
    )
    if missing == "some":
        assert done.exit_code == 0, done.output
        return
    assert isinstance(done.exception, HarnessError)
    assert "none of the 15 trials of quick has ended yet: nothing to report" in str(done.exception)
    assert not (tmp_path / "site").exists()
