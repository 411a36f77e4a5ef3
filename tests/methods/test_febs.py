import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import cross_entropy, dice_loss, softmax

from methods.erm import ERM
from methods.febs import FEBS
from methods.febs_released import ReleasedFEBS


def group_errors(logits, masks, groups):
    return {g: dice_loss(softmax(logits)[groups == g], masks[groups == g]) for g in np.unique(groups)}


def skewed_batch(groups):
    """Group 0 predicts well, the others at random, so that the error bounds differ."""
    batch, output = make_batch(groups)
    easy = torch.nn.functional.one_hot(batch.masks, 3).movedim(-1, 1).float() * 4
    logits = torch.where((batch.groups == 0)[:, None, None, None], easy, output.logits.detach())
    return batch, type(output)(logits.requires_grad_(), output.features, output.losses)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_released_loss_agrees_with_a_hand_calculation(gamma):
    groups = np.array([0, 1, 2, 2, 1])
    batch, output = skewed_batch(groups.tolist())
    logits, masks = output.logits.detach().numpy(), batch.masks.numpy()
    errors = group_errors(logits, masks, groups)
    weights = np.array([np.tanh((min(errors.values()) / errors[g]) ** gamma) for g in groups])
    scaled = softmax(logits) * weights[:, None, None, None]
    expected = 0.2 * cross_entropy(logits, masks) + 0.8 * dice_loss(scaled, masks)
    assert ReleasedFEBS(make_task(), gamma=gamma).loss(batch, output).item() == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_described_loss_agrees_with_a_hand_calculation(gamma):
    groups = np.array([0, 1, 2, 2, 1])
    batch, output = skewed_batch(groups.tolist())
    logits, masks = output.logits.detach().numpy(), batch.masks.numpy()
    errors = group_errors(logits, masks, groups)
    lowest = min(errors.values())
    share = {g: (groups == g).sum() * np.tanh(1) / np.tanh((lowest / e) ** gamma) for g, e in errors.items()}
    dice = sum(share[g] * errors[g] for g in errors) / sum(share.values())
    expected = 0.2 * cross_entropy(logits, masks) + 0.8 * dice
    assert FEBS(make_task(), gamma=gamma).loss(batch, output).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", [FEBS, ReleasedFEBS])
@pytest.mark.parametrize("groups", [[0, 0, 2, 2], [1, 1, 1, 1], [-1, -1], [0, -1, 2]])
def test_absent_and_unknown_groups_leave_a_gradient(method, groups):
    # FairSeg issue 9: an absent group's error stays 0 there, every weight is tanh(0) = 0 and
    # the Dice term has no gradient.
    batch, output = make_batch(groups)
    plain = make_batch(groups)[1]
    method(make_task(dice_weight=0.999)).loss(batch, output).backward()
    ERM(make_task(dice_weight=0.999)).loss(batch, plain).backward()
    ratio = output.logits.grad.norm() / plain.logits.grad.norm()
    assert 0.3 < ratio < 3


def test_described_pulls_more_on_the_harder_group_and_released_less():
    """Relative to ERM, the share of the gradient that the harder group gets."""
    shares = {}
    for method in (ERM, FEBS, ReleasedFEBS):
        batch, output = skewed_batch([0, 0, 1, 1])
        method(make_task(dice_weight=1.0)).loss(batch, output).backward()
        norms = output.logits.grad.flatten(1).norm(dim=1)
        shares[method] = (norms[2:].sum() / norms.sum()).item()
    assert shares[FEBS] > shares[ReleasedFEBS]


def test_one_group_only_described_is_erm():
    batch, output = make_batch([1, 1, 1])
    torch.testing.assert_close(FEBS(make_task()).loss(batch, output), ERM(make_task()).loss(batch, output))


def test_both_start_from_erm():
    assert FEBS.starts_from == ReleasedFEBS.starts_from == "erm"


def test_gamma_0_is_a_control_by_what_it_is_and_not_erm():
    # What sets the controls apart from ERM is in their names: ERM exactly is the twin.
    batch, output = make_batch([0, 1, 1, 2, 2, 2])
    erm = ERM(make_task()).loss(batch, output).item()
    for method, said in ((FEBS, "a Dice by group"), (ReleasedFEBS, "predictions times tanh(1)")):
        ((name, values),) = method.controls.items()
        assert said in name
        assert abs(method(make_task(), **values).loss(batch, output).item() - erm) > 1e-4
