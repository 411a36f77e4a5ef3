from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cohorts import scaling
from harness.cohorts.scaling import Scale, ScaleOptions, find, look
from harness.errors import HarnessError


def found(*images: np.ndarray) -> list[np.ndarray]:
    """The images of a cohort on the scale that is found for it."""
    scale, _ = find([look(image, len(images), "x") for image in images], lambda row: f"image {row}")
    return [scale.apply(image, "x") for image in images]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 7, 255]], np.uint8), [0, 7, 255]),
        (np.array([[0, 7, 255]], np.int64), [0, 7, 255]),
        (np.array([[False, True]]), [0, 255]),
        (np.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.array([[0.0, 7.4, 255.0]]), [0, 7, 255]),
        # Wider than 8 bits: from 0 to the largest.
        (np.array([[1000, 2000, 3000]], np.uint16), [85, 170, 255]),
        # With values below 0, or all far above: from the least.
        (np.array([[-1024, 0, 1016]], np.int16), [0, 128, 255]),
        (np.array([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
        (np.array([[31000, 32000, 33000]], np.uint16), [0, 128, 255]),
    ],
)
def test_every_range_of_pixels_becomes_8_bits(values: np.ndarray, expected: list[int]):
    (image,) = found(values)
    assert image.dtype == np.uint8
    assert image[0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.array([["a"]]), "numbers"), (np.array([[np.nan]]), "not finite"), (np.array([[1j]]), "numbers")],
)
def test_pixels_that_are_no_numbers_are_refused(values: np.ndarray, said: str):
    with pytest.raises(HarnessError, match=f"x: .*{said}"):
        found(values)


def test_an_interpolations_overshoot_does_not_turn_an_image_black():
    image = np.linspace(0, 1, 10_000).reshape(100, 100)
    image[0, :3] = 1.02
    assert np.array_equal(found(image)[0][1:], np.rint(255 * image[1:]).astype(np.uint8))


def test_one_image_darker_than_another_stays_so():
    rng = np.random.default_rng(0)
    images = [(rng.integers(0, 4096, (20, 20)) // factor).astype(np.uint16) for factor in (1, 2, 5)]
    means = [image.mean() for image in found(*images)]
    # One scale for all: the ratios of the means are those of the files, up to rounding to 8 bits.
    assert np.allclose(np.array(means) / means[0], [i.mean() / images[0].mean() for i in images], atol=0.01)


@settings(max_examples=50, deadline=None)
@given(
    low=st.floats(-2000, 2000),
    width=st.floats(300, 60_000),
    kind=st.sampled_from([np.float32, np.float64, np.int32]),
    seed=st.integers(0, 99),
)
def test_a_wide_cohort_keeps_the_order_of_all_its_pixels(low: float, width: float, kind: Any, seed: int):
    rng = np.random.default_rng(seed)
    images = [(low + width * rng.random((4, 5))).astype(kind) for _ in range(3)]
    order = np.argsort(np.stack(images).ravel(), kind="stable")
    assert (np.diff(np.stack(found(*images)).ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros((3, 3), np.uint8), np.full((3, 3), 4000, np.uint16)),
        (np.full((1, 2), [[0.2, 0.9]]), np.full((1, 2), [[3.0, 255.0]])),
        (np.full((1, 2), [[0.2, 0.9]]), np.full((1, 2), [[3, 4000]], np.uint16)),
    ],
)
def test_files_of_two_scales_are_refused_by_name(one: np.ndarray, other: np.ndarray):
    with pytest.raises(
        HarnessError, match=r"image 0: has .* and image 1 has values up to .* declare \[cohort\]"
    ):
        found(one, other)


def test_a_few_hot_pixels_are_named_with_what_helps():
    image = np.full((100, 100), 900, np.uint16)
    image[0, 0] = 65_000
    _, (remark,) = find([look(image, 1, "x")], str)
    assert "nearly all is dark" in remark.message
    assert remark.fix == "[cohort] percentiles = [0.1, 99.9]"


def test_a_window_is_level_and_width():
    options = ScaleOptions.model_validate({"window": {"level": 40, "width": 400}})
    scale = scaling.declared(options)
    assert scale == Scale(-160, 240)
    # -160 HU is black, 240 white, the level in the middle; what is outside is cut off.
    assert scale.apply(np.array([[-1000, -160, 40, 240, 3000]]), "x").tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"window": {"level": 0, "width": 1}, "scale": [0, 1]}, "window and scale both say"),
        ({"scale": [5, 5]}, "black is the lower"),
        ({"percentiles": [1, 101]}, "less than or equal to 100"),
    ],
)
def test_a_scale_that_says_two_things_or_nothing_is_refused(table: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        ScaleOptions.model_validate(table)
