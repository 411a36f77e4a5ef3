"""What comes out of a container is data: measured, bounded and cleaned before anyone reads it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from tiny import prepare, trial_of

from harness.plugin import declared, discovery
from harness.running.trial import Paths
from harness.sandbox import results, runs
from harness.sandbox.wire import BadResult, encode

ALL = {name: {} for name in ("race", "gender", "maritalstatus", "language", "ethnicity")}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trial of 2,000 epochs over 14 groups, and its cohort."""
    folder = tmp_path_factory.mktemp("results")
    prepared = prepare(["erm"], Paths(folder / "runs", None, folder / "cache"), epochs=2000, attributes=ALL)
    return trial_of(prepared, "erm"), prepared.cohort


def stream(cohort, curve) -> bytes:
    labels = np.zeros((len(cohort.rows("test")), 64, 64), np.uint8)
    return b"".join(encode({"curve": curve, "gpu_bytes": 0}, {"labels": labels.tobytes()}))


def test_a_long_training_under_many_groups_has_room_for_its_curve(world):
    trial, cohort = world
    names = [("", ""), *((name, group) for name, groups in cohort.groups.items() for group in groups)]
    curve = [[epoch, "loss", *name, -1.2345678901234567e-100] for epoch in range(2000) for name in names]
    sent = stream(cohort, curve)
    assert 1_000_000 < len(sent) < results.most_bytes(trial, cohort, {})
    assert len(results.read(sent, trial, cohort, {}).curve) == len(curve)


LIES = {
    "a radius that is no hyper-parameter": ({"sharpness": "rho"}, "names 'rho', which is none"),
    "400 digits": (
        {"sharpness": "step_size", "defaults": {"step_size": 10**400}},
        "beyond 64 bits",
    ),
    "a radius that is a word": ({"sharpness": "step_size", "defaults": {"step_size": "x"}}, "it is a number"),
    "a radius below 0": ({"sharpness": "step_size", "defaults": {"step_size": -1.0}}, "at least 0"),
    "a share of 1": ({"averages_from": "step_size", "defaults": {"step_size": 1.0}}, "below 1"),
    "logits of nobody": ({"takes": "logits"}, "name one in starts_from"),
    "takes all": ({"takes": "everything", "starts_from": "erm"}, "takes"),
    "two ways of drawing": ({"weighs_samples": True, "sampler": "group-balanced"}, "leave one of them out"),
    "a number for a flag": ({"mixes": 3}, "mixes"),
}


@pytest.mark.parametrize("what", LIES)
def test_what_a_plugin_in_a_container_asks_for_is_checked_outside(what):
    plugin = discovery.find("groupdro")
    said = json.loads(json.dumps(asdict(declared.of(discovery.load(plugin), plugin))))
    assert runs._about(said).passes == 1
    changed, why = LIES[what]
    with pytest.raises(BadResult, match=re.escape(why)) as caught:
        runs._about(said | changed)
    assert len(str(caught.value)) < 600


def test_a_header_longer_than_any_curve_is_refused(world):
    trial, cohort = world
    endless = stream(cohort, [[0, "x" * results.most_header(trial, cohort), "", "", 0.0]])
    with pytest.raises(BadResult, match="its result's header is longer than"):
        results.read(endless, trial, cohort, {})


def test_an_error_is_one_line_that_moves_no_cursor():
    sent = b"".join(encode({"error": "\x1b[2Jall\nis \x9b31mwell\x07"}, {}))
    assert results.error_of(sent, results.SMALL_HEADER) == "?[2Jall is ?31mwell?"


@pytest.mark.parametrize("told", [None, True, -1, 1.5, 2**60, "1"])
def test_a_gpu_peak_that_is_no_number_of_bytes_is_refused(world, told):
    trial, cohort = world
    labels = np.zeros((len(cohort.rows("test")), 64, 64), np.uint8).tobytes()
    with pytest.raises(BadResult, match="its peak of GPU memory"):
        results.read(
            b"".join(encode({"curve": [], "gpu_bytes": told}, {"labels": labels})), trial, cohort, {}
        )
