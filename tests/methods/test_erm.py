import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from monai.losses import DiceLoss
from reference import risk

from harness import cross_entropy, soft_dice_loss
from methods.erm import ERM
from methods.erm_balanced import BalancedERM


def test_loss_is_a_fifth_cross_entropy_and_four_fifths_soft_dice():
    batch, output = make_batch([0, 1, 2, 2])
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy())
    assert ERM(make_task()).loss(batch, output).item() == pytest.approx(expected, abs=1e-6)


def test_cross_entropy_agrees_with_torch():
    batch, output = make_batch([0, 1, 2])
    expected = torch.nn.functional.cross_entropy(output.logits, batch.masks, reduction="none").mean((1, 2))
    torch.testing.assert_close(cross_entropy(output.logits, batch.masks), expected)


def test_soft_dice_agrees_with_monai():
    batch, output = make_batch([0, 1, 2])
    probabilities = output.logits.softmax(1)
    monai = DiceLoss(to_onehot_y=True, squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    expected = monai(probabilities, batch.masks[:, None])
    torch.testing.assert_close(soft_dice_loss(probabilities, batch.masks), expected)


def test_perfect_prediction_has_no_dice_loss():
    masks = torch.tensor(np.arange(64).reshape(1, 8, 8) % 3)
    perfect = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert soft_dice_loss(perfect, masks).item() == pytest.approx(0, abs=1e-6)


def test_erm_is_blind_to_the_attribute():
    assert not ERM.reads_attribute


def test_balanced_erm_is_erm_under_another_sampler():
    batch, output = make_batch([0, 1, 2, 2])
    assert BalancedERM.sampler == "group-balanced"
    assert BalancedERM(make_task()).loss(batch, output) == ERM(make_task()).loss(batch, output)
