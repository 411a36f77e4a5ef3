"""How long a sandboxed trial may take where nobody said: it follows from the baseline's time here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from make_records import World, make_store
from tiny import CPU

from harness.running.trial import Paths
from harness.sandbox import runs
from harness.sandbox.limits import Limits, seconds_from


@pytest.mark.parametrize(("ran", "allowed"), [([], 86_400), ([30.0], 600), ([120.0, 90.0], 1_200)])
def test_a_trial_may_take_ten_times_the_baselines_longest_and_ten_minutes_at_least(ran, allowed):
    assert seconds_from(ran) == allowed


@pytest.fixture
def allowed(tmp_path, monkeypatch):
    """The seconds of a trial of a protocol, where ERM took 64 and 65 s here, and 66 s in a submission."""
    monkeypatch.setattr(runs, "device_name", lambda device: "cpu (x86_64)")
    world = World(methods=("erm", "groupdro"), attributes=("race",), obtained={("erm", 2): "verified"})
    store = make_store(tmp_path, world)

    def ask(protocol: str, limits: Limits, cards: int = 1) -> float | None:
        one = SimpleNamespace(protocol=SimpleNamespace(name=protocol), cards=cards)
        box = runs.Sandbox("cpu", limits, tmp_path, "test")
        return box.limits_of(one, Paths(store.root, None, Path()), CPU).seconds

    return ask


def test_only_what_the_baseline_took_here_counts(allowed):
    # 60 s, a letter of the name more each, and the seed: 64 s is the longest that ran here.
    assert allowed("quick", Limits()) == 10 * 64
    assert allowed("other", Limits()) == 86_400
    assert allowed("quick", Limits(), cards=2) == 86_400


def test_a_time_that_was_given_stays(allowed):
    assert allowed("quick", Limits(seconds=5)) == 5
