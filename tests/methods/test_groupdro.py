import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk

from methods.erm import ERM
from methods.groupdro import GroupDRO


def test_two_steps_agree_with_a_hand_calculation():
    method = GroupDRO(make_task(), step_size=0.5, adjustment=2.0)
    q = np.full(3, 1 / 3)
    margin = 2.0 / np.sqrt([4, 16, 100])
    for seed in (0, 1):
        groups = [0, 1, 2, 2, 1]
        batch, output = make_batch(groups, seed)
        logits, masks, of = output.logits.detach().numpy(), batch.masks.numpy(), np.array(groups)
        losses = np.array([risk(logits[of == g], masks[of == g]) for g in range(3)])
        q = q * np.exp(0.5 * (losses + margin))
        q /= q.sum()
        assert method.loss(batch, output).item() == pytest.approx(float(q @ losses), abs=1e-6)
        np.testing.assert_allclose(method.q.numpy(), q, atol=1e-6)


def test_absent_group_adds_nothing_and_keeps_its_weight_exactly():
    method = GroupDRO(make_task(), step_size=1.0, adjustment=2.0)
    groups = [0, 2, 2, 0]
    batch, output = make_batch(groups)
    logits, masks, of = output.logits.detach().numpy(), batch.masks.numpy(), np.array(groups)
    losses = np.array([risk(logits[of == g], masks[of == g]) if g in of else 0 for g in range(3)])
    # The groups of the batch share two thirds, as before.
    q = np.exp(losses + 2.0 / np.sqrt([4, 16, 100]))
    q *= 2 / 3 / (q[0] + q[2])
    before = method.q[1].item()
    q[1] = before
    assert method.loss(batch, output).item() == pytest.approx(float(q @ losses), abs=1e-6)
    assert method.q[1].item() == before
    np.testing.assert_allclose(method.q.numpy(), q, atol=1e-6)


def test_weight_moves_towards_the_group_with_the_higher_loss():
    method = GroupDRO(make_task(group_counts=(10, 10, 10)), step_size=1.0)
    batch, output = make_batch([0, 1, 2])
    method.loss(batch, output)
    logits, masks = output.logits.detach().numpy(), batch.masks.numpy()
    losses = [risk(logits[g : g + 1], masks[g : g + 1]) for g in range(3)]
    assert int(method.q.argmax()) == int(np.argmax(losses))


def test_a_batch_of_one_group_weighs_what_that_group_weighs():
    batch, output = make_batch([1, 1, 1])
    method = GroupDRO(make_task(), step_size=1.0)
    loss = method.loss(batch, output)
    torch.testing.assert_close(loss, method.q[1] * ERM(make_task()).loss(batch, output))
    torch.testing.assert_close(method.q, torch.full((3,), 1 / 3))


def test_unknown_samples_are_left_out_and_a_batch_of_them_is_erm():
    batch, output = make_batch([0, -1, -1])
    own = risk(output.logits.detach().numpy()[:1], batch.masks.numpy()[:1])
    method = GroupDRO(make_task())
    assert method.loss(batch, output).item() == pytest.approx(method.q[0].item() * own, abs=1e-6)
    batch, output = make_batch([-1, -1])
    torch.testing.assert_close(
        GroupDRO(make_task()).loss(batch, output), ERM(make_task()).loss(batch, output)
    )


def test_weights_survive_a_checkpoint():
    method, other = GroupDRO(make_task(), step_size=1.0), GroupDRO(make_task())
    method.loss(*make_batch([0, 1, 2]))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.q, method.q)


def test_the_default_adjusts_nothing_as_in_the_authors_code():
    plain, rare = (
        GroupDRO(make_task(group_counts=(4, 16, 100)), step_size=1.0),
        GroupDRO(make_task(group_counts=(100, 4, 16)), step_size=1.0),
    )
    for method in (plain, rare):
        method.loss(*make_batch([0, 1, 2]))
    # How rare a group is moves no weight; with an adjustment it does.
    assert torch.equal(plain.q, rare.q)
    adjusted = GroupDRO(make_task(group_counts=(4, 16, 100)), step_size=1.0, adjustment=1.0)
    adjusted.loss(*make_batch([0, 1, 2]))
    assert adjusted.q[0] > plain.q[0]
