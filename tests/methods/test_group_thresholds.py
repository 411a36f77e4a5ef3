import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk
from tiny import CPU, prepare, trial_of
from toy import Toy

from harness import Output
from harness.running import trial
from harness.running.trial import Paths
from methods.group_thresholds import GroupThresholds, dice_under

SMALL = {"source": "synthetic", "size": 64, "samples": 24, "shift": 1.0, "seed": 0}


def dice(predicted, truth):
    size = predicted.sum() + truth.sum()
    return 2 * (predicted & truth).sum() / size if size else 1.0


def test_dice_under_a_shift_is_that_of_the_shifted_argmax():
    batch, output = make_batch([0, 1, 2])
    batch.masks[0, :2] = 255
    batch.masks[1][batch.masks[1] == 2] = 0
    shifts = torch.tensor([-1.0, 0.0, 0.5, 50.0, -50.0])
    found = dice_under(output.logits.detach(), batch.masks, shifts)
    logits, masks = output.logits.detach().numpy(), batch.masks.numpy()
    for b in range(3):
        for c in range(3):
            for k, shift in enumerate(shifts.tolist()):
                moved = logits[b].copy()
                moved[c] += shift
                there = masks[b] != 255
                expected = dice((moved.argmax(0) == c) & there, (masks[b] == c) & there)
                assert found[b, c, k].item() == pytest.approx(expected, abs=1e-12)


def world(missing: float, count: int):
    """Samples whose class 1 lies `missing` too low in their logits; without that it is right by 1."""
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.integers(0, 2, (count, 8, 8)))
    logits = torch.full((count, 3, 8, 8), -9.0)
    logits[:, 0] = 0.0
    logits[:, 1] = torch.where(masks == 1, 1.0, -1.0) - missing
    return masks, logits


def test_a_groups_shift_is_what_its_training_samples_lack_and_of_equals_the_nearest_to_none():
    method = GroupThresholds(make_task(group_counts=(12, 12, 3)), most=4.0)
    lacking = [(0.0, 12), (2.6, 12), (2.6, 3)]
    parts = [(*world(missing, count), group) for group, (missing, count) in enumerate(lacking)]
    seen = []
    for masks, logits, group in parts:
        batch, _ = make_batch([group] * len(masks))
        object.__setattr__(batch, "masks", masks)
        seen.append((batch, Output(logits, None, None)))
    method.calibrate(iter(seen))
    # In steps of a half: any shift in (1.6, 3.6) mends group 1, 2.0 is nearest to none; group 2 has too few.
    assert method.shift.bias[:, 1].tolist() == [0.0, 2.0, 0.0]
    assert method.shift.bias[:, 0].tolist() == [0.0, 0.0, 0.0]


def test_a_prediction_is_shifted_by_the_samples_group_and_an_unknown_one_by_the_mean():
    method = GroupThresholds(make_task())
    codes = torch.tensor([1, -1])
    network = method.adapt(Toy(), lambda: codes).eval()
    images = torch.rand(2, 3, 2, 2)
    before, _ = network.decode(network.encode(images))
    method.shift.bias.copy_(torch.tensor([[0.0, 3, 0], [0, 6, 9], [0, 0, 0]]))
    after, _ = network.decode(network.encode(images))
    np.testing.assert_allclose((after - before)[0, :, 0, 0].detach(), [0, 6, 9], atol=1e-5)
    np.testing.assert_allclose((after - before)[1, :, 1, 1].detach(), [0, 3, 3], atol=1e-5)


def test_its_training_is_erms_to_the_bit_and_its_predictions_the_shifted_ones(tmp_path):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    prepared = prepare(["erm", "group-thresholds"], paths, cohort=SMALL, epochs=1, seeds=(0,))
    erm, own = (trial_of(prepared, name) for name in ("erm", "group-thresholds"))
    for one in (erm, own):
        assert trial.run(one, paths, CPU) == "done"
    store = prepared.store
    curves = [(store.path(one.id) / "curve.csv").read_bytes() for one in (erm, own)]
    assert curves[0] == curves[1]
    assert store.record(own.id).method.reads_attribute_at_test
    assert not np.array_equal(store.predictions(erm.id)[1], store.predictions(own.id)[1])


def test_the_loss_is_the_recipes():
    batch, output = make_batch([0, 1, -1])
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy())
    assert GroupThresholds(make_task()).loss(batch, output).item() == pytest.approx(expected, abs=1e-6)
