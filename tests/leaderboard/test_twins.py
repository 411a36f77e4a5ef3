"""A method that trains longer than ERM is shown beside ERM trained as long, and never as better than less."""

from __future__ import annotations

import json
from html import unescape

import numpy as np
import pandas as pd
import pytest
from make_records import World, make_site, make_store

from harness import equity
from harness.equity.twins import without_loans
from harness.protocol import load
from harness.store import MethodInfo, twins
from leaderboard.compute import across, sections, tracks, verdicts, words
from leaderboard.read import boards

METHODS = ("erm", "erm+1", "febs", "groupdro")
# One epoch more is worth 0.08 of Dice, and FEBS nothing beside it.
LONGER = {"erm": -0.06, "erm+1": 0.02, "febs": 0.02, "groupdro": -0.06}
SMALL = {"attributes": ("race",), "structures": ("cup",), "samples": 160, "noise": 0.03}


def world(**changes) -> World:
    given = {"methods": METHODS, "quality": LONGER, "gaps": dict.fromkeys(METHODS, 0.05)}
    return World(**(given | SMALL | changes))


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """The site of a FEBS that has its twin's scores to the last digit, on two attributes."""
    asked = world(same_as={"febs": "erm+1"}, attributes=("race", "gender"))
    return make_site(tmp_path_factory.mktemp("alike"), asked)


def section_of(store):
    (board,) = boards.of_store(store)
    return board, sections.one(board, "race", "cup")


def test_a_method_equal_to_its_twin_is_not_better_than_erm(alike):
    _, section = section_of(alike.runs)
    febs, erm, twin = (section.row(name) for name in ("febs", "erm", "erm+1"))
    # ERM as long is far better than ERM: there is a lead to be lent.
    assert (twin.versus.better, twin.versus.than) == (True, "ERM")
    assert febs.number("dice", "es_sum").value > erm.number("dice", "es_sum").value + 0.05
    assert (febs.versus.baseline, febs.versus.than) == ("erm+1", "ERM with the same extra epoch")
    assert febs.versus.better is None
    assert febs.versus.number.value == 0
    assert not febs.best
    assert set(febs.letters) & set(twin.letters)
    assert set(febs.letters) & set(erm.letters)
    assert erm.rank_low == 2  # behind its twin alone
    assert set(febs.family.letters) & set(erm.family.letters)
    assert (section.tables["dice"].pairs["better"] != "febs").all()


def test_the_headline_counts_no_twin_among_those_that_beat_erm(alike):
    _, section = section_of(alike.runs)
    assert verdicts.verdict(section) == "No method is shown to be best"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 of 3 methods are better than ERM, none shown best"),
        ({"obtained": {("adv", seed): "reported" for seed in range(3)}},
         "GroupDRO is better than ERM, none shown best"),
        ({"quality": {"erm": 0.0, "adv": 0.0, "groupdro": 0.0}}, "No difference can be told yet"),
    ],
    ids=["two", "one on its submitter's word", "none"],
)  # fmt: skip
def test_the_headline_says_who_beats_erm_where_none_is_best(tmp_path, changes, said):
    three = {
        "methods": ("erm", "adv", "groupdro"),
        "gaps": dict.fromkeys(("erm", "adv", "groupdro"), 0.05),
        "quality": {"erm": -0.1, "adv": 0.0, "groupdro": 0.0},
        "same_as": {"groupdro": "adv"},
    }
    _, section = section_of(make_store(tmp_path, world(**(three | changes))))
    assert verdicts.verdict(section) == said


def test_no_word_of_the_site_says_that_a_method_equal_to_its_twin_beats_erm(alike):
    _, section = section_of(alike.runs)
    row = section.row("febs")
    said = [words.difference_finding(row), words.over_views(row), words.standing(row, section)]
    assert all("ERM with the same extra epoch" in text for text in said)
    assert not any("better than" in text for text in said)
    page = unescape(alike.page("index.html"))
    assert "ERM, same extra epoch" in page
    own = page[page.index('data-method="febs"') :]
    own = own[: own.index("</tr>")]
    assert "better than" not in own
    assert "better than" not in unescape(alike.page("quick/febs.html")).split("Controls")[0]


def test_the_exports_name_the_row_that_each_method_is_compared_with(alike):
    (protocol,) = json.loads(alike.page("leaderboard.json"))["protocols"]
    for section in protocol["sections"]:
        found = {row["method"]: row for row in section["methods"]}
        assert found["febs"]["es_dice_baseline"] == "erm+1"
        assert found["febs"]["es_dice_verdict"] != "better"
        assert found["febs"]["es_dice_minus_baseline"]["estimate"] == 0
        assert found["erm+1"]["es_dice_baseline"] == found["groupdro"]["es_dice_baseline"] == "erm"
        assert set(found["febs"]["letters"]) & set(found["erm"]["letters"])
    frame = pd.read_csv(alike.out / "leaderboard.csv")
    own = frame[(frame["method"] == "febs") & (frame["metric"] == "dice")]
    assert not (own["better"] == True).any()  # noqa: E712 - the column has missing values


def test_over_all_attributes_a_method_equal_to_its_twin_shares_a_letter_with_erm(alike):
    (board,) = boards.of_store(alike.runs)
    (found,) = across.of_board(board, sections.of_board(board))
    lines = {line.method: line for line in found.lines}
    assert set(lines["febs"].letters) & set(lines["erm"].letters)
    assert not set(lines["erm+1"].letters) & set(lines["erm"].letters)


@pytest.mark.parametrize("seed", range(6))
def test_what_noise_adds_to_a_twin_lends_no_lead_over_erm(tmp_path, seed):
    # The twin's truth, drawn anew: whatever noise does, no word may take the epoch for the method.
    asked = world(quality=LONGER | {"febs": 0.02 + 0.001 * seed}, protocol=f"quick{seed}")
    _, section = section_of(make_store(tmp_path, asked))
    febs, erm, twin = (section.row(name) for name in ("febs", "erm", "erm+1"))
    beats_twin = febs.versus.better is True
    assert beats_twin or set(febs.letters) & set(erm.letters)
    assert beats_twin == (not set(febs.letters) & set(twin.letters) and febs.rank < twin.rank)


def test_a_method_that_beats_its_twin_is_told_from_erm_and_is_best(tmp_path):
    asked = world(quality=LONGER | {"febs": 0.12}, gaps={**dict.fromkeys(METHODS, 0.1), "febs": 0.0})
    _, section = section_of(make_store(tmp_path, asked))
    febs = section.row("febs")
    assert febs.versus.better
    assert febs.best
    assert not set(febs.letters) & set(section.row("erm").letters)


def test_the_twin_of_what_reads_the_attribute_at_test_time_stands_in_that_track_too(tmp_path):
    methods = (*METHODS, "late")
    asked = world(
        methods=methods,
        quality=LONGER | {"late": 0.02},
        gaps=dict.fromkeys(methods, 0.05),
        same_as={"late": "erm+1"},
        info={"late": {"starts_from": "erm", "reads_attribute_at_test": True}},
    )
    (board,) = boards.of_store(make_store(tmp_path, asked))
    section = sections.one(board, "race", "cup", tracks.AT_TEST)
    assert {row.method for row in section.ranked} == {"erm", "erm+1", "late"}
    assert section.row("late").versus.baseline == "erm+1"
    assert set(section.row("late").letters) & set(section.row("erm").letters)


def test_without_its_twin_nothing_is_said_of_a_method_that_trains_longer(tmp_path):
    asked = world(
        methods=("erm", "febs"),
        quality={"erm": -0.1, "febs": 0.1},
        info={"febs": {"starts_from": "erm"}},
    )
    _, section = section_of(make_store(tmp_path, asked))
    febs = section.row("febs")
    assert words.difference_finding(febs) == "not compared: ERM with the same extra epoch has not run here"
    assert not febs.best
    assert set(febs.letters) & set(section.row("erm").letters)
    assert words.headline(section).endswith(
        "What its further epochs are worth is not known: ERM with the same extra epoch has not run here."
    )


def test_very_many_methods_are_held_to_their_twins_too():
    rng = np.random.default_rng(3)
    groups, names = np.repeat(["a", "b"], 80), ["erm", "erm+1", "febs", *(f"m{i}" for i in range(120))]
    hard = rng.normal(0, 0.05, 160)
    level = {"erm": 0.7, "erm+1": 0.8, "febs": 0.8}
    scores = {
        name: np.clip(level.get(name, 0.7) + hard + rng.normal(0, 0.01, (3, 160)), 0, 1) for name in names
    }
    scores["febs"] = scores["erm+1"]
    given = equity.Scores(scores, groups, np.arange(160).astype(str))
    alone, held = equity.tables(given, "erm"), equity.tables(given, "erm", twins={"febs": "erm+1"})
    last = [one.ranking.set_index("method").loc["febs", "rank_high"] for one in (alone, held)]
    assert last == [2, len(names)]
    own = held.comparison.query("method == 'febs' and quantity == 'es_sum'").iloc[0]
    assert (own["baseline"], own["difference"], own["better"]) == ("erm+1", 0, None)
    assert alone.comparison.query("method == 'febs' and quantity == 'es_sum'").iloc[0]["better"]


def test_a_pair_is_told_apart_where_both_tests_say_so_in_one_direction():
    methods, values = ["erm", "twin", "mine"], np.array([0.5, 0.6, 0.7])
    p = np.full((3, 3), 0.01)
    p[1, 2] = p[2, 1] = 0.2
    assert without_loans(p, values, methods, "erm", {"mine": "twin"})[2, 0] == 0.2
    assert without_loans(p, values, methods, "erm", {"mine": None})[2, 0] == 1
    # Between ERM and its twin it is better than the one and worse than the other.
    between = np.array([0.5, 0.7, 0.6])
    assert without_loans(p, between, methods, "erm", {"mine": "twin"})[2, 0] == 1


def info(starts_from=None, passes=1, takes="weights") -> MethodInfo:
    return MethodInfo(name="m", title="M", starts_from=starts_from, passes=passes, takes=takes)


def test_schedules_follow_from_what_methods_declare():
    methods = {
        "erm": info(), "febs": info("erm"), "sam": info(passes=2), "late": info("febs"),
        "both": info("sam", 2), "lost": info("gone"), "round": info("about"), "about": info("round"),
    }  # fmt: skip
    found = {name: twins.schedule_of(name, methods) for name in methods}
    assert found["erm"] == found["erm"] == twins.PLAIN
    assert (found["febs"], found["sam"], found["late"], found["both"]) == ((1, 1), (2,), (1, 1, 1), (2, 2))
    assert found["lost"] is found["round"] is None
    for schedule in (found["febs"], found["sam"], found["late"], found["both"]):
        assert twins.schedule_in(twins.name_of(schedule)) == schedule
    # What is taught begins anew, and passes through its teacher too, whatever it says.
    taught = methods | {"taught": info("erm", takes="logits"), "endless": info(passes=10**9)}
    assert twins.schedule_of("taught", taught) == (2,)
    assert twins.schedule_in(twins.name_of(twins.schedule_of("endless", taught))) == (999,)
    assert twins.schedule_in("erm") is twins.schedule_in("erm-balanced") is None


def test_a_twin_is_called_by_the_epochs_that_it_has():
    quick, fairseg = (load(name).recipe.model_dump() for name in ("quick", "fairseg"))
    assert twins.title_of("erm+1", quick) == "ERM, same extra epoch"
    assert twins.title_of("erm+1", fairseg) == "ERM, same 5 extra epochs"
    assert twins.spoken("erm*2", quick) == "ERM with 2 times the epochs"
    assert (
        twins.title_of("erm*2+1+1", quick) == "ERM, 2 times the epochs and the same 2 extra epochs in 2 parts"
    )
    assert twins.title_of("febs", quick) == ""
