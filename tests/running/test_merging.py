"""Records of two folders become those of one: nothing is overwritten, what differs is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from make_records import World, make_store

from harness.cli import cli
from harness.errors import HarnessError
from harness.running.merging import merge
from harness.store import Store, files

WORLD = World(methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0, 1), samples=40)


@pytest.fixture
def two(tmp_path) -> tuple[Store, Store]:
    """The first has ERM's trials and cells, the second ADV's."""
    return stores(tmp_path, ("erm",), ("adv",))


def stores(folder: Path, *methods: tuple[str, ...]) -> tuple[Store, Store]:
    found = []
    for i, own in enumerate(methods):
        store = make_store(folder / str(i), WORLD)
        board = store.protocol("quick")
        rows = tuple(row for row in board.plan if row.method in own)
        files.write(store.board_file("quick"), files.as_json(board.model_copy(update={"plan": rows})))
        for row in board.plan:
            if row.method not in own:
                shutil.rmtree(store.path(row.trial))
        found.append(store)
    return found[0], found[1]


def tree(store: Store) -> dict[str, bytes]:
    inside = (path for path in store.root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(store.root)): path.read_bytes() for path in inside}


def test_records_and_cells_of_both_are_there_once(two):
    here, there = two
    found = merge(here, there)
    assert (len(found.added), found.already, found.conflicts) == (2, [], [])
    assert {row.method for row in here.protocol("quick").plan} == {"erm", "adv"}
    for trial in there.ids():
        assert {p.name: p.read_bytes() for p in here.path(trial).iterdir()} == {
            p.name: p.read_bytes() for p in there.path(trial).iterdir()
        }


def test_again_it_changes_nothing(two):
    here, there = two
    merge(here, there)
    before = tree(here)
    again = merge(here, there)
    assert (again.added, len(again.already), again.boards) == ([], 2, [])
    assert tree(here) == before


def test_the_other_folder_is_only_read(two):
    before = tree(two[1])
    merge(*two)
    assert tree(two[1]) == before


def test_the_same_id_with_other_bytes_is_named_and_ours_stays(two):
    here, there = two
    merge(here, there)
    trial = there.ids()[0]
    record = there.record(trial)
    changed = record.model_copy(update={"files": {}})
    files.write(there.path(trial) / "scores.parquet", b"other")
    files.write(there.path(trial) / "record.json", files.as_json(changed))
    before = tree(here)
    found = merge(here, there)
    assert len(found.conflicts) == 1
    assert found.conflicts[0].startswith(f"{trial}: done here, done there")
    assert tree(here) == before


def test_a_record_that_is_damaged_there_does_not_come(two):
    here, there = two
    trial = there.ids()[0]
    record = there.record(trial)
    digests = {"scores.parquet": "0" * 64}
    files.write(
        there.path(trial) / "record.json", files.as_json(record.model_copy(update={"files": digests}))
    )
    found = merge(here, there)
    assert len(found.conflicts) == 1
    assert not here.has(trial)


def test_a_cell_with_another_trial_is_named_and_ours_stays(tmp_path):
    here, there = stores(tmp_path, ("erm",), ("erm", "adv"))
    board = there.protocol("quick")
    moved = tuple(
        row.model_copy(update={"trial": "f" * 20}) if row.method == "erm" else row for row in board.plan
    )
    files.write(there.board_file("quick"), files.as_json(board.model_copy(update={"plan": moved})))
    ours = {row.cell: row.trial for row in here.protocol("quick").plan}
    found = merge(here, there)
    assert len(found.conflicts) == 2
    assert "rename one of the methods" in found.conflicts[0]
    now = {row.cell: row.trial for row in here.protocol("quick").plan}
    assert all(now[cell] == trial for cell, trial in ours.items())
    assert {cell[0] for cell in now} == {"erm", "adv"}


def test_a_board_of_another_protocol_under_the_name_gets_a_key_of_its_own(two):
    here, there = two
    board = there.protocol("quick")
    files.write(there.board_file("quick"), files.as_json(board.model_copy(update={"digest": "e" * 64})))
    found = merge(here, there)
    assert (found.conflicts, found.boards) == ([], ["quick@eeeeeeee"])
    assert here.protocol("quick@eeeeeeee").name == "quick@eeeeeeee"
    assert len(here.protocol("quick").plan) == 2


def test_a_folder_is_not_merged_with_itself_or_with_nothing(two, tmp_path):
    with pytest.raises(HarnessError, match="is --runs itself"):
        merge(two[0], Store(two[0].root))
    with pytest.raises(HarnessError, match="has no records and no boards"):
        merge(two[0], Store(tmp_path / "nothing"))


def test_the_status_says_whether_something_is_in_conflict(two):
    here, there = two
    command = ["merge", str(there.root), "--runs", str(here.root)]
    done = CliRunner().invoke(cli, command, prog_name="harness", catch_exceptions=False)
    assert (done.exit_code, "2 records came" in done.output) == (0, True)
    row = there.protocol("quick").plan[0]
    changed = there.record(row.trial).model_copy(update={"files": {}, "seed": 9})
    files.write(there.path(row.trial) / "record.json", files.as_json(changed))
    done = CliRunner().invoke(cli, command, prog_name="harness", catch_exceptions=False)
    assert done.exit_code == 1
    assert "1 conflicts; nothing of them was changed here" in done.output
