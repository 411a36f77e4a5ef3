"""A model of its own may take so many times what ERM takes here, reckoned from a few of ERM's steps."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import CPU, prepare, trial_of

from harness.plugin import discovery
from harness.running import trial
from harness.running.trial import Paths
from harness.sandbox.limits import Limits
from harness.sandbox.runs import Sandbox
from harness.training import pace, side


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trial of GroupDRO: 48 training samples in batches of 8, two epochs; 32 test samples."""
    folder = tmp_path_factory.mktemp("ceiling")
    paths = Paths(folder / "runs", None, folder / "cache")
    one = trial_of(prepare(["groupdro"], paths), "groupdro")
    return one, trial.gather(one, paths, CPU), paths


def test_three_steps_and_sixteen_predictions_stand_for_all(world, monkeypatch):
    one, inputs, _ = world
    trained, predicted, now = [], [], [0.0]

    def fit(job):
        trained.append((len(job.feed), len(job.groups), job.schedule.epochs, job.side.what))
        return SimpleNamespace(seconds=3.0)

    def predict(backbone, feed, *rest):
        predicted.append(len(feed))
        now[0] += 1.6
        return np.zeros(0)

    monkeypatch.setattr(pace, "fit", fit)
    monkeypatch.setattr(pace, "predict", predict)
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    erm = functools.partial(side.build, discovery.load(discovery.find("erm")))
    told = replace(trial.setting(one), hyper_parameters={})
    found = pace.seconds(told, erm, inputs, CPU)
    assert trained == [(24, 24, 1, "ERM.loss")]
    assert predicted == [16]
    # Twelve steps of a second, 32 predictions of a tenth.
    assert found == pytest.approx(12 + 3.2)


@pytest.mark.parametrize(
    ("given", "seconds", "reckoned"),
    [(None, 210, ", 10 times what ERM takes"), (1_000.0, 210, ", 10 times what ERM takes"), (100.0, 100, "")],
)
def test_the_ceiling_is_a_share_of_erms_time_or_what_was_asked_for(
    world, monkeypatch, given, seconds, reckoned
):
    one, inputs, paths = world
    asked = []

    def took(setting, make, *rest):
        asked.append(setting)
        return 15.0

    monkeypatch.setattr(pace, "seconds", took)
    box = Sandbox("cpu", Limits(seconds=given), paths.cache, "test")
    limits = box.ceiling(one, inputs, CPU)
    assert limits.seconds == seconds
    assert limits.reckoned.startswith(reckoned)
    assert replace(limits, seconds=given, reckoned="") == box.limits
    # It is ERM that is timed, not what is to be bounded.
    assert [(one.name, one.attribute, one.hyper_parameters) for one in asked] == [("erm", None, {})]
