"""Every test case of a method as a point: which of very many are drawn, and where all of them are found."""

import base64
import dataclasses
import gzip
import json

import numpy as np
import pytest
from make_records import World, make_site

import leaderboard
from harness.equity import MIN_PATIENTS
from leaderboard.draw.samples import MOST_POINTS, drawn_of
from leaderboard.read import boards
from leaderboard.write import explorer, payload


def test_no_case_is_left_out_of_a_figure_that_holds_them_all():
    cases = np.array([1, 4, 7])
    assert drawn_of(cases, np.full(9, 0.5)) == [1, 4, 7]


@pytest.mark.parametrize("many", [MOST_POINTS + 1, 2_000, 2_999, 10_007])
def test_of_very_many_cases_the_worst_are_drawn_and_the_others_evenly(many):
    dice = np.random.default_rng(many).permutation(many) / many
    drawn = drawn_of(np.arange(many), dice)
    assert len(set(drawn)) == len(drawn) <= MOST_POINTS
    found = np.sort(dice[drawn])
    worst = MOST_POINTS // 3
    assert found[:worst] == pytest.approx(np.arange(worst) / many)
    # No stretch of the others' ranks is passed over.
    steps = np.unique(np.rint(np.diff(found[worst:]) * many))
    assert len(steps) == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    world = World(
        samples=80,
        seeds=(0, 1),
        failed=frozenset({("adv", "race", 0), ("adv", "race", 1), ("febs", "race", 1)}),
    )
    return make_site(tmp_path_factory.mktemp("every-case"), world)


@pytest.fixture(scope="module")
def told(site):
    return handed_over(site, "quick/samples.js", "board")


def test_each_method_has_its_mean_over_seeds_of_every_case_of_every_table(site, told):
    (board,) = boards.of_store(site.runs)
    for method in told["methods"]:
        values = unpacked(handed_over(site, method["file"], f"method {method['name']}"), 2)
        assert len(values) == sum(table["cases"] for table in told["tables"])
        at = 0
        for table in told["tables"]:
            attribute, structure = table["anchor"].split("-")
            found = values[at : at + table["cases"]]
            at += table["cases"]
            seeds = board.matrix(method["name"], attribute, structure, "dice")
            there = [] if seeds is None else [row for row in seeds if not np.isnan(row).any()]
            if there:
                assert found / told["scale"] == pytest.approx(np.mean(there, axis=0), abs=0.5 / told["scale"])
            else:
                assert (found == payload.MISSING).all()


def test_groups_too_small_and_unknown_are_one(site, told):
    (board,) = boards.of_store(site.runs)
    for table in told["tables"]:
        codes, own = unpacked(table["codes"], 1), board.test[table["attribute"]]
        for code, name in enumerate(table["groups"]):
            patients = board.test.loc[own == name, "patient"].nunique()
            if patients < MIN_PATIENTS:
                assert code not in codes
            else:
                assert ((codes == code) == (own == name)).all()


def test_a_cohort_that_shows_no_image_names_no_sample(told):
    assert all(table["samples"] is None and not table["pictured"] for table in told["tables"])


def test_what_has_no_rank_in_a_table_is_not_offered_in_it(told):
    names = [method["name"] for method in told["methods"]]
    offered = {t["anchor"]: {names[place] for place in t["methods"]} for t in told["tables"]}
    assert "adv" not in offered["race-cup"]
    assert "adv" in offered["gender-cup"]


def test_a_board_too_large_keeps_every_case_of_the_baseline_and_the_first_methods(
    site, tmp_path, monkeypatch
):
    # Room for three methods of 80 cases in six tables, at most 8 bytes for 3 cases each.
    monkeypatch.setattr(explorer, "MOST_BYTES", 3 * 80 * 6 * 8 // 3)
    out = tmp_path / "site"
    leaderboard.build(site.runs.root, out)
    cut = handed_over(dataclasses.replace(site, out=out), "quick/samples.js", "board")
    assert cut["methods"][0]["name"] == "erm"
    assert len(cut["methods"]) == 3
    page = dataclasses.replace(site, out=out).page("quick/samples.html")
    assert "Scores of single cases are here of 3 of 4 methods, ERM and the first in rank." in page
    assert len(list((out / "quick" / "dice").iterdir())) == 3
    assert [table["cases"] for table in cut["tables"]] == [80] * 6


def handed_over(site, path, name):
    """What a file hands over to the page's script, which must be under that name."""
    text = site.page(path)
    start, end = "Board.explorer.receive(...", ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    found, told = json.loads(text[len(start) : -len(end)])
    assert found == name
    return told


def unpacked(text, size):
    """Whole numbers of `size` bytes, int [N], of which bytes of equal significance are together."""
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(size, -1).astype(int)
    return sum(plane << (8 * i) for i, plane in enumerate(planes))
