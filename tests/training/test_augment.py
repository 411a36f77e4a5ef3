import numpy as np
import pytest
import torch
from scipy import ndimage

from harness.training.augment import Augmentation, dihedral, draw


def test_the_eight_variants_are_the_symmetries_of_the_square():
    square = torch.arange(9).reshape(3, 3)
    images = {tuple(dihedral(square, v).flatten().tolist()) for v in range(8)}
    assert len(images) == 8
    assert torch.equal(dihedral(square, 0), square)
    assert torch.equal(dihedral(square, 1), square.flip(-1))


def test_images_and_masks_move_together():
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.integers(0, 3, (64, 32, 32), dtype=np.uint8))
    images = masks[:, None].expand(-1, 3, -1, -1).float() / 4
    drawn = draw("fairseg", 64, rng)
    moved = drawn.images(images)
    assert torch.equal((moved[:, 0] * 4).round().long(), drawn.masks(masks, (32, 32)))
    assert (drawn.degrees != 0).any()
    assert (drawn.variants != 0).any()


def test_rotation_is_scipys_of_order_0():
    mask = np.zeros((1, 65, 65), np.uint8)
    mask[0, 20:40, 25:60] = 1
    turned = Augmentation(np.array([0]), np.array([15.0])).masks(torch.from_numpy(mask), (65, 65))[0].numpy()
    expected = ndimage.rotate(mask[0], 15.0, order=0, reshape=False)
    # Ties between two nearest pixels may fall either way; the shapes are the same.
    assert (turned != expected).mean() < 0.01
    assert abs(int(turned.sum()) - int(expected.sum())) < 10


def test_a_mask_keeps_its_centre_when_it_is_made_smaller():
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 16:48, 16:48] = 1
    small = Augmentation(np.zeros(1, int), np.zeros(1)).masks(torch.from_numpy(mask), (16, 16))[0]
    assert torch.equal(small, small.flip(0).flip(1))
    assert small.sum() == 64


@pytest.mark.parametrize(("kind", "variants"), [("none", {0}), ("flip", {0, 1}), ("dihedral", set(range(8)))])
def test_which_variants_a_kind_draws(kind, variants):
    drawn = draw(kind, 500, np.random.default_rng(0))
    assert set(drawn.variants) == variants
    assert not drawn.degrees.any()


def test_fairseg_mirrors_half_and_rotates_a_quarter():
    drawn = draw("fairseg", 20_000, np.random.default_rng(0))
    # A quarter turn followed by a flip is one of the four mirror images, all of them odd here.
    assert set(drawn.variants) == {0, 1, 3, 5, 7}
    assert (drawn.variants > 0).mean() == pytest.approx(0.5, abs=0.02)
    # One in forty of the rotations is by 0 degrees.
    assert (drawn.degrees != 0).mean() == pytest.approx(0.25 * 39 / 40, abs=0.02)
    assert not ((drawn.variants > 0) & (drawn.degrees != 0)).any()
    assert drawn.degrees.min() == -20
    assert drawn.degrees.max() == 19


@pytest.mark.parametrize("target", [1, 7, 16, 21, 48, 64, 100])
def test_masks_without_a_rotation_are_torchs_nearest_pixels(target):
    rng = np.random.default_rng(target)
    masks = torch.from_numpy(rng.integers(0, 256, (3, 64, 50), dtype=np.uint8))
    drawn = Augmentation(np.array([0, 1, 0]), np.zeros(3))
    turned = torch.stack([masks[0], masks[1].flip(-1), masks[2]])[:, None].float()
    size = (target, target + 3)
    expected = torch.nn.functional.interpolate(turned, size, mode="nearest-exact")[:, 0].long()
    assert torch.equal(drawn.masks(masks, size), expected)


def test_one_rotation_in_a_batch_leaves_the_other_masks_as_they_are():
    masks = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (2, 32, 32), dtype=np.uint8))
    for corners in (False, True):
        still, turned = (
            Augmentation(np.zeros(2, int), np.array(degrees)).masks(masks, (8, 8), corners)
            for degrees in ([0.0, 0.0], [0.0, 15.0])
        )
        assert torch.equal(still[0], turned[0])
        assert not torch.equal(still[1], turned[1])
