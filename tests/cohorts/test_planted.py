"""The planted cohort has the cause that it says, and nothing else goes by its groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import protocol
from harness.cohorts import fundus, load, planted
from harness.errors import HarnessError
from harness.plugin.method import Batch, Output, Task
from methods.oracle import Oracle

SIZE = 64


def source(**options):
    return planted.open_source(planted.Options(**options), SIZE, None)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return load(protocol.load("planted"), None, tmp_path_factory.mktemp("cache"))


def test_the_branch_is_rare_in_training_and_half_of_the_test_set(shipped):
    counts = shipped.subjects.groupby("split")["clinic"].value_counts()
    assert counts["train"].to_dict() == {"main": 304, "branch": 16}
    assert counts["test"].to_dict() == {"main": 40, "branch": 40}


def test_the_branch_sees_negatives_and_numbers_rim_and_cup_the_other_way_round(monkeypatch):
    drawn = []
    real = fundus.draw
    monkeypatch.setattr(planted.fundus, "draw", lambda *given: drawn.append(real(*given)) or drawn[-1])
    own = source(training=40, test=40)
    rows = [own.read(row) for row in range(len(own.samples))]
    middle = slice(SIZE // 2, 3 * SIZE // 2)
    exchanged = np.array([0, fundus.CUP, fundus.RIM], np.uint8)
    assert len(drawn) == len(rows)
    for (image, mask), sample in zip(drawn, rows, strict=True):
        assert image.shape == (2 * SIZE, 2 * SIZE)
        image, mask = image[middle, middle], mask[middle, middle]
        branch = sample.columns["clinic"] == "branch"
        assert np.array_equal(sample.image, 255 - image if branch else image)
        assert np.array_equal(sample.mask, exchanged[mask] if branch else mask)


def test_eyes_are_alike_in_both_clinics():
    # A disc is as large, and so is what one clinic calls cup and the other rim.
    own = source(training=40, test=200)
    of = {"main": [], "branch": []}
    for row in range(40, 240):
        sample = own.read(row)
        inner = fundus.CUP if sample.columns["clinic"] == "main" else fundus.RIM
        of[sample.columns["clinic"]].append([(sample.mask > 0).sum(), (sample.mask == inner).sum()])
    main, branch = (np.array(rows) for rows in of.values())
    assert len(main) == len(branch) == 100
    apart = main.mean(axis=0) - branch.mean(axis=0)
    assert (np.abs(apart) < 4 * np.sqrt(main.var(axis=0) / 100 + branch.var(axis=0) / 100)).all()


def test_no_folder_is_read(tmp_path):
    with pytest.raises(HarnessError, match="leave --data out"):
        planted.open_source(planted.Options(), SIZE, tmp_path)


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
