"""What runs where: said from the store alone, while it runs, once it failed and when it is silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from commands_at_random import learned
from tiny import CPU, prepare

from harness.cli import cli
from harness.commands import status as commands
from harness.running import trial
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.status import status
from harness.store import Store, claims, files, names

SMALL = {"cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def prepared(tmp_path, cache):
    found = prepare(["erm", "groupdro"], Paths(tmp_path / "runs", None, cache), **SMALL)
    write_protocol(found, "harness run erm groupdro")
    return found


def said(*arguments: str, runs: Path, exit_code: int = 0) -> str:
    done = CliRunner().invoke(cli, [*arguments, "--runs", str(runs)])
    assert done.exit_code == exit_code, done.output
    return done.output


def begin(store: Store, one, epoch: int, loss: float) -> None:
    work = store.work(one.id)
    trial.progress_file(work)("training", 5, 12)
    told = {"epoch": epoch, "epochs": 4, "losses": [[0, 0.9], [epoch - 1, loss]]}
    files.note(work / names.EPOCHS, json.dumps(told).encode())
    (work / names.LOG).write_text("one\ntwo\n")


def test_it_says_what_runs_where_and_what_is_left_and_what_failed(prepared):
    store, trials = prepared.store, list(prepared.plan.trials.values())
    trial.run(trials[0], prepared.paths, CPU, learned)
    trial.commit_failed(store, trials[1], "no luck\nat all", "")
    with store.claimed(trials[2].id, {"label": trials[2].label, "protocol": "tiny", "job": "12_3"}):
        begin(store, trials[2], 2, 0.4321)
        lines = said("status", runs=store.root).splitlines()
        table = json.loads(said("status", "--json", runs=store.root))
    assert lines[0].startswith(
        f"tiny: 1 of {len(trials)} done, 1 running, 1 failed, {len(trials) - 3} not begun"
    )
    assert f"running  {trials[2].id[:8]}  {trials[2].label}  on {os.uname().nodename}, job 12_3" in lines[1]
    assert "training 5/12, epoch 2 of 4, loss 0.4321" in lines[1]
    assert lines[2] == f"  failed   {trials[1].id[:8]}  {trials[1].plugin.name}: no luck at all"
    (board,) = table["boards"]
    assert (board["done"], board["left"], len(board["failed"])) == (1, len(trials) - 2, 1)
    assert board["running"][0]["loss"] == 0.4321
    cost = store.record(trials[0].id).cost
    took = cost.fit_seconds + cost.predict_seconds + cost.score_seconds
    # All that are left are taken to take as long as the one that is done.
    assert board["seconds"] == pytest.approx(took * (len(trials) - 2))
    assert board["until"].startswith("20")


def test_one_without_a_sign_of_life_is_called_silent(prepared):
    store, one = prepared.store, next(iter(prepared.plan.trials.values()))
    store.work(one.id)
    far = claims.Holder("far", "another kernel", 7, "", "token", 60.0, "2026-01-01T00:00:00+00:00", {})
    claim = store.claim(one.id).with_name(f"{names.CLAIM}.1")
    claim.write_text(json.dumps(vars(far)))
    assert "running" in said("status", runs=store.root).splitlines()[1]
    os.utime(claim, (time.time() - 100, time.time() - 100))
    line = said("status", runs=store.root).splitlines()[1]
    assert "silent " in line
    assert "no sign of life for 10" in line
    assert line.endswith("the next run takes it over")


def test_one_whose_process_is_halted_on_this_machine_says_how_to_free_it(prepared):
    store, one = prepared.store, next(iter(prepared.plan.trials.values()))
    store.work(one.id)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as asleep:
        began, since = claims._began(asleep.pid), "2026-01-01T00:00:00+00:00"
        here = claims.Holder("here", claims.machine(), asleep.pid, began, "token", 60.0, since, {})
        claim = store.claim(one.id).with_name(f"{names.CLAIM}.1")
        claim.write_text(json.dumps(vars(here)))
        os.utime(claim, (time.time() - 100, time.time() - 100))
        line = said("status", runs=store.root).splitlines()[1]
        asleep.communicate(b"\n")
    assert f"`kill -9 {asleep.pid}` frees its trial" in line
    assert said("status", runs=store.root).splitlines()[1].endswith("the next run takes it over")


def test_each_trial_is_asked_for_by_its_name_and_no_board_lists_all_records(prepared, monkeypatch):
    one, *rest = prepared.plan.trials
    prepared.store.path(one).parent.mkdir(parents=True)
    prepared.store.path(one).write_text("a file where a record's folder is due")
    monkeypatch.setattr(Store, "ids", lambda _: pytest.fail("it would cost boards by records"))
    (board,) = status(prepared.store).boards
    assert (board.done, board.damaged, board.left) == (0, 0, 1 + len(rest))


def test_nothing_that_status_does_changes_a_store(prepared):
    before = {path: path.stat().st_mtime_ns for path in prepared.paths.runs.rglob("*") if path.is_file()}
    status(prepared.store)
    assert before == {
        path: path.stat().st_mtime_ns for path in prepared.paths.runs.rglob("*") if path.is_file()
    }


def test_it_watches_until_nothing_is_left(prepared, monkeypatch):
    trials = list(prepared.plan.trials.values())

    def meanwhile(_: float) -> None:
        for one in trials:
            trial.run(one, prepared.paths, CPU, learned)

    monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=meanwhile))
    lines = said("status", "--watch", runs=prepared.paths.runs).splitlines()
    assert lines[0].startswith(f"tiny: 0 of {len(trials)} done")
    assert lines[-1].startswith(f"tiny: {len(trials)} of {len(trials)} done")


def test_an_empty_folder_has_no_status(tmp_path):
    assert "nothing was run here yet" in said("status", runs=tmp_path / "none")


def test_logs_follow_a_trial_until_its_record_is_there(prepared, monkeypatch):
    store, one = prepared.store, next(iter(prepared.plan.trials.values()))
    begin(store, one, 1, 0.5)
    assert said("logs", one.id[:6], runs=store.root) == "one\ntwo\n"
    with (store.work(one.id) / names.LOG).open("a") as log:
        more = iter(["three\n", ""])

        def meanwhile(_: float) -> None:
            text = next(more)
            log.write(text)
            log.flush()
            if not text:
                trial.run(one, prepared.paths, CPU, learned)

        monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=meanwhile))
        assert said("logs", one.id, "-f", runs=store.root) == "one\ntwo\nthree\n"
    assert said("logs", one.id[:8], runs=store.root) == "one\ntwo\nthree\n"
