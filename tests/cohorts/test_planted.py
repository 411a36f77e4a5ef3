"""The planted cohort has the causes that it says, and nothing else goes by its groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import protocol
from harness.cohorts import fundus, load, planted
from harness.errors import HarnessError
from harness.plugin.method import Batch, Output, Task
from methods.oracle import Oracle


def source(**options):
    return planted.open_source(planted.Options(**options), 64, None)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    chosen = protocol.load("planted")
    small = chosen.cohort.model_copy(update={"size": 64})
    return load(chosen.model_copy(update={"cohort": small}), None, tmp_path_factory.mktemp("cache"))


def test_two_cameras_are_rare_in_training_and_a_third_of_the_test_set_each(shipped):
    by_split = {split: rows["camera"].value_counts() for split, rows in shipped.subjects.groupby("split")}
    shares = {split: counts / counts.sum() for split, counts in by_split.items()}
    assert shares["train"]["plain"] > 0.85
    assert by_split["test"].nunique() == 1
    for camera in ("unlike", "ringed"):
        assert shares["test"][camera] > 5 * shares["train"][camera]
        assert by_split["test"][camera] >= 60


def test_readers_tell_nothing_of_cameras_in_the_test_set(shipped):
    test = shipped.subjects.iloc[shipped.rows("test")]
    assert set(Counter(zip(test["camera"], test["reader"], strict=True)).values()) == {50}


def test_only_training_masks_of_the_hasty_reader_are_drawn_too_large(monkeypatch):
    drawn = []
    real = fundus.draw
    monkeypatch.setattr(planted.fundus, "draw", lambda eye, *more: drawn.append(eye) or real(eye, *more))
    own = source()
    rows = [own.read(row) for row in range(len(own.samples))]
    assert len(drawn) == len(rows)
    for eye, sample in zip(drawn, rows, strict=True):
        wrong = sample.split == "train" and sample.columns["reader"] == "hasty"
        assert (eye.drawn > 0) is wrong
        assert (eye.ring == 0) is (sample.columns["camera"] == "plain")


def test_a_mask_drawn_too_large_has_the_same_image_and_a_larger_cup():
    eye = planted._eye("plain", 0.3, 0.0, np.random.default_rng(1))
    wrong = planted._eye("plain", 0.3, 0.3, np.random.default_rng(1))
    (image, true), (same, large) = (fundus.draw(one, 96, np.random.default_rng(2)) for one in (eye, wrong))
    assert (image == same).all()
    assert (large == fundus.CUP).sum() > 1.2 * (true == fundus.CUP).sum()
    assert ((true == fundus.CUP) <= (large == fundus.CUP)).all()
    assert ((true > 0) == (large > 0)).all()


def test_the_other_cohorts_images_are_as_they_were():
    plain = fundus.Eye(0.6, 0.1, 0.25, 0.01, 0.1, 0.03, 0.1)
    ringed = fundus.Eye(0.6, 0.1, 0.25, 0.01, 0.1, 0.03, 0.1, ring=0.0)
    (image, mask), (other, same) = (fundus.draw(eye, 64, np.random.default_rng(0)) for eye in (plain, ringed))
    # A ring is drawn without a random number: what comes after it is the same elsewhere in the image.
    assert (mask == same).all()
    assert (image != other).mean() < 0.15


def test_no_folder_is_read():
    with pytest.raises(HarnessError, match="leave --data out"):
        planted.open_source(planted.Options(), 64, Path())


def test_the_oracle_weighs_each_group_as_it_is_told():
    task = Task(3, 4, "reader", ("careful", "hasty"), (10, 10), 5, 0.8)
    losses = torch.tensor([1.0, 2.0, 4.0, 8.0])
    zeros = torch.zeros(4)
    batch = Batch(zeros, zeros, torch.tensor([0, 1, 1, -1]), zeros)
    found = {
        told: float(Oracle(task, weights=told).loss(batch, Output(zeros, zeros, losses)))
        for told in ("", "hasty 0", "careful 3, plain 9")
    }
    assert found == {"": 15 / 4, "hasty 0": 9 / 2, "careful 3, plain 9": pytest.approx((3 + 2 + 4 + 8) / 6)}
    alone = Batch(zeros[:1], zeros[:1], torch.tensor([1]), zeros[:1])
    assert float(Oracle(task, "hasty 0").loss(alone, Output(zeros, zeros, losses[:1]))) == 0
