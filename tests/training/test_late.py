"""What a method does not read of a batch is not computed; what it reads is what it would have been."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_batch

from harness import Batch, Output
from harness.plugin.losses import sample_losses
from harness.training import late


@pytest.fixture
def made():
    """An output whose losses are made late, and how often they were."""
    batch, output = make_batch([0, 1, 2])
    calls = []

    def losses() -> torch.Tensor:
        calls.append(1)
        return sample_losses(output.logits, batch.masks, 0.8)

    return late.output({"losses": losses}, logits=output.logits, features=output.features), output, calls


def test_what_is_not_read_is_not_made_and_what_is_read_is_made_once(made):
    one, plain, calls = made
    assert isinstance(one, Output)
    assert one.logits is plain.logits
    assert one.teacher is None
    assert not calls
    assert torch.equal(one.losses, plain.losses)
    assert one.losses is one.losses
    assert len(calls) == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_is_first_read_without_gradients_has_them_when_read_again(made, mode):
    one, plain, _ = made
    with mode():
        assert one.losses.shape == (3,)
    (found,) = torch.autograd.grad(one.losses.sum(), one.logits)
    (expected,) = torch.autograd.grad(plain.losses.sum(), plain.logits)
    assert torch.equal(found, expected)


def test_it_is_made_in_full_precision_wherever_it_is_read():
    batch, _ = make_batch([0, 1])
    weight = torch.ones(4, 4)
    lazily = late.batch(
        {"images": lambda: weight @ weight},
        np.array([0, 1]),
        masks=batch.masks,
        groups=batch.groups,
        samples=batch.samples,
    )
    assert isinstance(lazily, Batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert lazily.images.dtype == torch.float32


@pytest.mark.parametrize("groups", [[0, 1, 2], [2, -1, 0, 2, -1], [-1, -1], [1]])
@pytest.mark.parametrize("unknown", [True, False])
def test_who_is_in_a_batch_is_told_alike_by_the_host_and_by_the_batch(groups, unknown):
    plain, _ = make_batch(groups)
    parts = {"masks": plain.masks, "groups": plain.groups, "samples": plain.samples}
    codes = np.array(groups)
    for one in (plain, late.batch({"images": lambda: plain.images}, codes, **parts)):
        found = one.by_group(unknown)
        assert list(found) == sorted({code for code in groups if unknown or code >= 0})
        assert all(found[code].dtype == torch.int64 for code in found)
        assert all(found[code].tolist() == np.flatnonzero(codes == code).tolist() for code in found)
        few = one.select(torch.tensor([0]))
        assert list(few.by_group(True)) == groups[:1]
        assert few.by_group(True)[groups[0]].tolist() == [0]


def test_rows_are_selected_as_of_any_other(made):
    one, plain, _ = made
    few = one.select(torch.tensor([2, 0]))
    assert torch.equal(few.losses, plain.losses[[2, 0]])
    assert torch.equal(few.logits, plain.logits[[2, 0]])
    assert few.teacher is None


def test_a_name_that_there_is_not_is_refused_as_of_any_other(made):
    with pytest.raises(AttributeError, match="'Output' object has no attribute 'loss'"):
        _ = made[0].loss
