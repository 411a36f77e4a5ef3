"""A bad record costs itself only: the site is built, and says which file it is."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from make_records import World, make_store, trial_id

import leaderboard
from leaderboard.write.exports import no_formula

WORLD = World(methods=("erm", "groupdro"), attributes=("race",), seeds=tuple(range(12)), samples=60)


def leaf(*path: str, value: object):
    def change(record: dict) -> dict:
        *way, last = path
        inner = record
        for part in way:
            inner = inner[part]
        inner[last] = value
        return record

    return change


BAD = {
    "no number": leaf("cost", "fit_seconds", value=float("nan")),
    "4000 digits": leaf("cost", "peak_memory_bytes", value=10**4000),
    "half a character": leaf("method", "title", value="\ud800"),
    "endless": leaf("identity", "x", value=[{"deep": float("-inf")}]),
    "a truth": leaf("seed", value=False),
    "a date": leaf("finished", value="yesterday"),
    "a list": lambda record: [],
    "text": lambda record: "text",
    "nothing": lambda record: None,
    "levels": leaf("provenance", value=json.loads('{"a":' * 60 + "1" + "}" * 60)),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    store = make_store(folder / "runs", WORLD)
    for seed, change in enumerate(BAD.values()):
        path = store.path(trial_id(WORLD, "groupdro", "race", seed)) / "record.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    leaderboard.build(store.root, folder / "site")
    return folder / "site"


def test_bad_records_are_shown_as_failed_and_their_files_named(site):
    (board,) = json.loads((site / "leaderboard.json").read_text())["protocols"]
    section = next(one for one in board["sections"] if one["structure"] == "cup")
    (method,) = [one for one in section["methods"] if one["method"] == "groupdro"]
    assert method["seeds"] == [10, 11]
    assert {int(seed) for seed in method["errors"]} == set(range(len(BAD)))
    for seed, error in method["errors"].items():
        assert f"{trial_id(WORLD, 'groupdro', 'race', int(seed))}/record.json" in error
        assert "\n" not in error


def test_the_other_records_are_shown_as_ever(site):
    table = pd.read_csv(site / "leaderboard.csv")
    assert set(table["method"]) == {"erm", "groupdro"}
    assert set(table.loc[table["method"] == "erm", "status"]) == {"done"}


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1"])
def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_a_text(text):
    assert no_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "erm", "<60", ">=60", "a=b"])
def test_other_cells_stay_as_they_are(text):
    assert no_formula(text) == text
