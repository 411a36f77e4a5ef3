from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from harness.cohorts import grid


def test_shrinking_an_image_averages_instead_of_skipping():
    stripes = np.tile([0, 255], 32)[None].repeat(64, axis=0).astype(np.uint8)
    shrunk = grid.resize_image(stripes, 16)
    # Taking every fourth pixel would give all 0 or all 255.
    assert np.abs(shrunk[:, 1:-1].astype(int) - 127).max() < 20


def test_shrinking_a_mask_invents_no_label():
    mask = np.random.default_rng(0).choice([0, 3, 9], (50, 50)).astype(np.uint8)
    assert set(np.unique(grid.resize_mask(mask, 17))) <= {0, 3, 9}


@pytest.mark.parametrize("size", [20, 33, 64, 150])
def test_image_and_mask_stay_in_register(size: int):
    y, x = np.mgrid[:64, :64]
    mask = ((x - 40.5) ** 2 + (y - 25.5) ** 2 < 12**2).astype(np.uint8)
    image = grid.resize_image(mask * np.uint8(255), size)[..., 0]
    ours = ndimage.center_of_mass(grid.resize_mask(mask, size))
    # The centre of the circle in pixel coordinates scales with the image: (c + 0.5) size / 64 - 0.5.
    for centre, expected in zip(ours, ((26 * size / 64) - 0.5, (41 * size / 64) - 0.5), strict=True):
        assert abs(centre - expected) < 0.5
    assert np.abs(np.subtract(ours, ndimage.center_of_mass(image))).max() < 0.5


def test_padding_centres_and_cropping_takes_the_centre():
    array = np.arange(1, 7 * 4 * 3 + 1).reshape(7, 4, 3)
    padded = grid.square(array, "pad")
    assert padded.shape == (7, 7, 3)
    assert np.array_equal(padded[:, 1:5], array)
    assert padded.sum() == array.sum()
    assert np.array_equal(grid.square(array, "crop"), array[1:5])


def test_a_grey_image_gets_three_equal_channels():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert (grid.resize_image(grey, 4) == grey[..., None]).all()
