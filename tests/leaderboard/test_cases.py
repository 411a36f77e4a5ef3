import json
import re
import weakref

import numpy as np
from make_records import World, make_site
from PIL import Image

import leaderboard
from harness.store import Store
from leaderboard.compute import results, sections
from leaderboard.draw.cases import PREDICTION, SIDE, TRUTH, Gallery, outline, picture
from leaderboard.read import boards
from leaderboard.write import explorer


def test_outline_runs_along_the_border_of_a_square():
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[100:150, 60:200] = 1
    edge = outline(labels)
    # The last pixel before each change: rows 99 and 149, columns 59 and 199, and nothing inside.
    assert edge[99, 60:200].all()
    assert edge[149, 60:200].all()
    assert edge[100:150, 59].all()
    assert edge[100:150, 199].all()
    assert not edge[101:149, 61:199].any()


def test_truth_and_prediction_have_their_own_colours():
    truth, prediction = (np.zeros((64, 64), np.uint8) for _ in range(2))
    truth[8:40, 8:40], prediction[20:60, 20:60] = 1, 1
    pixels = np.asarray(picture(np.zeros((64, 64, 3), np.uint8), truth, prediction))
    assert (pixels == TRUTH).all(-1).sum() > 100
    assert (pixels == PREDICTION).all(-1).sum() > 100


def test_worst_case_of_a_group_is_its_lowest_dice(small):
    trial = next(
        i for i in small.runs.ids() if (r := small.runs.record(i)).method.name == "groupdro" and r.seed == 0
    )
    scores = small.runs.scores(trial).merge(small.runs.subjects("quick")[["sample", "race"]])
    black = scores[(scores["structure"] == "cup") & (scores["race"] == "Black")]
    page = small.page("quick/groupdro.html")
    lowest = black.loc[black["dice"].idxmin()]
    assert f"worst case of Black: sample {lowest['sample']} with" in page
    assert f"Dice {lowest['dice']:.3f}" in page


def test_pictures_are_small_webp_files(small):
    pictures = list((small.out / "quick" / "images").glob("*.webp"))
    assert pictures
    for path in pictures:
        assert Image.open(path).format == "WEBP"
        assert path.stat().st_size < 30_000


def test_no_picture_without_the_cohorts_leave_or_with_images_off(tmp_path, small):
    silent = make_site(tmp_path, World(attributes=("race",), structures=("cup",), samples=60))
    leaderboard.build(small.runs.root, tmp_path / "plain", images=False)
    for out in (silent.out, tmp_path / "plain"):
        assert not list(out.rglob("*.webp"))
        assert not [page for page in out.rglob("*.html") if ".webp" in page.read_text(encoding="utf-8")]


def test_the_label_maps_of_one_trial_are_held_at_a_time_however_many_methods_there_are(
    tmp_path, small, monkeypatch
):
    read, held, most = Store.predictions, [], []

    def noted(store, trial, *digests):
        samples, labels = read(store, trial, *digests)
        held.append(weakref.ref(labels))
        most.append(sum(one() is not None for one in held))
        return samples, labels

    monkeypatch.setattr(Store, "predictions", noted)
    leaderboard.build(small.runs.root, tmp_path / "site")
    pictures = {path.name: path.read_bytes() for path in (small.out / "quick" / "images").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "site" / "quick" / "images").iterdir()} == pictures
    assert len(held) > 8
    # The one that is drawn, the one that is read, and what a concatenation copies from.
    assert max(most) <= 3


def test_a_large_board_draws_what_its_first_methods_predicted_and_every_case(tmp_path, small, monkeypatch):
    monkeypatch.setattr(results, "LARGE", 2)
    monkeypatch.setattr(explorer, "MOST_PICTURED", 2)
    leaderboard.build(small.runs.root, tmp_path / "site")
    (board,) = boards.of_store(small.runs)
    first = [row.method for row in sections.one(board, "race", "cup").ranked]
    drawn = ["erm", next(name for name in first if name != "erm")]
    folder = tmp_path / "site" / "quick"
    gallery = Gallery(board, small.runs, tmp_path, "quick/images")
    urls = {name: gallery.maps_url(f"{name} race") for name in board.entries}
    there = [name for name, url in urls.items() if (tmp_path / "site" / url).exists()]
    assert sorted(there) == sorted(drawn)
    told = json.loads((folder / "samples.js").read_text("utf-8").partition("(...")[2].rpartition(")")[0])[1]
    assert told["maps"]["race"] == {"": gallery.maps_url("truth")} | {name: urls[name] for name in drawn}
    assert "Predictions are drawn of 2 of 4 methods, ERM and the first in rank." in (
        folder / "samples.html"
    ).read_text("utf-8")
    # Each case has its image, and a page shows none that it lacks.
    assert len(list((folder / "images").glob("case-*.webp"))) == len(board.test)
    for path in tmp_path.glob("site/**/*.html"):
        for url in re.findall(r'<img src="([^"]+)"', path.read_text("utf-8")):
            assert (path.parent / url).exists()
    left = next(name for name in first if name not in drawn)
    said = (folder / f"{left}.html").read_text("utf-8")
    assert "Predictions are drawn of 2 of 4 methods, ERM and the first in rank." in said
    assert "no image of it may be shown" not in said
    cases = (folder / "cases.html").read_text("utf-8")
    assert "averaged over 2 of 4 methods, ERM and the first in rank" in cases
