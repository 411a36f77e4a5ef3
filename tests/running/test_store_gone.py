"""A store that goes away, or whose disk fails, under a run: no method is blamed, no second store is begun."""

from __future__ import annotations

import errno
import os

import pytest
from test_run import Inline
from tiny import CPU, Silent, prepare

from harness.errors import HarnessError
from harness.running import trial
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.schedule import execute
from harness.store import Store


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "runs", None, tmp_path / "cache")


def test_a_store_that_is_moved_away_under_a_trial_blames_no_method_and_gets_no_second_one(paths):
    prepared = prepare(["erm", "adv"], paths, seeds=(0,))
    write_protocol(prepared, "harness run")
    todo = iter(prepared.plan.trials.values())
    erm = next(todo)

    def move(*_) -> None:
        paths.runs.rename(paths.runs.with_name("moved"))
        raise FileNotFoundError(2, "No such file or directory", str(paths.runs / "work"))

    def run_one(one, *_):
        return trial.run(one, paths, CPU, move)

    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one)
    assert outcome.count("stopped") + outcome.count("blocked") == len(prepared.plan.trials)
    said = f"the store was moved or removed while {erm.label} ran; put it back and run again."
    assert sum(said in one for one in outcome.errors) == 1
    assert sum("not the store that this run began in" in one for one in outcome.errors) >= 1
    assert not paths.runs.exists()
    assert [path.name for path in (paths.runs.with_name("moved") / "work").iterdir()] == [erm.id]


@pytest.mark.parametrize(
    ("number", "blamed"), [(errno.EIO, False), (errno.ESTALE, False), (errno.EMFILE, True)]
)
def test_what_the_disk_does_is_no_methods_fault_and_what_a_method_leaves_open_is(paths, number, blamed):
    (one, *_) = prepare(["erm"], paths, seeds=(0,)).plan.trials.values()
    why = os.strerror(number)

    def fail(*_) -> None:
        raise OSError(number, why, str(paths.runs / "work" / one.id / "checkpoint"))

    if blamed:
        assert trial.run(one, paths, CPU, fail) == "failed"
    else:
        with pytest.raises(HarnessError, match=f"checkpoint: {why}; erm seed 0 stopped; mend it"):
            trial.run(one, paths, CPU, fail)
        assert Store(paths.runs).status(one.id) == "none"
