"""A method's page: what it does, whether it is better, for whom, and whom it fails."""

from __future__ import annotations

import re

import numpy as np
import pytest
from make_records import World, make_store

from harness.store import MethodInfo
from leaderboard.compute import sections, story
from leaderboard.draw import samples
from leaderboard.read import boards

WORLD = World(
    methods=("erm", "febs", "adv"), attributes=("race",), structures=("cup",), samples=300,
    gaps={"erm": 0.2, "febs": 0.0, "adv": 0.2}, quality={"adv": -0.1}, noise=0.03,
)  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    (found,) = boards.of_store(make_store(tmp_path_factory.mktemp("story"), WORLD))
    return found


@pytest.fixture(scope="module")
def section(board):
    return sections.one(board, "race", "cup")


def does(source: str) -> str:
    return story.what_it_does(MethodInfo(name="m", title="M", source=source))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('"""Be fair."""\nclass M(Method):\n    """Weigh\n    all\n\n    More."""', "Be fair. Weigh all."),
        ('"""Be fair."""\nclass M(Method):\n    """Be fair."""', "Be fair."),
        ('"""Be fair."""\nclass Helper:\n    """Help."""\nclass M(harness.Method):\n    pass', "Be fair."),
        ("class M(Method):\n    pass", ""),
        ("this is no Python", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_a_method_does_is_in_its_authors_words(source, said):
    assert does(source) == said


def test_the_change_of_each_group_is_the_difference_of_its_means(board, section):
    for name in ("febs", "adv"):
        mine, base = (board.matrix(one, "race", "cup", "dice").mean(axis=0) for one in (name, "erm"))
        found = {change.group: change for change in story.changes(section, section.row(name))}
        for group in section.kept:
            own = (board.test["race"] == group).to_numpy(bool)
            expected = mine[own].mean() - base[own].mean()
            assert found[group].difference == pytest.approx(expected, abs=1e-6)
            if found[group].better is not None:
                assert found[group].better == (expected > 0)
                assert (found[group].low > 0) == found[group].better


def test_who_gains_and_at_what_price_is_said(section):
    febs, adv = (section.row(name) for name in ("febs", "adv"))
    helped = story.for_whom(febs, story.changes(section, febs))
    assert "(gained)" in helped
    assert "No group lost beyond chance." in helped
    harmed = story.for_whom(adv, story.changes(section, adv))
    assert "(lost)" in harmed
    assert "No group lost" not in harmed


def test_a_story_asks_only_what_it_can_answer(section):
    asked = dict(story.told(section, section.row("febs"), []))
    assert asked["Against ERM: is it better?"].startswith("Better than ERM (p ")
    assert "What is left without its groups?" not in asked
    own = dict(story.told(section, section.row("erm"), []))
    assert own["Against ERM: is it better?"] == "It is the yardstick that others are held against."
    assert "For whom, and at what price to the others?" not in own


def test_whom_it_fails_are_the_lowest_means_over_seeds_of_each_group(board, section):
    mean = board.matrix("febs", "race", "cup", "dice").mean(axis=0)
    found = story.whom_it_fails(board, section, "febs")
    assert set(found) == set(section.kept)
    for group, cases in found.items():
        own = np.sort(mean[(board.test["race"] == group).to_numpy(bool)])[: story.MOST_CASES]
        assert [case.dice for case in cases] == pytest.approx(list(own))
        assert [mean[case.place - 1] for case in cases] == pytest.approx(list(own))


def points(figure):
    """The case of each point of a figure, where it is, in percent, and what it says."""
    mark = r'<use href="#dot\d" class="[^"]*" data-case="(\d+)" x="([\d.]+)%" y="([\d.]+)%"><title>([^<]*)<'
    return re.findall(mark, str(figure.svg))


def test_every_test_case_of_a_shown_group_is_one_point_that_says_which_it_is(board, section):
    by_size, by_erm = samples.of_method(board, section, "febs")
    shown = np.flatnonzero(board.test["race"].isin(section.kept).to_numpy(bool))
    mean = board.matrix("febs", "race", "cup", "dice").mean(axis=0)
    for figure in (by_size, by_erm):
        found = points(figure)
        assert len(found) == len(shown)
        for (case, _, _, said), i in zip(found, shown, strict=True):
            assert int(case) == i
            assert said.startswith(f"case {i + 1}, {board.test['race'].iloc[i]}")
            assert f"Dice {mean[i]:.3f}" in said
    heights = [float(y) for _, _, y, _ in points(by_size)]
    # Further up is a higher Dice, on one line for all.
    assert np.corrcoef(heights, mean[shown])[0, 1] < -0.9999
    base = board.matrix("erm", "race", "cup", "dice").mean(axis=0)
    assert np.corrcoef([float(x) for _, x, _, _ in points(by_erm)], base[shown])[0, 1] > 0.9999


def test_erm_is_not_drawn_against_itself_and_of_too_many_cases_the_worst_and_some_others(
    board, section, monkeypatch
):
    assert [figure.title for figure in samples.of_method(board, section, "erm")] == ["Every test case"]
    monkeypatch.setattr(samples, "MOST_POINTS", 30)
    mean = board.matrix("febs", "race", "cup", "dice").mean(axis=0)
    shown = np.flatnonzero(board.test["race"].isin(section.kept).to_numpy(bool))
    worst = shown[np.argsort(mean[shown], kind="stable")][:10]
    for figure in samples.of_method(board, section, "febs"):
        found = {int(case) for case, *_ in points(figure)}
        assert set(worst) <= found
        assert 20 < len(found) <= 30
        assert f"Of {len(shown)} cases {len(found)} are drawn" in figure.caption
