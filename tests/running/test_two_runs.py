"""Two runs on one folder of records: they share the work, both end well, and nothing is done twice."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from commands_at_random import learned
from test_run import Inline
from tiny import CPU, Silent, prepare

from harness.running import queue, trial
from harness.running.executors.process import JobLost, WorkerDied
from harness.running.paths import Paths
from harness.running.schedule import execute
from harness.store import Store, claims, files, names

SMALL = {"cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(queue, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(queue, "SHOW_SECONDS", 0.02)


@pytest.fixture
def prepared(tmp_path, cache):
    return prepare(["erm", "groupdro", "febs"], Paths(tmp_path / "runs", None, cache), **SMALL)


class Worker:
    """Runs trials as `run_logged` does, but for what they would learn and their logs; counts them."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.trained = seconds, Counter()

    def __call__(self, one, paths: Paths, device) -> str:
        store = Store(paths.runs)
        with store.claimed(one.id) as own:
            if own:
                trial._await_record(store, one.id)
            if store.is_done(one.id):
                return "done"
            if not own:
                return "elsewhere"
            self.trained[one.id] += 1
            time.sleep(self.seconds)
            return trial.run(one, paths, device, learned)


def both(prepared, worker) -> list:
    outcomes = []
    threads = [
        threading.Thread(
            target=lambda: outcomes.append(execute(prepared, Inline(), Silent(), 1, CPU, run_one=worker))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_two_that_start_at_once_share_the_work_and_each_has_all_of_it_done(prepared):
    worker = Worker(0.02)
    outcomes = both(prepared, worker)
    trials = set(prepared.plan.trials)
    assert [one.count("done") for one in outcomes] == [len(trials)] * 2
    assert worker.trained == Counter(trials)
    assert sum(one.elsewhere for one in outcomes) > 0
    store = prepared.store
    assert set(store.ids()) == trials
    assert [path for path in store.root.rglob("*") if path.name.endswith(".part")] == []


def test_a_trial_of_a_run_that_died_elsewhere_is_taken_over_when_its_lease_is_over(prepared, monkeypatch):
    one = next(iter(prepared.plan.trials.values()))
    prepared.store.work(one.id)
    of_dead = claims.Holder("far", "another kernel", 1, "", "token", 0.3, "", {})
    claim = prepared.store.claim(one.id).with_name(f"{names.CLAIM}.1")
    claim.write_text(json.dumps(vars(of_dead)))
    worker, began = Worker(), time.monotonic()
    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=worker)
    assert outcome.count("done") == len(prepared.plan.trials)
    assert time.monotonic() - began > 0.3


def test_a_failure_elsewhere_counts_and_what_starts_from_it_is_blocked(prepared):
    erm = [one for one in prepared.plan.trials.values() if one.plugin.name == "erm"]

    def other() -> None:
        for one in erm:
            with prepared.store.claimed(one.id):
                time.sleep(0.2)
                trial.commit_failed(prepared.store, one, "no luck", "")

    thread = threading.Thread(target=other)
    with prepared.store.claimed(erm[0].id):
        pass
    thread.start()
    while claims.holder(prepared.store.claim(erm[0].id)) is None:
        time.sleep(0.005)
    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=Worker(0.3))
    thread.join()
    assert outcome.count("failed") >= 1
    assert outcome.count("failed") + outcome.count("blocked") + outcome.count("done") == len(
        prepared.plan.trials
    )
    assert outcome.errors == []


def test_files_that_are_seen_late_do_not_make_a_trial_run_twice(prepared, monkeypatch):
    """As over NFS: a file that another machine made is seen half a second later; names are taken at once."""
    real = Path.is_file

    def late(path: Path) -> bool:
        return real(path) and (names.RECORD not in path.name or time.time() - path.stat().st_mtime > 0.5)

    monkeypatch.setattr(Path, "is_file", late)
    worker = Worker(0.02)
    outcomes = both(prepared, worker)
    assert [one.count("done") for one in outcomes] == [len(prepared.plan.trials)] * 2
    assert worker.trained == Counter(set(prepared.plan.trials))


class Late:
    """A folder as a second machine has it over NFS: what another thread made is not seen for some seconds.

    Neither listed nor opened; that a name is taken is answered at once, as the server does.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.hidden = seconds, 0
        self.made: dict[str, tuple[int, float]] = {}

    def plug_in(self, patched: pytest.MonkeyPatch) -> None:
        for name in ("_link", "_rename"):
            real = getattr(files, name)
            patched.setattr(files, name, lambda one, other, real=real: self._make(real, one, other))
        is_file, opened, scanned = Path.is_file, Path.open, os.scandir
        patched.setattr(Path, "is_file", lambda path: not self.hides(path) and is_file(path))
        patched.setattr(Path, "open", lambda path, *given, **more: opened(self._there(path), *given, **more))
        patched.setattr(claims.os, "scandir", lambda folder: self._listed(scanned(folder)))

    def hides(self, path: str | Path) -> bool:
        for one in (str(path), *map(str, Path(path).parents)):
            thread, when = self.made.get(one, (0, 0.0))
            if when and thread != threading.get_ident() and time.monotonic() - when < self.seconds:
                self.hidden += 1
                return True
        return False

    def _make(self, real, one, other) -> None:
        real(one, other)
        self.made[str(other)] = (threading.get_ident(), time.monotonic())

    def _there(self, path: Path) -> Path:
        if self.hides(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return path

    @contextlib.contextmanager
    def _listed(self, entries):
        with entries:
            yield (entry for entry in entries if not self.hides(entry.path))


@pytest.mark.parametrize("seconds", [0.3, pytest.param(2.0, marks=pytest.mark.slow)])
def test_claims_and_records_that_are_seen_late_do_not_make_a_trial_run_twice(prepared, monkeypatch, seconds):
    late, worker = Late(seconds), Worker(0.02)
    late.plug_in(monkeypatch)
    outcomes = both(prepared, worker)
    assert late.hidden > 0
    assert [one.count("done") for one in outcomes] == [len(prepared.plan.trials)] * 2
    assert [one.errors for one in outcomes] == [[], []]
    assert worker.trained == Counter(set(prepared.plan.trials))


def test_a_clock_that_jumps_by_a_day_at_each_look_loses_and_doubles_nothing(prepared, monkeypatch):
    real, days = time.time, itertools.cycle((0, 86_400, -86_400))
    monkeypatch.setattr(time, "time", lambda: real() + next(days))
    worker = Worker(0.02)
    outcomes = both(prepared, worker)
    assert [one.count("done") for one in outcomes] == [len(prepared.plan.trials)] * 2
    assert worker.trained == Counter(set(prepared.plan.trials))
    assert [path for path in prepared.store.root.rglob("*") if path.name.endswith(".part")] == []


class Dying:
    """Runs trials; the first so many tries of each end as a process does that is killed."""

    def __init__(self, tries: int, error: Exception) -> None:
        self.left, self.error, self.worker = Counter(), error, Worker()
        self.tries = tries

    def __call__(self, one, paths, device) -> str:
        self.left[one.id] += 1
        if self.left[one.id] <= self.tries:
            raise self.error
        return self.worker(one, paths, device)


@pytest.mark.parametrize("error", [WorkerDied(-9), WorkerDied(-15), JobLost("node down")])
def test_a_process_that_was_ended_from_outside_is_no_fault_of_its_trial(prepared, error):
    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=Dying(queue.TRIES - 1, error))
    assert outcome.count("done") == len(prepared.plan.trials)


@pytest.mark.parametrize(
    ("error", "tries", "said"),
    [
        (WorkerDied(-9), 99, "SIGKILL.*memory.*4 times"),
        (WorkerDied(-11), 1, "SIGSEGV"),
        (WorkerDied(3), 1, "status 3"),
    ],
)
def test_one_that_dies_of_itself_or_again_and_again_is_a_failed_record(prepared, error, tries, said):
    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=Dying(tries, error))
    failed = outcome.by_status["failed"]
    assert {one.plugin.name for one in failed} == {"erm", "groupdro"}
    record = prepared.store.record(failed[0].id)
    assert re.search(said, record.error)


def test_one_that_was_taken_over_is_waited_for(prepared):
    class TakenOver(Dying):
        def __call__(self, one, paths, device):
            try:
                return super().__call__(one, paths, device)
            except WorkerDied:
                self.worker(one, paths, device)
                raise

    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=TakenOver(1, WorkerDied(75)))
    assert outcome.count("done") == len(prepared.plan.trials)
    assert outcome.elsewhere == len(prepared.plan.trials)


def test_what_another_finished_after_taking_over_is_not_made_a_failure(prepared):
    """One that wakes up finds its folder gone: its error says nothing of its trial."""
    one = next(iter(prepared.plan.trials.values()))

    def woken(one, inputs, paths, device, work, cards):
        trial.run(one, paths, device, learned)
        (work / "gone").mkdir(parents=True)
        raise FileNotFoundError(2, os.strerror(2), str(work))

    assert trial.run(one, prepared.paths, CPU, woken) == "done"
    assert prepared.store.is_done(one.id)


def test_one_that_wakes_up_after_another_has_ended_its_trial_writes_nothing(prepared):
    one = next(iter(prepared.plan.trials.values()))
    record = prepared.store.path(one.id) / names.RECORD
    written = []

    def woken(one, inputs, paths, device, work, cards):
        trial.run(one, paths, device, learned)
        written.append((record.stat().st_ino, record.read_bytes()))
        return learned(one, inputs, paths, device, work, cards)

    assert trial.run(one, prepared.paths, CPU, woken) == "done"
    assert written == [(record.stat().st_ino, record.read_bytes())]


def test_a_trial_that_is_retried_elsewhere_is_waited_for_though_its_old_record_says_failed(prepared):
    one = next(iter(prepared.plan.trials.values()))
    trial.commit_failed(prepared.store, one, "at first", "")
    own = replace(prepared, plan=replace(prepared.plan, trials={one.id: one}))
    claimed, outcome = threading.Event(), []

    def other() -> None:
        with prepared.store.claimed(one.id):
            claimed.set()
            time.sleep(0.3)
            trial.run(one, prepared.paths, CPU, learned)

    thread = threading.Thread(target=other)
    thread.start()
    claimed.wait(10)
    outcome = execute(own, Inline(), Silent(), 1, CPU, retry_failed=True, run_one=Worker())
    thread.join()
    assert (outcome.count("done"), outcome.elsewhere) == (1, 1)
