"""Boards: a protocol is its digest, a name is a label; nothing leaves a board without a word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tiny import parse, prepare

from harness.errors import HarnessError
from harness.running.board import change, write_protocol
from harness.running.boards import archive, on_no_board, restore, said_of, withdraw
from harness.running.trial import Paths


@pytest.fixture
def paths(tmp_path, tmp_path_factory):
    return Paths(tmp_path / "runs", None, tmp_path_factory.getbasetemp() / "boards-cache")


def written(paths, *methods, **changes):
    prepared = prepare(methods, paths, seeds=(0,), **changes)
    found = change(prepared)
    write_protocol(prepared, "harness run")
    return prepared.store, found


def rows(store, key):
    return {row.method for row in store.protocol(key).plan}


def test_another_protocol_under_the_same_name_has_a_board_of_its_own(paths):
    written(paths, "erm", "groupdro")
    store, found = written(paths, "erm", epochs=1)
    assert found.others == {"tiny": "recipe.epochs 2 -> 1"}
    assert store.protocols() == ["tiny", found.key]
    assert (rows(store, "tiny"), rows(store, found.key)) == ({"erm", "groupdro"}, {"erm"})
    digest = found.key.partition("@")[2]
    assert store.protocol(found.key).protocol["title"] == f"Tiny ({digest[:4]}: epochs 1)"
    assert store.protocol(found.key).digest.startswith(digest)


def test_one_more_sample_is_another_board_too(paths):
    written(paths, "erm")
    _, found = written(paths, "erm", cohort=parse().cohort.model_dump() | {"samples": 81})
    assert list(found.others) == ["tiny"]
    assert "cohort" in found.others["tiny"]


def test_each_board_grows_by_itself(paths):
    written(paths, "erm")
    store, found = written(paths, "erm", epochs=1)
    written(paths, "groupdro", epochs=1)
    written(paths, "adv")
    assert (rows(store, "tiny"), rows(store, found.key)) == ({"erm", "adv"}, {"erm", "groupdro"})


def test_a_title_or_a_seed_is_no_other_board(paths):
    written(paths, "erm")
    store, found = written(paths, "groupdro", title="Another title")
    assert (found.key, found.others, found.replaced) == ("tiny", {}, {})
    assert rows(store, "tiny") == {"erm", "groupdro"}


def test_a_board_goes_only_on_request_and_comes_back(paths):
    store, _ = written(paths, "erm", "groupdro")
    before = (store.board_folder("tiny") / "protocol.json").read_bytes()
    archive(store, "tiny")
    assert store.protocols() == []
    restore(store, "tiny")
    assert (store.board_folder("tiny") / "protocol.json").read_bytes() == before
    with pytest.raises(HarnessError, match="there is no board 'tini'.*'tiny'"):
        archive(store, "tini")


def test_a_name_that_was_set_aside_is_free_and_overwrites_nothing(paths):
    store, _ = written(paths, "erm")
    archive(store, "tiny")
    written(paths, "erm", epochs=1)
    with pytest.raises(HarnessError, match="archive it first"):
        restore(store, "tiny")
    with pytest.raises(HarnessError, match="set aside under this name before"):
        archive(store, "tiny")


def test_a_withdrawn_row_leaves_a_line(paths):
    store, _ = written(paths, "erm", "groupdro")
    assert withdraw(store, "tiny", "groupdro", "a bug in its loss") == 2
    assert rows(store, "tiny") == {"erm"}
    written(paths, "adv")
    (told,) = store.protocol("tiny").withdrawn
    assert (told.method, told.why) == ("groupdro", "a bug in its loss")
    with pytest.raises(HarnessError, match="has no method 'grupdro'"):
        withdraw(store, "tiny", "grupdro", "")


def record_of(store, trial, **changes):
    """A record of a trial, as if it had come from elsewhere."""
    one = {"id": trial, "status": "done", "protocol": "tiny", "method": {"name": "erm", "title": "ERM"}}
    one |= {"attribute": None, "groups": [], "seed": 0, "identity": {}} | changes
    store.path(trial).mkdir(parents=True)
    (store.path(trial) / "record.json").write_text(json.dumps(one))


def test_records_that_are_on_no_board_are_said(paths):
    store, _ = written(paths, "erm")
    record_of(store, next(iter({row.trial for row in store.protocol("tiny").plan})))
    assert on_no_board(store) == []
    record_of(store, "0" * 20)
    assert said_of(on_no_board(store)).startswith("1 record is on no board here: 1 of erm (tiny).")


def test_a_run_does_not_take_the_place_of_a_submitted_method(paths):
    prepared = prepare(["groupdro"], paths, seeds=(0,))
    write_protocol(prepared, "harness run")
    for row in prepared.plan.rows:
        if not prepared.store.has(row.trial):
            record_of(prepared.store, row.trial, obtained="verified")
    # As it would be planned with other code.
    moved = [row.model_copy(update={"trial": "2" * 20}) for row in prepared.plan.rows]
    with pytest.raises(HarnessError, match=r"has a submitted method 'groupdro'.*harness withdraw groupdro"):
        change(replace(prepared, plan=replace(prepared.plan, rows=tuple(moved))))
