from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness import Batch, Method, Output, Task, cross_entropy, segmentation_loss, soft_dice_loss
from harness.plugin.losses import _one_hot, sample_losses, segmentation_and_sample_losses
from harness.protocol import IGNORED
from methods.adv import ADV
from methods.erm import ERM
from methods.febs import FEBS
from methods.febs_released import ReleasedFEBS
from methods.groupdro import GroupDRO

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "soft Dice": lambda logits, masks: soft_dice_loss(logits.softmax(1), masks),
    "together": lambda logits, masks: segmentation_loss(logits, masks, 0.8),
    "by sample": lambda logits, masks: sample_losses(logits, masks, 0.8),
}


def drawn(width: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, width, generator=generator)
    return logits, torch.randint(3, (4, 5, width), generator=generator)


def test_the_indicator_of_each_class_is_torchs_own_and_0_where_nothing_is_annotated():
    logits, masks = drawn()
    hidden = masks.clone()
    hidden[:, 1:3, ::2] = IGNORED
    expected = F.one_hot(masks, 3).movedim(-1, 1).float()
    assert torch.equal(_one_hot(masks, logits), expected)
    assert torch.equal(_one_hot(hidden, logits), expected * (hidden != IGNORED)[:, None])
    assert _one_hot(masks, logits.double()).dtype == torch.float64


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_are_not_annotated_are_as_if_they_were_cut_off(name: str):
    logits, masks = drawn()
    hidden = masks.clone()
    hidden[..., 4:] = IGNORED
    whole = logits.clone().requires_grad_()
    loss = LOSSES[name](whole, hidden)
    torch.testing.assert_close(loss, LOSSES[name](logits[..., :4], masks[..., :4]))
    loss.sum().backward()
    assert whole.grad is not None
    assert (whole.grad[..., 4:] == 0).all()
    assert (whole.grad[..., :4] != 0).any()


def test_a_sample_without_any_annotation_has_no_loss_and_no_gradient():
    logits, masks = drawn()
    masks[1] = IGNORED
    whole = logits.requires_grad_()
    losses = sample_losses(whole, masks, 0.8)
    losses.sum().backward()
    assert losses[1] == 0
    assert whole.grad is not None
    assert (whole.grad[1] == 0).all()


@pytest.mark.parametrize("ignored", [False, True])
def test_the_loss_and_that_of_each_sample_made_at_once_have_the_bits_of_each_alone(ignored: bool):
    logits, masks = drawn(64)
    if ignored:
        masks[:, 1:3, ::2] = IGNORED
    one, other = (logits.clone().requires_grad_() for _ in range(2))
    loss, each = segmentation_and_sample_losses(one, masks, 0.8)
    alone = segmentation_loss(other, masks, 0.8)
    loss.backward()
    alone.backward()
    assert torch.equal(loss, alone)
    assert one.grad is not None
    assert other.grad is not None
    assert torch.equal(one.grad, other.grad)
    assert torch.equal(each, sample_losses(logits, masks, 0.8))
    assert not each.requires_grad


def test_where_all_is_annotated_the_bits_are_those_of_plain_losses():
    logits, masks = drawn(64)
    one, other = (logits.clone().requires_grad_() for _ in range(2))
    truth = F.one_hot(masks, 3).movedim(-1, 1).to(logits.dtype)
    plain = -(one.log_softmax(1) * truth).sum(1).flatten(1).mean(1)
    p = one.softmax(1)
    size = p.square().sum((0, 2, 3)) + truth.sum((0, 2, 3))
    dice = (1 - (2 * (p * truth).sum((0, 2, 3)) + 1e-5) / (size + 1e-5)).mean()
    before, after = 0.2 * plain.mean() + 0.8 * dice, segmentation_loss(other, masks, 0.8)
    (before * 1).backward()
    after.backward()
    assert torch.equal(before, after)
    assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [ERM, GroupDRO, FEBS, ReleasedFEBS, ADV])
def test_no_shipped_method_learns_from_what_is_not_annotated(method: type[Method]):
    torch.manual_seed(0)
    logits, masks = drawn()
    masks[..., 4:] = IGNORED
    groups, features = torch.tensor([0, 1, 0, -1]), torch.randn(4, 7)
    task = Task(
        n_classes=3,
        n_features=7,
        attribute="a",
        groups=("x", "y"),
        group_counts=(2, 1),
        steps=9,
        dice_weight=0.8,
    )
    whole = logits.requires_grad_()
    batch = Batch(torch.zeros(4, 3, 5, 6), masks, groups, torch.arange(4))
    output = Output(whole, features, sample_losses(whole, masks, 0.8))
    made = method(task)
    made.loss(batch, output).backward()
    assert whole.grad is not None
    assert (whole.grad[..., 4:] == 0).all()
    assert (whole.grad[..., :4] != 0).any()
    # What is under the mask's hidden part is of no consequence to the loss.
    torch.manual_seed(0)
    moved = whole.detach().clone()
    moved[..., 4:] += 3
    again = replace(output, logits=moved, losses=sample_losses(moved, masks, 0.8))
    torch.manual_seed(0)
    first = replace(output, logits=whole.detach(), losses=output.losses.detach())
    losses = []
    for one in (first, again):
        torch.manual_seed(0)
        losses.append(method(task).loss(batch, one))
    torch.testing.assert_close(losses[0], losses[1])
