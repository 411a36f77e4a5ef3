"""Images of the worst cases: outlines lie where the masks do, and none is shown without leave."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import worlds
from click.testing import CliRunner
from PIL import Image

from harness.cli import cli
from harness.errors import HarnessError
from harness.predictions import overlays
from harness.predictions.coding import Coding
from harness.predictions.files import Case
from harness.predictions.overlays import COLOURS, SIDE, drawn, paired, pictures
from harness.predictions.scored import Options, Pair

TRUE, PREDICTED, BOTH = COLOURS.values()


def pair(true: np.ndarray, predicted: np.ndarray, **more: object) -> Pair:
    return Pair(predicted.astype(np.uint8), true.astype(np.uint8), {"s": (1,), "other": (2,)}, None, **more)


def box(shape: tuple[int, ...], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[rows, columns] = 1
    return mask


def where(picture: np.ndarray, colour: tuple[int, int, int]) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for r, c in np.argwhere((picture == colour).all(axis=2))}


def ring(top: int, bottom: int, left: int, right: int) -> set[tuple[int, int]]:
    """The pixels on the edge of a box, both ends included."""
    rows, columns = range(top, bottom + 1), range(left, right + 1)
    return {(r, c) for r in rows for c in columns if r in (top, bottom) or c in (left, right)}


def test_outlines_lie_on_the_edges_of_truth_and_prediction_and_where_both_do_is_said():
    true, predicted = (box((SIDE, SIDE), slice(40, 100), slice(a, 200)) for a in (50, 60))
    grey = np.zeros((SIDE, SIDE))
    grey[:160] = 1
    picture = drawn(grey, pair(true, predicted), "s")
    one, other = ring(40, 99, 50, 199), ring(40, 99, 60, 199)
    assert where(picture, TRUE) == one - other
    assert where(picture, PREDICTED) == other - one
    assert where(picture, BOTH) == one & other
    rest = np.ones((SIDE, SIDE), bool)
    rest[tuple(np.array(sorted(one | other)).T)] = False
    # Nothing else is drawn: the image is white above and black below.
    assert (picture[:160][rest[:160]] == 255).all()
    assert (picture[160:][rest[160:]] == 0).all()


def test_a_small_picture_is_enlarged_and_a_large_one_keeps_its_outline():
    small = drawn(np.zeros((32, 32)), pair(*[box((32, 32), slice(4, 8), slice(10, 20))] * 2), "s")
    assert where(small, BOTH) == ring(40, 79, 100, 199)
    large = (4 * SIDE, 2 * SIDE)
    mask = box(large, slice(400, 800), slice(200, 400))
    picture = drawn(np.zeros(large), pair(mask, 0 * mask), "s")
    assert picture.shape == (SIDE, SIDE // 2, 3)
    assert where(picture, TRUE) == ring(100, 199, 50, 99)


def test_only_the_structure_asked_for_is_outlined_and_what_is_ignored_is_not():
    true = box((SIDE, SIDE), slice(10, 20), slice(10, 20)) + 2 * box(
        (SIDE, SIDE), slice(50, 60), slice(9, 20)
    )
    true[200:] = 255
    picture = drawn(np.zeros(true.shape), pair(true, np.where(true == 255, 1, 0)), "other")
    assert where(picture, TRUE) == ring(50, 59, 9, 19)
    assert not where(picture, PREDICTED)
    assert not where(drawn(np.zeros(true.shape), pair(true, np.where(true == 255, 1, 0)), "s"), PREDICTED)


def test_of_a_volume_the_slice_is_shown_where_both_differ_most_and_as_readers_know_it():
    true = np.zeros((SIDE, SIDE, 3), np.uint8)
    true[40:100, 200:300, 1] = 1
    # Axes to the right, the front and up: the patient's right is shown on the left, the front above.
    affine = np.diag([1.0, 1, 1, 1])
    picture = drawn(np.zeros(true.shape), pair(true, 0 * true, axis=2, affine=affine), "s")
    assert where(picture, TRUE) == ring(SIDE - 300, SIDE - 201, SIDE - 100, SIDE - 41)
    # The same patient stored to the left, the back and up.
    turned = np.flip(true, (0, 1))
    affine = np.diag([-1.0, -1, 1, 1])
    again = drawn(np.zeros(true.shape), pair(turned, 0 * turned, axis=2, affine=affine), "s")
    assert np.array_equal(picture, again)


def test_an_image_stored_along_other_axes_is_turned_onto_its_truth(tmp_path):
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[3:9, 2:5, 1:3] = 1
    image = nibabel.Nifti1Image(truth.astype(np.float32) * 100, worlds.AFFINE)
    worlds.save(truth, tmp_path / "t.nii.gz")
    worlds.save(0 * truth, tmp_path / "p.nii.gz")
    turn = nibabel.orientations.axcodes2ornt("SLP")
    own = nibabel.orientations.io_orientation(worlds.AFFINE)
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(own, turn)), tmp_path / "i.nii.gz")
    cases = {"c": tuple(Case("c", {"": tmp_path / f"{name}.nii.gz"}) for name in "pt")}
    found = overlays.Images({"c": tmp_path / "i.nii.gz"}, ())
    row = {"sample": "c", "structure": "s", "attribute": "sex", "group": "F", "dice": 0.0}
    picture = pixels(pictures([row], cases, found, Options(Coding({"s": (1,)})))[0].data)
    # What is bright in the image is what the truth's outline holds.
    edge = (picture == TRUE).all(axis=2)
    bright = (picture == 255).all(axis=2)
    rows, columns = np.nonzero(edge)
    inside = np.zeros_like(edge)
    inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    assert edge.any()
    assert np.array_equal(bright, inside & ~edge)


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


NAMED = {
    "as cases are": "{}.png",
    "with an ending that all share": "{}_image.png",
    "as nnU-Net's first channel": "{}_0000.png",
    "in capitals": "{}.png",
}


@pytest.mark.parametrize("how", NAMED)
def test_images_are_paired_by_name_without_a_rule(how, tmp_path):
    cases = [f"case_{i:03d}" for i in range(4)]
    for i, name in enumerate(cases):
        written = NAMED[how].format(name.upper() if how == "in capitals" else name)
        Image.new("L", (4, 4), i).save(tmp_path / written)
    found = paired(str(tmp_path), None, cases)
    assert {name: Image.open(file).getpixel((0, 0)) for name, file in found.by_case.items()} == {
        name: i for i, name in enumerate(cases)
    }
    assert found.unpaired == ()


def test_cases_numbered_with_four_digits_are_no_channels(tmp_path):
    cases = ["img_0000", "img_0001", "img_0002"]
    for name in cases:
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    assert {name: file.stem for name, file in paired(str(tmp_path), None, cases).by_case.items()} == dict(
        zip(cases, cases, strict=True)
    )


def test_images_without_a_case_and_cases_without_an_image_are_listed(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001", "elsewhere"):
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    found = paired(str(tmp_path), None, ["a", "b", "c"])
    assert {name: file.stem for name, file in found.by_case.items()} == {"a": "a_0000", "b": "b_0000"}
    assert found.unpaired[0] == "c: a case without an image"
    assert "1 images are of no case ('elsewhere')" in found.unpaired[1]
    with pytest.raises(HarnessError, match="no image is named like a case"):
        paired(str(tmp_path), None, ["x", "y"])


def scored(*words: str) -> tuple[int, str]:
    try:
        done = CliRunner().invoke(cli, ["score", *words], prog_name="harness", catch_exceptions=False)
    except HarnessError as error:
        return 1, str(error)
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> worlds.World:
    found = worlds.pictures(tmp_path_factory.mktemp("images"), n=24)
    (found.folder / "images").mkdir()
    best = max(found.truths, key=lambda case: (found.truths[case] == found.predictions[case]).mean())
    (found.folder / "images" / "best.txt").write_text(best)
    for case, labels in found.truths.items():
        if case == best:
            continue
        Image.fromarray(labels * 100).convert("RGB").save(found.folder / "images" / f"{case}.jpg", quality=95)
    return found


def test_the_page_has_the_worst_cases_only_where_it_was_said_that_it_may(world, tmp_path):
    out, images = tmp_path / "page", str(world.folder / "images")
    options = ["--attribute", "sex", "--structures", "kidney=1,2;tumour=2", "--name", "m", "--out", str(out)]
    code, said = scored(*world.places, *options, "--images", images)
    assert code == 1
    assert "add --publish-images if they may" in said
    assert not out.exists()
    code, said = scored(*world.places, *options)
    assert code == 0, said
    assert "data:image" not in (out / "index.html").read_text()
    code, said = scored(*world.places, *options, "--images", images, "--publish-images")
    assert code == 0, said
    page = (out / "index.html").read_text()
    assert page.count("data:image/png") == 6  # three of each sex
    lacking = (Path(images) / "best.txt").read_text()
    assert f"{lacking}: a case without an image" in said
    assert f"{lacking}: a case without an image" in page


BAD = {
    "leave without images": (("--publish-images",), "of which images"),
    "a rule without images": (("--pair-images", "{id}.png"), "of which images"),
    "no page": (("--images", "IMAGES", "--publish-images"), "add --out DIR or --open"),
    "another size": (("--images", "SMALL", "--publish-images", "--out", "OUT"), "on the grids of the truths"),
}


@pytest.mark.parametrize("kind", BAD)
def test_images_that_cannot_be_shown_are_one_sentence(kind, world, tmp_path):
    shutil.copytree(world.folder / "images", tmp_path / "small")
    for file in (tmp_path / "small").glob("*.jpg"):
        Image.new("L", (7, 5)).save(file)
    places = {"IMAGES": world.folder / "images", "SMALL": tmp_path / "small", "OUT": tmp_path / "out"}
    words = [str(places.get(word, word)) for word in BAD[kind][0]]
    options = ["--attribute", "sex", "--structures", "kidney=1,2;tumour=2", "--name", "m"]
    code, said = scored(*world.places, *options, *words)
    assert code != 0
    assert BAD[kind][1] in said
    assert not Path(tmp_path / "out").exists()
