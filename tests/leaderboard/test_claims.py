"""No sentence and no file of the site says more than the records bear out."""

from __future__ import annotations

import json
import math
from html import unescape

import numpy as np
import pytest
from make_records import World, make_site, make_store

from harness.equity import MIN_PATIENTS
from harness.multiplicity import holm
from leaderboard.compute import facts, sections, seeds, words
from leaderboard.compute.row import Noise, Number, Row
from leaderboard.read import boards
from leaderboard.read.boards import readable
from leaderboard.write import payload

CLEAR = {"attributes": ("race",), "structures": ("cup",), "samples": 200, "noise": 0.03}


def row_with(gap: Number, noise: Noise) -> Row:
    return Row("erm", "ERM", "done", 3, 3, metrics={"dice": {"gap": gap}}, noise={"dice": noise})


@pytest.mark.parametrize(
    ("low", "p_adjusted", "floor", "said"),
    [
        (0.01, 0.01, 0.04, "above chance"),
        (0.0, 0.01, 0.05, "within chance"),
        (0.01, 0.2, 0.06, "within chance"),
        # The gap is higher than its floor, which "within" would deny.
        (0.0, 0.01, 0.04, "may be chance"),
        (0.01, 0.2, 0.04, "may be chance"),
    ],
)
def test_a_gap_is_above_chance_where_relabelling_and_interval_agree(low, p_adjusted, floor, said):
    row = row_with(Number(0.05, low, 0.09), Noise(0.02, floor, 0.01, 0.06, p_adjusted))
    assert words.gap_finding(row).startswith(said)


def test_gap_p_values_are_adjusted_over_the_methods_of_the_table(tmp_path):
    (board,) = boards.of_store(make_store(tmp_path, World(**CLEAR)))
    rows = sections.one(board, "race", "cup").rows
    adjusted = np.array([row.noise["dice"].p_adjusted for row in rows])
    by_relabelling = holm(np.array([row.noise["dice"].p for row in rows]))
    assert (adjusted >= by_relabelling - 1e-12).all()  # never below what relabelling alone says


def test_nobody_is_best_on_their_own_word(tmp_path):
    ahead = {"methods": ("erm", "febs"), "gaps": {"erm": 0.3, "febs": 0.0}} | CLEAR
    told = {("febs", seed): "reported" for seed in (0, 1, 2)}
    pages_of = {
        name: unescape(make_site(tmp_path / name, World(**ahead, **changes)).page("index.html"))
        for name, changes in {"run here": {}, "told": {"obtained": told}}.items()
    }
    assert "Fair error-bound scaling is best" in pages_of["run here"]
    assert "is best" not in pages_of["told"]
    assert "Fair error-bound scaling (self-reported) has the highest" in pages_of["told"]


def test_the_best_by_dice_alone_is_said_to_have_the_wider_gap(tmp_path):
    world = World(
        methods=("erm", "febs"), gaps={"erm": 0.0, "febs": 0.06}, quality={"febs": 0.15, "erm": -0.15},
        **CLEAR,
    )  # fmt: skip
    text = unescape(make_site(tmp_path, world).page("index.html"))
    assert "Fair error-bound scaling is best" in text
    assert "Its gap is wider than ERM’s" in text


def test_a_title_cannot_turn_the_sentences_around_it(tmp_path):
    world = World(methods=("erm", "febs"), info={"febs": {"title": "FEBS\u202e\x07 best\u2066"}}, **CLEAR)
    site = make_site(tmp_path, world)
    for page in ("index.html", "quick/febs.html", "leaderboard.json"):
        assert "FEBS best" in site.page(page)
        assert not set(site.page(page)) & set("\u202e\u2066\x07")
    assert readable("a\u200b \n b\u0645") == "a b\u0645"


def test_a_group_below_the_least_size_is_published_nowhere(tmp_path):
    world = World(**(CLEAR | {"samples": 60}))
    site = make_site(tmp_path, world)
    (board,) = boards.of_store(site.runs)
    patients = board.test.groupby("race")["patient"].nunique()
    small, large = patients.index[patients < MIN_PATIENTS], patients.index[patients >= MIN_PATIENTS]
    assert len(small) > 0
    assert len(large) > 1
    section = sections.one(board, "race", "cup")
    packed = payload.pack(board, section)
    assert set(packed["groups"]) == set(large)
    codes = payload._codes(board, section)
    assert set(codes[board.test["race"].isin(small)]) == {payload.UNKNOWN}
    for seed in seeds.of_method(board, board.entries["erm"], "race", "cup"):
        named = dict(zip(board.record.groups["race"], seed.groups, strict=True))
        assert {named[group] for group in small} == {None}
        means = np.array([named[group] for group in board.record.groups["race"] if group in large])
        assert seed.es == pytest.approx(seed.overall / (1 + np.abs(means - seed.overall).sum()))


def test_what_the_test_set_can_show_is_on_the_protocols_page(tmp_path):
    site = make_site(tmp_path, World(**CLEAR))
    (board,) = boards.of_store(site.runs)
    section = sections.one(board, "race", "cup")
    ((attribute, structure, rows),) = facts.detectable([section])
    assert (attribute, structure) == ("race", "cup")
    assert max(gap for _, _, gap in rows) == section.row("erm").noise["dice"].detectable
    page = site.page("quick/protocol.html")
    for group, patients, gap in rows:
        assert f'<td>{group}</td><td class="num">{patients}</td><td class="num">{gap:.3f}</td>' in page


def test_corrected_scores_stand_on_the_board_and_in_the_export(tmp_path):
    site = make_site(tmp_path, World(**CLEAR))
    export = json.loads(site.page("leaderboard.json"))
    for method in export["protocols"][0]["sections"][0]["methods"]:
        scores = method["scores"]["dice"]
        assert scores["gap"]["corrected"] <= scores["gap"]["estimate"]  # noise widens a gap
        assert f"<b>{scores['es_sum']['corrected']:.3f}</b>" in site.page("index.html")


def test_a_small_groups_mean_distance_has_no_interval(tmp_path):
    (board,) = boards.of_store(make_store(tmp_path, World(**CLEAR)))
    row = sections.one(board, "race", "cup").row("erm")
    patients = board.test.groupby("race")["patient"].nunique()
    for group, number in row.groups["hd95"].items():
        if number.there:
            assert math.isnan(number.low) == (patients[group] < sections.MANY_PATIENTS)
            assert not math.isnan(row.group("dice", group).low)
