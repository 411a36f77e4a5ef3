"""Under a table: differences from ERM, how much is enough, who is unknown, two attributes at once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from make_records import World, make_site

from harness import equity
from leaderboard.compute import intersections, sections, words
from leaderboard.compute.row import Difference, Number, Row
from leaderboard.draw import inside
from leaderboard.read import boards
from leaderboard.write import rendering
from leaderboard.write.addresses import BoardPage

APART = World(
    methods=("erm", "febs", "adv"),
    structures=("cup",),
    gaps={"erm": 0.1, "febs": 0.0, "adv": 0.1},
    quality={"febs": 0.08, "adv": 0.0},
    noise=0.04,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("closer"), APART)


@pytest.fixture(scope="module")
def board(site):
    (found,) = boards.of_store(site.runs)
    return found


@pytest.fixture(scope="module")
def section(board):
    return sections.one(board, "race", "cup")


def exported(site):
    (protocol,) = json.loads(site.page("leaderboard.json"))["protocols"]
    return next(s for s in protocol["sections"] if s["attribute"] == "race")


def test_the_forest_plot_says_of_each_method_what_the_pairs_say(site, section):
    page = unescape(site.page("index.html"))
    pairs = section.tables["dice"].pairs
    for name in ("febs", "adv"):
        row = section.row(name)
        (pair,) = pairs[pairs[["one", "other"]].isin([name]).any(axis=1) & (pairs["one"] == "erm")].to_dict(
            "records"
        )
        turned = {"better": "worse", "worse": "better"}.get(pair["verdict"], pair["verdict"])
        assert row.versus.told == turned
        drawn = page[page.index(f'data-method="{name}"') :]
        drawn = drawn[drawn.index('class="num versus"') : drawn.index("</tr>")]
        assert f"<b>{words.signed(row.versus.number.value)}</b>" in drawn
        colour = {"better": "good", "worse": "bad"}.get(turned, "even")
        assert f'class="bar s-{colour}"' in drawn
    assert section.row("febs").versus.told == "better"
    told = {m["method"]: m["es_dice_verdict"] for m in exported(site)["methods"]}
    assert told == {"erm": ""} | {name: section.row(name).versus.told for name in ("febs", "adv")}


def test_the_margin_of_the_plot_is_the_protocols(section):
    for margin in (0.3, 0.01):
        shown = replace(section, margin=margin)
        axis = inside.Inside(shown, 0).difference
        drawn = str(inside.of_section(shown, 0).cell("versus", shown.row("febs")))
        (band,) = re.findall(r'<rect[^>]* width="([.\d]+)%"', drawn)
        assert float(band) / 100 * (axis.high - axis.low) == pytest.approx(2 * margin, rel=0.05)


def test_what_is_enough_is_what_equity_reckons(site, board, section):
    scores = board.equity_scores({m: board.matrix(m, "race", "cup", "dice") for m in APART.methods}, "race")
    theirs = equity.enough(scores)
    page = unescape(site.page("index.html"))
    for line, ours in zip(theirs.to_dict("records"), exported(site)["enough"], strict=True):
        assert ours["difference"] == line["difference"]
        assert ours["seeds_needed"] == (None if np.isnan(line["seeds_needed"]) else line["seeds_needed"])
        cell = words.needed(line["seeds_needed"], "seed")
        assert f'<th scope="row">{line["difference"]:g}</th><td class="num">{cell}</td>' in page
    assert f"a difference of {theirs['detectable'][0]:.3f} is told" in page


def closer(section, crossed=()):
    page = BoardPage(None, None, "index.html")
    macro = rendering.environment().get_template("closer.html.j2").make_module({"page": page}).closer
    return unescape(str(macro(section, None, crossed, "cup by race")))


def test_people_of_unknown_group_are_compared_and_bounded_or_too_few(section):
    lines = [
        {
            "method": "erm", "samples": 30, "patients": 12, "known": 0.8, "unknown": 0.7, "difference": -0.1,
            "low": -0.15, "high": -0.05, "p": 0.004, "gap": 0.05, "gap_low": 0.02, "gap_high": 0.11,
            "all_in_low": "White", "all_in_high": "Asian",
        }
    ]  # fmt: skip
    said = closer(replace(section, unknown=lines))
    assert "Of 12 patients (30 samples) the race is not known" in said
    assert "worse (p = 0.004)" in said
    assert "0.020 (all White) to 0.110 (all Asian)" in said
    few = closer(replace(section, unknown=[lines[0] | {"patients": 4, "difference": np.nan}]))
    assert "Too few to say anything about" in few
    assert "worse" not in few
    assert "not known" not in closer(replace(section, unknown=[]))


def test_cells_of_two_attributes_are_drawn_in_and_small_ones_say_too_few(site, board):
    page = unescape(site.page("index.html"))
    crossing = intersections.crossings(board, "race")["febs"][0]
    cells = [cell for _, row in crossing.rows for cell in row]
    assert any(cell.few for cell in cells)
    means = np.array([[cell.number.value for cell in row] for _, row in crossing.rows])
    errors = np.array([[(c.number.high - c.number.low) / 3.92 for c in row] for _, row in crossing.rows])
    drawn = equity.shrunk(means, errors**2).ravel()
    for cell, value in zip(cells, drawn, strict=True):
        assert cell.shrunk == pytest.approx(value, nan_ok=True)
        assert cell.few or f"drawn in {value:.3f}" in page
    assert "Race × gender" in page
    assert "too few" in page


def test_a_row_says_where_a_higher_es_hides_that_every_group_lost(tmp_path):
    # Less of everything for all, and least for the group that had most: ES rises, every group loses.
    world = World(
        methods=("erm", "febs"), attributes=("gender",), structures=("cup",), noise=0.02,
        gaps={"erm": 0.12, "febs": 0.0}, quality={"erm": 0.05, "febs": -0.08},
    )  # fmt: skip
    made = make_site(tmp_path, world)
    (found,) = boards.of_store(made.runs)
    section = sections.one(found, "gender", "cup")
    row, base = section.row("febs"), section.row("erm")
    groups = found.record.groups["gender"]
    assert all(row.group("dice", g).value < base.group("dice", g).value for g in groups)
    assert row.versus.number.value > 0
    assert row.versus.lost >= 1
    said = f"though every group’s Dice is lower ({row.versus.lost} of them beyond chance): levelled down"
    assert said in unescape(made.page("index.html"))
    assert said in unescape(made.page("quick/febs.html"))


def test_who_is_levelled_down_is_not_counted_among_those_that_beat_erm(section):
    febs = section.row("febs")
    assert words.better_than_erm(section) == [febs]
    lost = replace(febs, versus=replace(febs.versus, lost=0))
    rows = [lost if row is febs else row for row in section.rows]
    assert words.better_than_erm(replace(section, rows=rows)) == []


def test_a_row_is_not_called_levelled_down_where_one_group_gained():
    versus = Difference(Number(0.02, 0.01, 0.03), 0.01, True, "", "better", 0.01, None)
    assert words.levelled(Row("m", "M", "done", 3, 3, versus=versus)) == ""
