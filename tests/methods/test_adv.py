import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk, softmax

from methods.adv import ADV, reverse_gradient
from methods.erm import ERM


def test_loss_agrees_with_a_hand_calculation():
    method = ADV(make_task())
    groups = np.array([0, 1, 2, 2, 2])
    batch, output = make_batch(groups.tolist())
    weights = [p.detach().numpy() for p in method.adversary.parameters()]
    hidden = np.maximum(output.features.detach().numpy() @ weights[0].T + weights[1], 0)
    guesses = softmax(hidden @ weights[2].T + weights[3])
    own = -np.log(guesses[np.arange(5), groups])
    # Every group counts the same: three means, though one group has three of the five samples.
    adversary = np.mean([own[groups == g].mean() for g in range(3)])
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy()) + adversary
    assert method.loss(batch, output).item() == pytest.approx(expected, abs=1e-5)


def test_gradient_is_reversed_and_scaled_on_its_way_to_the_features():
    features = torch.randn(4, 8, requires_grad=True)
    torch.testing.assert_close(reverse_gradient(features, 0.3), features)
    reverse_gradient(features, 0.3).sum().backward()
    torch.testing.assert_close(features.grad, torch.full((4, 8), -0.3))


def test_one_step_makes_the_adversary_better_and_the_features_worse_for_it():
    method = ADV(make_task(), strength=1.0)
    batch, output = make_batch([0, 1, 2, 0, 1, 2])

    def adversary_loss(features):
        guesses = method.adversary(features)
        return torch.nn.functional.cross_entropy(guesses, batch.groups)

    method.loss(batch, output).backward()
    before = adversary_loss(output.features).item()
    moved = output.features.detach() - 0.1 * output.features.grad
    assert adversary_loss(moved).item() > before
    with torch.no_grad():
        for p in method.adversary.parameters():
            p -= 0.1 * p.grad
    assert adversary_loss(output.features).item() < before


def test_adversary_has_its_own_learning_rate():
    (group,) = ADV(make_task(), learning_rate=0.123).parameter_groups()
    assert group["lr"] == 0.123
    assert len(group["params"]) == 4


def test_unknown_samples_do_not_reach_the_adversary():
    batch, output = make_batch([0, -1])
    ADV(make_task()).loss(batch, output).backward()
    assert output.features.grad[0].abs().sum() > 0
    assert output.features.grad[1].abs().sum() == 0
    batch, output = make_batch([-1, -1])
    assert ADV(make_task()).loss(batch, output) == ERM(make_task()).loss(batch, output)
