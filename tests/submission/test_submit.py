"""Submitting: verified records join the board, marked; nothing that is there is overwritten."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from forge import better, forged, parquet

import leaderboard
from harness.cli import cli
from harness.errors import HarnessError
from harness.running.trial import Paths
from harness.store import Store
from harness.submission import pack, yardstick
from harness.submission.submit import rows_of, submit
from harness.submission.verify import verify


def submitted(world, runs, submission=None, measured=None) -> str:
    submission, measured = submission or world.submission, measured or world.yardstick
    paths = Paths(runs, None, world.paths.cache)
    return submit(submission.manifest, verify(submission, measured), measured, paths)


def test_a_verified_submission_joins_the_board_and_says_so(world, board, tmp_path, monkeypatch):
    monkeypatch.delenv("MY_METHOD_WAS_IMPORTED", raising=False)
    before = board.protocol("tiny")
    assert submitted(world, board.root) == "verified"
    after = board.protocol("tiny")
    assert after.plan == before.plan + rows_of(world.submission.manifest)
    assert after.command == before.command
    for row in world.submission.manifest.plan:
        assert board.record(row.trial).obtained == "verified"
        assert board.scores(row.trial).equals(world.prepared.store.scores(row.trial))
        for mine, theirs in zip(
            board.predictions(row.trial), world.prepared.store.predictions(row.trial), strict=True
        ):
            assert np.array_equal(mine, theirs)
    assert "MY_METHOD_WAS_IMPORTED" not in os.environ
    leaderboard.build(board.root, tmp_path / "site")
    (built,) = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["protocols"]
    obtained = {m["method"]: m["obtained"] for m in built["sections"][0]["methods"]}
    assert obtained == {"erm": "run", "guest.my-method": "verified"}


def test_a_submission_to_an_empty_store_begins_a_board(world, tmp_path):
    submitted(world, tmp_path)
    assert Store(tmp_path).protocols() == ["tiny"]
    assert len(Store(tmp_path).ids()) == 2


def files(store: Store) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def test_a_submission_is_added_once(world, tmp_path):
    submitted(world, tmp_path)
    before = files(Store(tmp_path))
    with pytest.raises(HarnessError, match="the board has a method 'guest.my-method'"):
        submitted(world, tmp_path)
    assert files(Store(tmp_path)) == before


def test_a_record_that_is_there_is_never_overwritten(world, board):
    shutil.copytree(world.paths.runs / "records", board.root / "records", dirs_exist_ok=True)
    before = files(board)
    with pytest.raises(HarnessError, match="this trial has a record, and a submission overwrites none"):
        submitted(world, board.root)
    assert files(board) == before


def test_a_submission_that_was_interrupted_goes_on(world, board, tmp_path, monkeypatch):
    whole = Store(shutil.copytree(board.root, tmp_path / "whole"))
    submitted(world, whole.root)
    with monkeypatch.context() as patched:
        patched.setattr("harness.submission.submit._add_cells", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            submitted(world, board.root)
    assert board.ids() == whole.ids()
    assert board.protocol("tiny") != whole.protocol("tiny")
    submitted(world, board.root)
    assert sorted(files(board).values()) == sorted(files(whole).values())


def test_a_protocol_that_was_renamed_since_is_the_same_protocol(world, tmp_path):
    renamed = replace(
        world.yardstick, protocol=world.yardstick.protocol.model_copy(update={"name": "copied"})
    )
    submitted(world, tmp_path, measured=renamed)
    store = Store(tmp_path)
    assert store.protocols() == ["copied"]
    assert {store.record(trial).protocol for trial in store.ids()} == {"copied"}
    leaderboard.build(tmp_path, tmp_path / "site")


def test_a_method_of_the_board_is_not_replaced_by_another_of_its_name(world, board):
    shown = board.protocol("tiny")
    rows = tuple(row.model_copy(update={"method": "guest.my-method"}) for row in shown.plan)
    path = board.root / "protocols" / "tiny" / "protocol.json"
    path.write_text(shown.model_copy(update={"plan": rows}).model_dump_json())
    before = files(board)
    with pytest.raises(HarnessError, match="the board has a method 'guest.my-method'"):
        submitted(world, board.root)
    assert files(board) == before


def test_where_another_cohorts_board_has_the_name_a_submission_gets_a_board_of_its_own(world, board):
    path = board.root / "protocols" / "tiny" / "protocol.json"
    path.write_text(path.read_text().replace(world.yardstick.digest, "0" * 64))
    before = path.read_bytes()
    submitted(world, board.root)
    key = f"tiny@{world.yardstick.digest[:8]}"
    assert board.protocols() == ["tiny", key]
    assert path.read_bytes() == before
    assert set(board.protocol(key).plan) == set(rows_of(world.submission.manifest))
    assert board.protocol(key).digest == world.yardstick.digest


def test_what_fails_verification_is_not_added(world, tmp_path):
    with pytest.raises(HarnessError, match="The submission failed verification: .*the predictions give"):
        submitted(world, tmp_path, forged(world.submission, scores=better))
    assert not list(tmp_path.iterdir())


def test_unverified_is_marked_self_reported_and_keeps_its_own_scores(world, board):
    measured = yardstick.from_board(board, "tiny")
    assert measured.samples == world.yardstick.samples
    told = forged(world.submission, scores=better)
    assert submitted(world, board.root, told, measured) == "reported"
    trials = [row.trial for row in told.manifest.plan]
    assert {board.record(one).obtained for one in trials} == {"reported"}
    altered = min(trials)
    mine, theirs = board.scores(altered), world.prepared.store.scores(altered)
    assert (mine["dice"] - theirs["dice"]).max() == pytest.approx(1e-6)


def test_unverified_scores_must_still_be_scores(world, board):
    def impossible(data):
        return parquet(pd.read_parquet(io.BytesIO(data)).assign(dice=7.5))

    told = forged(world.submission, scores=impossible)
    with pytest.raises(HarnessError, match=r"dice of \S+ cup is 7.5, not a number from 0 to 1"):
        submitted(world, board.root, told, yardstick.from_board(board, "tiny"))


def test_unverified_still_needs_a_board_to_join(world, tmp_path):
    with pytest.raises(HarnessError, match="there is no board of protocol 'tiny' to add to"):
        yardstick.from_board(Store(tmp_path), "tiny")


def test_from_pack_to_board_on_the_command_line(world, tmp_path):
    def harness(*args: str):
        return CliRunner().invoke(cli, [*args], catch_exceptions=False)

    cache, protocol = ["--cache", str(world.paths.cache)], ["--protocol", str(world.folder / "tiny.toml")]
    file, runs = str(tmp_path / "mine.zip"), str(tmp_path / "runs")
    ran = ["--runs", str(world.paths.runs)]
    done = harness("pack", str(world.plugin.file), *protocol, *ran, *cache, "--out", file)
    assert (done.exit_code, "Wrote" in done.output) == (0, True)
    done = harness("verify", file, *protocol, *cache)
    assert done.exit_code == 0
    assert "verified; the scores follow from the predictions" in done.output
    done = harness("submit", file, *protocol, "--runs", runs, *cache)
    assert done.exit_code == 0
    assert "Added 2 records of 'guest.my-method'" in done.output
    assert "marked: verified from predictions" in done.output
    pack.write(forged(world.submission, scores=better).raw, tmp_path / "mine.zip")
    done = harness("verify", file, *protocol, *cache)
    assert done.exit_code == 1
    assert "not verified; 1 checks failed" in done.output
    with pytest.raises(
        HarnessError, match="which does not ship with the harness; give its file with --protocol"
    ):
        harness("verify", file, *cache)
