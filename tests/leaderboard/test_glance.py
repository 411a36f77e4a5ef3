"""The first screen: a verdict of few words, whether gaps are real, and the drawings inside the table."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_records import World, make_store

from leaderboard.compute import facts, sections, stability, story, verdicts, words
from leaderboard.compute.row import Difference, Noise, Number, Row
from leaderboard.compute.sections import Section
from leaderboard.draw import inside
from leaderboard.read import boards

WORLD = World(
    methods=("erm", "febs", "adv", "groupdro"), attributes=("race",), structures=("cup",), samples=160,
    gaps={"erm": 0.2, "febs": 0.0, "adv": 0.2, "groupdro": 0.15}, quality={"adv": -0.15}, noise=0.04,
    missing=frozenset({("groupdro", "race", seed) for seed in (0, 1, 2)}),
)  # fmt: skip


@pytest.fixture(scope="module")
def section(tmp_path_factory) -> Section:
    (board,) = boards.of_store(make_store(tmp_path_factory.mktemp("glance"), WORLD))
    return sections.one(board, "race", "cup")


def row(place: int, letters: str, told: str = "", title: str = "M", best: bool = False) -> Row:
    number = Number(0.01, -0.01, 0.03)
    versus = Difference(number=number, p=0.01, told=told, better={"better": True, "worse": False}.get(told))
    return Row(
        f"m{place}", title, "done", 3, 3, rank=place, rank_low=1, rank_high=3, letters=letters, best=best,
        versus=versus if told else None, obtained="run", p_best=0.97,
        metrics={"dice": {"gap": Number(0.05, 0.01, 0.09), "es_sum": Number(0.7, 0.6, 0.8)}},
        noise={"dice": Noise(0.02, 0.03, 0.01, 0.04, 0.02)},
    )  # fmt: skip


def table(*rows: Row) -> Section:
    return Section("race", "cup", ("A", "B"), {}, list(rows))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((), "Nothing can be ranked yet"),
        ((row(1, ""),), "Only one method has finished"),
        ((row(1, "a"), row(2, "a")), "No difference can be told yet"),
        ((row(1, "a"), row(2, "ab"), row(3, "b")), "No method is shown to be best"),
        (
            (row(1, "a"), row(2, "b", "worse"), row(3, "b", "worse")),
            "No method is shown to be best; 2 are worse than ERM",
        ),
        ((row(1, "a", "better"), row(2, "ab"), row(3, "b")), "M is better than ERM, none shown best"),
        ((row(1, "a", best=True), row(2, "b")), "M is best"),
    ],
)
def test_the_verdict_says_what_the_letters_and_tests_say(rows, said):
    assert verdicts.verdict(table(*rows)) == said


@given(st.text(max_size=300), st.booleans(), st.sampled_from(["", "better", "worse"]))
@settings(deadline=None)
def test_no_title_makes_a_verdict_longer_than_twelve_words(title, best, told):
    said = verdicts.verdict(table(row(1, "a", told, title, best), row(2, "b", "", title)))
    assert 0 < len(said.split()) <= verdicts.MOST_WORDS
    assert len(said) < 100


def test_a_gap_is_real_only_where_chance_and_the_interval_agree():
    real, chance, wide = row(1, "a"), row(2, "a"), row(3, "a")
    chance = replace(chance, noise={"dice": Noise(0.02, 0.03, 0.2, 0.04, 0.2)})
    wide = replace(wide, metrics={"dice": {"gap": Number(0.05, 0.0, 0.09)}})
    assert verdicts.gaps(table(real, chance, wide)) == "By race 1 of 3 gaps is more than chance makes."
    assert verdicts.gaps(table(real, real)) == "By race both gaps are more than chance makes."
    said = "By race no gap is more than chance makes; one of 0.040 would likely be seen."
    assert verdicts.gaps(table(chance, wide)) == said


def test_what_would_change_the_verdict_is_what_equity_reckons():
    lines = [
        {
            "difference": d,
            "seeds": 3,
            "patients": 319,
            "seeds_needed": s,
            "patients_needed": p,
            "detectable": 0.021,
        }
        for d, s, p in ((0.005, math.nan, math.nan), (0.01, 12, math.nan), (0.05, 3, 40))
    ]
    tied = replace(table(row(1, "a"), row(2, "a")), enough=lines)
    said = "3 seeds and 319 patients see 0.021 or more; 0.01 would take 12 seeds."
    assert verdicts.what_would_change_it(tied) == said
    few = [replace(one, done=2) for one in tied.rows]
    assert "fewer than three" in verdicts.what_would_change_it(replace(tied, rows=few))
    # One with a failed seed takes nothing from what the others show.
    one = [few[0], *(replace(row(place, "a"), done=3) for place in (2, 3))]
    assert "fewer than three" not in verdicts.what_would_change_it(replace(tied, rows=one))


ODD = {
    "all the same, to the last digit": World(same_as={"febs": "erm", "adv": "erm"}, seeds=(0, 1, 2)),
    "two the same, one seed": World(same_as={"febs": "erm"}, quality={"adv": -0.2}, seeds=(0,)),
    "no gap at all": World(gaps={"erm": 0.0, "febs": 0.0, "adv": 0.0}, noise=0.0, seeds=(0, 1)),
    "one method": World(methods=("adv",), seeds=(0,)),
    "one finished, one seed": World(missing=frozenset({("erm", "race", 0), ("febs", "race", 0)}), seeds=(0,)),
    "too few patients": World(samples=8, seeds=(0,)),
    "nothing but predictions": World(
        obtained={(m, 0): "predictions" for m in ("erm", "febs", "adv")}, seeds=(0,)
    ),
}  # fmt: skip
POOR = re.compile(
    r"\bnan\b|\binf\b|\bNone\b|[+−]0\.000\b|\b0\.000 or\b|  "
    r"|\b1 (seeds|patients|samples|methods|others|gaps are|trainings)\b"
)


def sentences(board, section) -> list[str]:
    choices = stability.of_section(board, section)
    return [
        *(say(section) for say in (verdicts.verdict, verdicts.what_would_change_it, verdicts.gaps)),
        verdicts.mini(section),
        words.headline(section),
        *([choices.sentence(section.titles)] if choices is not None else []),
        *facts.limits(board),
        *(words.standing(row, section) for row in section.rows),
        *(answer for row in section.rows for _, answer in story.told(section, row, [])),
    ]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_board_is_told_in_whole_sentences_that_are_true(tmp_path, name):
    world = replace(ODD[name], attributes=("race",), structures=("cup",), samples=min(ODD[name].samples, 100))
    if world.methods == World().methods:
        world = replace(world, methods=("erm", "febs", "adv"))
    (board,) = boards.of_store(make_store(tmp_path, world))
    found = sections.one(board, "race", "cup")
    said = sentences(board, found)
    assert [one for one in said if POOR.search(one)] == []
    verdict, change, _, mini, headline, *rest = said
    if name.startswith("all the same"):
        assert verdict == "All methods score the same"
        assert mini.startswith("all the same")
        es = f"{found.ranked[0].number('dice', 'es_sum').value:.3f}"
        assert change == f"ES-Dice is {es} for every one."
        assert "All 3 methods have the same ES-Dice" in headline
    if name.startswith("two the same"):
        assert "Fair error-bound scaling share the highest ES-Dice" in headline
        assert "none is shown to be best" in headline
    if name == "no gap at all":
        assert "There is none: less than 0.001 between any two groups." in rest
    if name == "too few patients":
        assert verdict == "Nothing can be ranked here"
        takes = "it takes 10 test patients in each of two groups, and none has that many"
        assert change == f"Too few patients to rank anything: {takes}."
        assert "Not known: too few patients in the groups to rank it." in rest
    if name == "nothing but predictions":
        assert change == "Predictions alone, of fewer than 3 trainings, are shown and not ranked."
    if len(world.seeds) == 1:
        assert any(one.startswith("One seed: ") for one in rest)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "±0.000"), (-0.0004, "±0.000"), (0.0004, "±0.000"), (0.0006, "+0.001"), (-0.02, "−0.020")],
)
def test_a_difference_of_no_digit_has_no_side(value, said):
    assert words.signed(value) == said


def test_what_all_rows_share_is_said_once_and_what_sets_one_apart_beside_it(tmp_path):
    world = World(
        methods=("erm", "febs", "adv"), attributes=("race",), structures=("cup",), samples=80,
        obtained={("adv", 0): "reported"},
    )  # fmt: skip
    (board,) = boards.of_store(make_store(tmp_path, world))
    found = sections.one(board, "race", "cup")
    common = verdicts.shared(board, found)
    assert "3 seeds" in common
    assert "run here" not in common
    assert verdicts.own(board, found.row("adv"), common) == ["self-reported"]


def percents(markup: str, name: str) -> list[float]:
    return [float(value) for value in re.findall(rf' {name}="([-.\d]+)%"', markup)]


def test_every_row_is_drawn_on_the_same_axis_and_ends_where_its_interval_does(section):
    drawn, made = inside.of_section(section, 0), inside.Inside(section, 0)
    axis = made.score
    for one in section.ranked:
        n = one.number("dice", "es_sum")
        svg = str(drawn.cell("es_sum", one))
        bar = svg[svg.index("bar") :]
        low, high = (
            axis.low + at / 100 * (axis.high - axis.low) for at in percents(bar, "x1") + percents(bar, "x2")
        )
        assert (low, high) == pytest.approx((n.low, n.high), abs=0.001 * (axis.high - axis.low))
    assert drawn.cell("es_sum", section.row("groupdro")) == ""


def test_the_dots_are_the_groups_and_the_band_is_as_wide_as_the_noise_floor(section):
    drawn, axis = inside.of_section(section, 0), inside.Inside(section, 0).groups
    span = axis.high - axis.low
    for one in section.ranked:
        svg = str(drawn.cell("gap", one))
        (band,) = percents(svg, "width")
        assert band / 100 * span == pytest.approx(one.noise["dice"].floor_95, abs=0.002 * span)
        marks = svg[svg.index("</line>") :]
        dots = sorted(axis.low + at / 100 * span for at in percents(marks, "x"))
        own = sorted(n.value for group in section.groups if (n := one.group("dice", group)).there)
        assert dots == pytest.approx(own, abs=0.001 * span)


def test_brackets_join_those_that_share_a_letter_and_no_others():
    rows = [row(1, "a"), row(2, "ab"), row(3, "b"), row(4, "c")]
    drawn = inside.of_section(table(*rows), 0)
    assert drawn.lanes == ["a", "b"]  # "c" joins nobody
    dots = [str(drawn.cell("rank", one)).count("<circle") for one in rows]
    assert dots == [1, 2, 1, 0]


def test_too_many_brackets_are_letters():
    letters = "abcdefghijkl"
    rows = [row(i + 1, letters[i : i + 2]) for i in range(len(letters))]
    assert inside.of_section(table(*rows), 0).lanes == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(deadline=None)
def test_an_axis_holds_its_values_and_few_ticks(values):
    axis = inside.Axis.around(values, least=0.02)
    assert axis.low < min(values) <= max(values) < axis.high
    assert len(axis.ticks) <= 6
    assert len({axis.label(tick) for tick in axis.ticks}) == len(axis.ticks)
    assert all(0 <= float(axis.at(value)[:-1]) <= 100 for value in values)


def test_an_axis_of_nothing_is_none():
    assert inside.Axis.around([math.nan]) is None


def test_a_strangers_title_and_group_are_text_in_a_drawing():
    bad = "<script>alert(1)</script>"
    one = replace(row(1, "a", title=bad), groups={"dice": {bad: Number(0.7, 0.6, 0.8)}}, scored=1)
    drawn = inside.of_section(replace(table(one, row(2, "a")), groups=(bad,)), 0)
    text = str(drawn.cell("gap", one)) + str(drawn.legend)
    assert "<script" not in text
    assert "&lt;script" in text


def test_a_name_that_is_read_from_the_right_turns_no_number_beside_it():
    change = story.Change("\u05d0\u05e4\u05e8\u05d5", 0.107, 0.05, 0.16, True)
    assert change.said == "\u2068\u05d0\u05e4\u05e8\u05d5\u2069 +0.107 (gained)"
    arabic = row(1, "a", title="\u0637\u0631\u064a\u0642\u0629", best=True)
    assert (
        verdicts.verdict(table(arabic, row(2, "b"))) == "\u2068\u0637\u0631\u064a\u0642\u0629\u2069 is best"
    )
    assert words.isolated("Black") == "Black"


def test_a_title_that_is_cut_says_so():
    long = row(1, "a", title="A method with a very, very long title that goes on", best=True)
    assert verdicts.verdict(table(long, row(2, "b"))) == "A method with a very\u2026 is best"
