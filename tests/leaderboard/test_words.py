"""Sentences of a table and a method, word for word, from rows made by hand: each turns with one fact."""

import math
from dataclasses import replace

import pytest
from make_records import World, make_store

from harness.store import Cost
from leaderboard.compute import sections, story, tracks, verdicts, words
from leaderboard.compute.controls import Twin
from leaderboard.compute.row import Difference, Family, Noise, Number, Row
from leaderboard.compute.sections import Section
from leaderboard.compute.story import Change
from leaderboard.read import boards

REAL, CHANCE = Noise(0.02, 0.03, 0.01, 0.04, 0.02), Noise(0.02, 0.03, 0.2, 0.06, 0.2)
ES, GAP = Number(0.7, 0.6, 0.8), Number(0.05, 0.01, 0.09)
LINE = {
    "seeds": 3,
    "patients": 319,
    "seeds_needed": math.nan,
    "patients_needed": math.nan,
    "detectable": 0.021,
}


def row(place, letters="a", told="", **more):
    better = {"better": True, "worse": False}.get(told)
    versus = Difference(number=Number(0.01, -0.01, 0.03), p=0.01, told=told, better=better) if told else None
    own = {
        "rank": place, "rank_low": 1, "rank_high": 3, "letters": letters, "versus": versus, "obtained": "run",
        "title": f"M{place}", "done": 3, "planned": 3, "p_best": 0.97,
        "metrics": {"dice": {"gap": GAP, "es_sum": ES}}, "noise": {"dice": REAL},
    }  # fmt: skip
    return Row(
        **{"method": f"m{place}", "title": f"M{place}", "status": "done", "done": 3, "planned": 3}
        | own
        | more
    )


def table(*rows, **more):
    return Section("race", "cup", ("A", "B"), {}, list(rows), **more)


def enough(*lines):
    return [LINE | {"difference": d} | needed for d, needed in lines]


def versus(**more):
    return Difference(number=Number(0.01, 0.005, 0.03), p=0.01, told="better", better=True, **more)


def test_nothing_is_ranked_here_where_something_ran_and_yet_where_nothing_did():
    assert verdicts.verdict(table(row(1, rank=None))) == "Nothing can be ranked here"
    assert verdicts.verdict(table(row(1, rank=None, done=0))) == "Nothing can be ranked yet"


def test_one_that_is_worse_than_erm_is_not_counted_and_two_are():
    one = table(row(1), row(2, "b", "worse"))
    assert verdicts.verdict(one) == "No method is shown to be best"
    two = table(row(1), row(2, "b", "worse"), row(3, "b", "worse"))
    assert verdicts.verdict(two).endswith("; 2 are worse than ERM")


def test_one_method_alone_is_alone_by_what_finished():
    alone = row(1)
    assert verdicts.verdict(table(alone)) == "Only one method has finished"
    assert verdicts.verdict(table(alone, row(2, rank=None, done=0))) == "Only one method has finished"
    assert verdicts.verdict(table(alone, row(2, rank=None))) == "Only one method can be ranked"


@pytest.mark.parametrize(
    ("others", "said"), [(1, "against M2;"), (2, "against all 2 others;"), (3, "against all 3 others;")]
)
def test_a_best_method_is_held_against_all_others(others, said):
    best = row(1, best=True)
    rest = [row(place, "b") for place in range(2, 2 + others)]
    assert said in verdicts.what_would_change_it(table(best, *rest))


@pytest.mark.parametrize(
    ("verdict", "wider"), [("gap wider beyond chance", True), ("gap narrower: levelled up", False)]
)
def test_a_best_method_with_a_wider_gap_is_said_to_have_one(verdict, wider):
    found = table(row(1, best=True, versus=versus(verdict=verdict)), row(2, "b"))
    assert ("Its gap is wider" in verdicts.what_would_change_it(found)) == wider
    assert ("gap is wider" in words.headline(found)) == wider


def test_a_best_method_of_its_track_is_that():
    rows = row(1, best=True), row(2, "b")
    assert verdicts.verdict(table(*rows)) == "M1 is best"
    assert verdicts.verdict(table(*rows, track=tracks.AT_TEST)) == "M1 is best of its track"


def test_seeds_are_too_few_until_two_methods_have_three():
    lines = enough((0.01, {}))
    two = [row(1, done=2), row(2, done=1)]
    said = "2 seeds: no two methods are told apart on fewer than three."
    assert verdicts.what_would_change_it(table(*two, enough=lines)) == said
    assert verdicts.what_would_change_it(table(row(1), row(2, done=2), enough=lines)) == said
    assert verdicts.what_would_change_it(table(row(1), row(2), row(3, done=2), enough=lines)).startswith(
        "3 seeds and"
    )


def test_what_a_finer_difference_takes_is_said_in_seeds_and_else_in_patients():
    def said(*lines):
        return verdicts.what_would_change_it(table(row(1), row(2), enough=enough(*lines)))

    seen = "3 seeds and 319 patients see 0.021 or more"
    assert said((0.05, {"seeds_needed": 2, "patients_needed": 9})) == f"{seen}."
    assert said((0.01, {"seeds_needed": 1})) == f"{seen}; 0.01 would take 1 seed."
    assert said((0.01, {"patients_needed": 1_200})) == f"{seen}; 0.01 would take 1,200 patients."
    assert said((0.05, {"patients_needed": 9}), (0.01, {"patients_needed": 1})).endswith("take 1 patient.")


@pytest.mark.parametrize(
    ("real", "chance", "said"),
    [
        (1, 0, "The gap by race is more than chance makes."),
        (0, 1, "The gap by race is not more than chance makes."),
        (2, 0, "By race both gaps are more than chance makes."),
        (3, 0, "By race all 3 gaps are more than chance makes."),
        (1, 1, "By race 1 of 2 gaps is more than chance makes."),
        (2, 1, "By race 2 of 3 gaps are more than chance makes."),
        (0, 2, "By race no gap is more than chance makes; one of 0.060 would likely be seen."),
    ],
)
def test_gaps_are_counted(real, chance, said):
    rows = [row(1)] * real + [row(2, noise={"dice": CHANCE})] * chance
    assert verdicts.gaps(table(*rows)) == said
    tab = verdicts.mini(table(*rows))
    assert (tab == "nothing to compare") == (len(rows) < 2)
    assert (f"{real} of {real + chance} gaps real" in tab) == (len(rows) > 1)


def test_the_gap_that_would_be_seen_is_the_largest_of_all():
    small = replace(CHANCE, detectable=0.03)
    found = table(row(1, noise={"dice": small}), row(2, noise={"dice": CHANCE}))
    assert "one of 0.060" in verdicts.gaps(found)


def test_a_tab_says_the_verdict():
    assert verdicts.mini(table(row(1, rank=None))) == "nothing ranked"
    assert verdicts.mini(table(row(1), row(2))).startswith("none told apart")
    assert verdicts.mini(table(row(1), row(2, "b"))).startswith("no best method")
    assert verdicts.mini(table(row(1, "a", "better"), row(2, "b"))).startswith("1 beats ERM")
    both = row(1, "a", "better"), row(2, "a", "better"), row(3, "b")
    assert verdicts.mini(table(*both)).startswith("2 beat ERM")


def test_who_is_better_than_erm_stands_for_itself():
    def found(**more):
        return words.better_than_erm(table(row(1, "a", "better", **more), row(2, "b")))

    assert found()
    assert not found(obtained="reported")
    assert not found(versus=versus(lost=0))
    assert not found(method="erm+1")
    assert not words.better_than_erm(table(row(1, "a", "worse"), row(2)))


def test_all_the_same_are_those_that_do_not_differ_by_a_digit_and_do_not_vary():
    none, some = enough((0.01, {"detectable": 0.0})), enough((0.01, {}))
    assert words.identical(table(row(1), row(2), enough=none))
    assert not words.identical(table(row(1), row(2), enough=some))
    assert not words.identical(table(row(1), enough=none))
    other = row(2, metrics={"dice": {"es_sum": Number(0.71, 0.6, 0.8)}})
    assert not words.identical(table(row(1), other, enough=none))


def test_a_headline_names_its_twin_first_and_nobody_twice():
    twin = row(
        1, versus=Difference(baseline="m3", than="ERM with more epochs", number=Number(0.01, 0.0, 0.02))
    )
    others = [
        row(place, metrics={"dice": {"es_sum": Number(0.7 - place / 100, 0.6, 0.8)}}) for place in (2, 3)
    ]
    assert "do not tell it apart from M3 and M2." in words.headline(table(twin, *others))
    level = words.headline(table(row(1), row(2), others[1]))
    assert level.startswith("M1 and M2 share the highest")
    assert "do not tell them apart from M3." in level


@pytest.mark.parametrize(
    ("done", "one", "few"), [(1, True, True), (2, False, True), (3, False, False), (4, False, False)]
)
def test_a_headline_says_on_how_few_seeds_it_rests(done, one, few):
    other = row(2, metrics={"dice": {"es_sum": Number(0.6, 0.5, 0.7)}})
    said = words.headline(table(row(1, done=done), other))
    assert ("one seed: another training may differ" in said) == one
    assert ("on fewer than three seeds" in said) == few


def test_too_few_patients_are_those_under_the_least():
    def said(patients, samples):
        counts = {"A": (samples, patients), "B": (samples, 3)}
        return words.nothing(replace(table(row(1, rank=None)), counts=counts))

    assert "only A has that many" in said(10, 10)
    assert "none has that many" in said(9, 20)


def test_findings_over_all_tables_are_those_of_their_p_values():
    def said(side, **p):
        own = versus(verdict="gap wider beyond chance")
        own = replace(own, number=Number(side, side - 0.001, side + 0.001))
        return words.over_views(row(1, versus=own, family=Family(4, 1, 2, "a", **p)))

    assert said(0.1, p_versus=0.04) == "better than ERM (p = 0.04)"
    assert said(-0.1, p_versus=0.04) == "worse than ERM (p = 0.04)"
    assert said(0.1, p_versus=0.06) == "not told apart from ERM (p = 0.06)"
    assert said(0.1, p_gap=0.04) == "gap wider (p = 0.04)"
    assert said(0.1, p_gap=0.06) == "no change of the gap beyond chance (p = 0.06)"
    assert said(0.1, p_above=0.04) == "gap above chance (p = 0.04)"
    assert said(0.1, p_above=0.06) == "gap may be chance (p = 0.06)"
    at_zero = row(
        1, metrics={"dice": {"gap": Number(0.05, 0.0, 0.09)}}, family=Family(4, 1, 2, "a", p_above=0.04)
    )
    assert words.over_views(at_zero) == "gap may be chance (p = 0.04)"


def test_a_difference_is_said_with_its_side_and_levelling_down_with_how_sure_it_is():
    assert words.difference_finding(row(1, told="better")) == "better than ERM (p = 0.01)"
    assert words.difference_finding(row(1, told="worse")) == "worse than ERM (p = 0.01)"
    assert words.difference_finding(row(1, told="cannot tell")) == "not told apart from ERM (p = 0.01)"
    assert "(2 of them beyond chance)" in words.levelled(row(1, versus=versus(lost=2)))
    assert "(each within chance)" in words.levelled(row(1, versus=versus(lost=0)))
    assert words.levelled(row(1, versus=versus())) == ""


def test_what_became_of_trials_adds_up():
    failed = (object(), object())
    assert (
        words.status(row(1, status="partial", done=1, planned=5, errors=failed))
        == "1 of 5 seeds, 2 failed, 2 not run yet"
    )
    assert (
        words.status(row(1, status="partial", done=1, planned=3, errors=failed)) == "1 of 3 seeds, 2 failed"
    )
    assert words.status(row(1, ranks=False, done=1)) == "not ranked: one training"
    assert words.status(row(1, ranks=False, done=2)) == "not ranked: 2 trainings"


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (words.percent, 0.004, "<1%"), (words.percent, 0.0, "<1%"), (words.percent, 0.02, "2%"),
        (words.percent, 1.0, ">99%"), (words.percent, 0.98, "98%"),
        (words.p_value, 0.0009, "p < 0.001"), (words.p_value, 0.004, "p = 0.004"),
        (words.p_value, 0.25, "p = 0.25"),
        (words.size, 999e6, "999 MB"), (words.size, 1e9, "1.0 GB"), (words.size, 0, "–"),
        (words.duration, 99, "99 s"), (words.duration, 120, "2 min"), (words.duration, 7_200, "2.0 h"),
    ],
)  # fmt: skip
def test_a_number_is_said_in_its_unit(say, value, said):
    assert say(value) == said


def test_for_whom_names_gains_before_losses_and_says_where_nobody_lost():
    gained, lost, same = (
        Change(group, 0.02 * sign, 0.0, 0.0, better)
        for group, sign, better in (("A", 1, True), ("B", -1, False), ("C", 1, None))
    )
    own = row(1, versus=versus())
    assert story.for_whom(own, [lost, gained]) == "Against ERM: A +0.020 (gained), B −0.020 (lost)."
    assert story.for_whom(own, [same, gained]).endswith(
        "C +0.020 (within chance). No group lost beyond chance."
    )
    assert story.for_whom(own, [same]).startswith("No group’s Dice differs from ERM’s beyond chance: C")


def test_cost_is_told_in_erms_time():
    def cost(seconds):
        return Cost(fit_seconds=seconds, peak_memory_bytes=900_000_000)

    base, own = row(1, method="erm", cost=cost(100)), row(2, cost=cost(250))
    found = table(base, own, baseline="erm")
    assert story.what_it_costs(found, own) == "4 min of training a seed and 900 MB: 2.5 times ERM’s time."
    assert story.what_it_costs(found, base) == "2 min of training a seed and 900 MB."


def test_what_a_control_leaves_is_told_from_its_test():
    def said(p, better=None):
        twin = Twin("labels shuffled", 3, 3, es_difference=Number(0.02, 0.01, 0.03), p=p, better=better)
        return story.what_is_left([twin])

    assert "is not told apart from the method’s own (+0.020, p = 0.2" in said(0.2)
    assert said(0.01, True).startswith("The method is better than with labels shuffled")
    assert said(0.01, False).startswith("The method is worse than with labels shuffled")
    assert said(math.nan) == "Not known: no control has been run on enough seeds."


def test_what_two_rows_share_is_said_once(tmp_path):
    world = World(methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0,), samples=20)
    (board,) = boards.of_store(make_store(tmp_path, world))
    section = sections.one(board, "race", "cup")
    assert "1 seed" in verdicts.shared(board, section)
    one = replace(section, rows=section.rows[:1])
    assert verdicts.shared(board, one) == []
