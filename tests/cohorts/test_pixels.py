from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness.cohorts.pixels import read_labels, read_picture
from harness.errors import HarnessError
from harness.protocol import label_of

LESION = np.zeros((8, 10), bool)
LESION[2:5, 3:8] = True
RED = label_of("#ff0000")


def palette(colours: list[tuple[int, int, int]], indices: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def coloured(lesion: tuple[int, ...], background: tuple[int, ...]) -> np.ndarray:
    return np.where(LESION[..., None], np.array(lesion, np.uint8), np.array(background, np.uint8))


def saved(tmp_path: Path, image: Image.Image | np.ndarray, suffix: str = ".png", **options: object) -> Path:
    path = tmp_path / f"m{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    else:
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize(
    "image",
    [
        palette([(0, 0, 0), (255, 0, 0)], LESION),
        palette([(255, 0, 0), (0, 0, 0)], ~LESION),
        palette([(9, 9, 9), (0, 0, 0), (255, 0, 0)], LESION + 1),
        coloured((255, 0, 0), (0, 0, 0)),
        coloured((255, 0, 0, 255), (0, 0, 0, 255)),
        # Transparent background: alpha says nothing that the colours do not.
        coloured((255, 0, 0, 255), (0, 0, 0, 0)),
        palette([(0, 0, 0), (255, 0, 0)], LESION).convert("RGBA"),
    ],
)
def test_a_colour_is_one_label_in_whatever_file_it_stands(image: Image.Image | np.ndarray, tmp_path: Path):
    labels, kind = read_labels(saved(tmp_path, image), "m")
    assert np.array_equal(labels, np.where(LESION, RED, 0))
    assert kind


@pytest.mark.parametrize(
    ("image", "suffix", "value"),
    [
        (LESION.astype(np.uint8) * 255, ".png", 255),
        (LESION, ".png", 1),
        (LESION.astype(np.uint16) * 300, ".png", 300),
        (LESION.astype(np.uint16) * 300, ".tif", 300),
        (LESION.astype(np.float32) * 7, ".tif", 7),
        (LESION.astype(np.int64) * 2, ".npy", 2),
        (np.repeat((LESION * 128).astype(np.uint8)[..., None], 3, 2), ".png", 128),
        (np.dstack([LESION * np.uint8(128), np.full(LESION.shape, 255, np.uint8)]), ".png", 128),
        # A palette of greys shows levels, whatever its indices are.
        (palette([(0, 0, 0), (200, 200, 200)], LESION), ".png", 200),
        (palette([(200, 200, 200), (0, 0, 0)], ~LESION), ".gif", 200),
    ],
)
def test_a_grey_is_its_level(image: Image.Image | np.ndarray, suffix: str, value: int, tmp_path: Path):
    assert np.array_equal(read_labels(saved(tmp_path, image, suffix), "m")[0], LESION * value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_bytes_in_either_order_are_the_same_labels(order: str, tmp_path: Path):
    tifffile.imwrite(tmp_path / "m.tif", LESION.astype(np.uint16) * 300, byteorder=order)
    assert np.array_equal(read_labels(tmp_path / "m.tif", "m")[0], LESION * 300)


@pytest.mark.parametrize(
    ("image", "suffix", "said"),
    [
        (
            coloured((0, 0, 0, 255), (0, 0, 0, 0)),
            ".png",
            "alpha channel that differs",
        ),
        (np.dstack([LESION * np.uint8(0), LESION * np.uint8(255)]), ".png", "alpha channel that differs"),
        (np.dstack([~LESION, LESION]).astype(np.uint8), ".npy", "two channels can be read in two ways"),
        (np.dstack([LESION] * 5).astype(np.uint8), ".npy", "has the shape"),
        (np.dstack([LESION * 700, LESION, LESION]), ".npy", "channels from 0 to 255"),
        (LESION.astype(np.uint8) * 255, ".jpg", "saved as JPEG"),
        (LESION * 0.5, ".npy", "labels are whole numbers"),
        (np.where(LESION, np.nan, 0), ".npy", "labels are whole numbers"),
        (palette([(0, 0, 0), (0, 0, 0)], LESION), ".png", "two labels have one colour"),
        (LESION.astype("U1"), ".npy", "no labels"),
    ],
)
def test_a_mask_that_can_be_read_in_two_ways_is_refused(
    image: Image.Image | np.ndarray, suffix: str, said: str, tmp_path: Path
):
    with pytest.raises(HarnessError, match=f"m: .*{said}"):
        read_labels(saved(tmp_path, image, suffix), "m")


@pytest.mark.parametrize("read", [read_picture, read_labels])
@pytest.mark.parametrize("suffix", [".tif", ".gif", ".png"])
def test_several_pages_are_refused(read: object, suffix: str, tmp_path: Path):
    pages = [Image.fromarray((LESION * np.uint8(200)) + np.uint8(i)) for i in range(3)]
    path = saved(tmp_path, pages[0], suffix, save_all=True, append_images=pages[1:])
    with pytest.raises(HarnessError, match="m: has 3 pages where one image is meant"):
        read(path, "m")  # type: ignore[operator]


def test_a_picture_in_the_alpha_channel_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="m: the picture is in its alpha channel"):
        read_picture(saved(tmp_path, coloured((0, 0, 0, 255), (0, 0, 0, 9))), "m")


def test_sixteen_bits_a_channel_are_not_cut_to_eight(tmp_path: Path):
    deep = np.random.default_rng(0).integers(0, 4096, (8, 10, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", deep, photometric="rgb")
    assert np.array_equal(read_picture(tmp_path / "m.tif", "m"), deep)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_is_turned_as_its_viewer_shows_it(orientation: int, tmp_path: Path):
    grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # The inverse of each orientation's turn, from the EXIF standard's table.
    stored = {
        2: grey[:, ::-1], 3: grey[::-1, ::-1], 4: grey[::-1], 5: grey.T, 6: np.rot90(grey),
        7: grey[::-1, ::-1].T, 8: np.rot90(grey, 3),
    }[orientation]  # fmt: skip
    path = saved(tmp_path, np.ascontiguousarray(stored), exif=exif)
    assert np.array_equal(read_picture(path, "m"), grey)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_a_picture_in_other_colours_is_read_as_rgb(mode: str, tmp_path: Path):
    image = Image.fromarray(coloured((200, 40, 40), (40, 40, 40))).convert(mode)
    suffix = ".tif" if mode == "CMYK" else ".jpg"
    found = read_picture(saved(tmp_path, image, suffix), "m")
    assert found.shape == (8, 10, 3)
    assert np.abs(found[3, 5].astype(int) - (200, 40, 40)).max() < 60


def test_a_tiff_in_which_zero_is_white_is_turned_or_refused(tmp_path: Path):
    grey = np.arange(80, dtype=np.uint8).reshape(8, 10)
    tifffile.imwrite(tmp_path / "m.tif", grey, photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "m.tif", "m"), 255 - grey)
    for deep in (grey.astype(np.uint16), grey.astype(np.float32), np.dstack([grey.astype(np.float64)] * 1)):
        tifffile.imwrite(tmp_path / "m.tif", deep, photometric="miniswhite")
        with pytest.raises(HarnessError, match="m: a TIFF in which 0 is white"):
            read_picture(tmp_path / "m.tif", "m")
