"""A site's pictures take no more than their room, whatever they show and however many there might be."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_records import World, make_site
from PIL import Image

import leaderboard
from harness.store import Store
from leaderboard.draw import cases, room
from leaderboard.write import explorer


@given(
    st.integers(50_000, room.MOST),
    st.integers(0, 300),
    st.integers(0, 60),
    st.integers(1, 4),
    st.integers(0, 48),
)
def test_what_is_shown_fits_into_its_room_and_each_file_is_large_enough_to_read(
    bytes_, many, methods, attributes, groups
):
    found = room.shares(bytes_, many, methods, attributes, groups)
    assert found.cases <= many
    assert found.methods <= methods
    pictures = found.methods * groups * 6
    maps = 1 + found.methods * attributes if found.cases else 0
    if found.methods or found.cases:
        assert found.cases * found.image + pictures * found.picture + maps * found.maps <= bytes_
    if found.cases:
        assert found.image >= 4096
    if found.methods:
        assert found.picture >= 4096
        assert found.maps >= 24 * 1024


def test_the_more_trials_and_boards_a_site_has_the_less_room_have_the_pictures_of_each():
    assert room.of_board(12, 1) == 24 << 20
    assert room.of_board(12, 8) == 3 << 20
    # A thousand methods, two attributes, three seeds: with 10 kB a trial the site is full but for 2.8 MiB.
    assert room.of_board(5_997, 1) == 3 << 20
    assert room.of_board(4_500, 1) == (60 << 20) - 45_000_000


@pytest.mark.parametrize("most", [room.PICTURE[0], 10_000, 80_000])
def test_noise_becomes_a_picture_of_no_more_bytes_than_asked(most):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    made = cases.encoded(Image.fromarray(noise), most)
    assert len(made) <= most
    with Image.open(io.BytesIO(made)) as opened:
        assert opened.format == "WEBP"


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 40), st.sampled_from([room.MAPS[0], 100_000]), st.integers(1, 255))
def test_noisy_label_maps_are_packed_smaller_then_fewer(many, most, labels):
    noise = np.random.default_rng(labels).integers(0, labels + 1, (many, 200, 200)).astype(np.uint8)
    side, step, packed = cases._small(noise, most)
    assert len(packed) <= most
    assert side in (128, 64, 32)
    assert step == 1 or side == 32
    assert step < many or many == 1


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Seven methods of which each picture and label map is noise of 256 pixels."""
    world = World(
        methods=("erm", *(f"m{i}" for i in range(6))),
        structures=("cup",),
        seeds=(0,),
        samples=60,
        images=True,
    )
    site = make_site(tmp_path_factory.mktemp("noisy"), world)
    rng = np.random.default_rng(3)

    def as_noise(path, **high):
        with np.load(path) as held:
            content = dict(held)
        for what, top in high.items():
            shape = (len(content["samples"]), 256, 256, *content[what].shape[3:])
            content[what] = rng.integers(0, top, shape).astype(np.uint8)
        np.savez(path, **content)

    store = Store(site.runs.root)
    as_noise(store.board_file("quick", "cases.npz"), images=256, masks=3)
    for trial in store.ids():
        as_noise(store.path(trial) / "predictions.npz", labels=3)
    return site


@pytest.mark.parametrize("bytes_", [300_000, 600_000])
def test_pictures_of_noise_stay_within_their_room_and_the_pages_say_what_is_left_out(
    noisy, tmp_path, monkeypatch, bytes_
):
    monkeypatch.setattr(room, "MOST", bytes_)
    monkeypatch.setattr(room, "LEAST", bytes_)
    out = tmp_path / "site"
    leaderboard.build(noisy.runs.root, out, workers=1)
    folder = out / "quick"
    files = list((folder / "images").iterdir())
    # The text around label maps, a script's, comes on top.
    assert 0.2 * bytes_ < sum(path.stat().st_size for path in files) <= bytes_ + 1_000 * len(files)
    first = {path.name.partition("-")[0] for path in files}
    text = {page.stem: page.read_text("utf-8") for page in folder.glob("*.html")}
    images = len(list((folder / "images").glob("case-*.webp")))
    assert 0 < images < 60
    assert f"An image is here of {images} of 60 cases, evenly chosen." in text["samples"]
    said = re.search(r"Predictions are drawn of (\d) of 7 methods, ERM", text["samples"])
    assert said
    own = [name for name, page in text.items() if "prediction of seed 0" in page]
    assert "erm" in own
    assert len(own) == int(said[1]) < 7
    # ERM has one trial for both attributes, the others one each.
    assert len(first - {"case", "maps"}) == 2 * len(own) - 1
    assert f"averaged over {len(own)} of 7 methods" in text["cases"]
    assert "it may be coarse" in text["cases"]
    for page in out.rglob("*.html"):
        for url in re.findall(r'<img src="([^"]+)"', page.read_text("utf-8")):
            assert (page.parent / url).exists()


def test_where_there_is_room_for_no_method_the_pages_say_so(noisy, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "MOST", 60_000)
    monkeypatch.setattr(room, "LEAST", 60_000)
    out = tmp_path / "site"
    leaderboard.build(noisy.runs.root, out, workers=1)
    assert sum(path.stat().st_size for path in (out / "quick" / "images").iterdir()) <= 60_000
    said = (out / "quick" / "cases.html").read_text("utf-8")
    assert "None is shown" in said
    assert "averaged" not in said
    assert "Predictions are drawn of no method." in (out / "quick" / "m1.html").read_text("utf-8")


def test_a_board_of_few_methods_and_small_pictures_leaves_nothing_out(small):
    for name in ("samples", "cases", "groupdro"):
        said = small.page(f"quick/{name}.html")
        assert "too large" not in said
        assert "evenly chosen" not in said
        assert "Predictions are drawn of" not in said
    assert len(small.world.methods) <= explorer.MOST_PICTURED
