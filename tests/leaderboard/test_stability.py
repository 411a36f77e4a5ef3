from dataclasses import replace
from html import unescape

import pytest
from make_records import World, make_site
from scipy.stats import rankdata

from leaderboard.compute import sections, stability
from leaderboard.read import boards


def of(site):
    (board,) = boards.of_store(site.runs)
    return board, stability.of_section(board, sections.one(board, "race", "cup"))


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    """One method far ahead of the other, whatever is asked."""
    world = World(
        methods=("erm", "febs"),
        attributes=("race",),
        structures=("cup",),
        gaps={"erm": 0.12, "febs": 0.0},
        quality={"febs": 0.1},
    )
    return make_site(tmp_path_factory.mktemp("clear"), world)


def test_a_method_that_is_ahead_in_everything_is_stable(clear):
    _, found = of(clear)
    assert found.first == "febs"
    assert found.moved == ()
    assert len(found.choices) == 14 + 3
    assert "The highest score stays with it under all 17 other choices" in clear.page("index.html")


def test_a_fair_method_that_is_worse_overall_loses_under_distances(tmp_path):
    world = World(
        methods=("erm", "febs"),
        attributes=("race",),
        structures=("cup",),
        gaps={"erm": 0.15, "febs": 0.0},
        quality={"febs": -0.12},
    )
    site = make_site(tmp_path, world)
    board, found = of(site)
    assert found.first == "febs"
    # By hand: the worst group's mean distance over seeds and samples.
    races = board.test["race"].to_numpy(object)
    by_hand = {
        m: max(
            board.matrix(m, "race", "cup", "hd95")[:, races == r].mean() for r in board.record.groups["race"]
        )
        for m in ("erm", "febs")
    }
    first = min(by_hand, key=by_hand.get)
    assert {c.name: c.first for c in found.choices}["worst group's HD95 (pooled)"] == first == "erm"
    assert f"Under {len(found.moved)} of 17 other choices" in site.page("index.html")
    assert "worst group's HD95 (pooled)" in unescape(site.page("index.html"))


def test_seeds_that_not_every_method_has_finished_are_not_left_out(tmp_path):
    world = World(
        methods=("erm", "febs"),
        attributes=("race",),
        structures=("cup",),
        missing=frozenset((m, "race", s) for m in ("erm", "febs") for s in (1, 2)),
    )
    _, found = of(make_site(tmp_path, world))
    assert not [c.name for c in found.choices if "left out" in c.name]


def test_a_seed_left_out_is_the_es_of_the_others(clear):
    board, _ = of(clear)
    scores = board.matrix("erm", "race", "cup", "dice")[1:].mean(axis=0)
    groups = board.test["race"].to_numpy(object)
    means = [scores[groups == g].mean() for g in board.record.groups["race"]]
    expected = scores.mean() / (1 + sum(abs(scores.mean() - m) for m in means))
    named = dict(stability._choices(board, sections.one(board, "race", "cup"), ["erm", "febs"]))
    assert named["seed 0 left out"][0] == pytest.approx(expected, abs=1e-12)


def test_the_other_checkpoint_counts_where_every_method_was_run_under_it(tmp_path):
    rule = "best-validation checkpoint"
    world = World(
        methods=("erm", "febs"),
        attributes=("race",),
        structures=("cup",),
        gaps={"erm": 0.12, "febs": 0.0, f"erm: {rule}": 0.0, f"febs: {rule}": 0.12},
        controls={"erm": (rule,), "febs": (rule,)},
    )
    _, found = of(make_site(tmp_path / "both", world))
    assert {c.name: c.first for c in found.choices}[rule] == "erm"
    assert found.first == "febs"
    _, without = of(make_site(tmp_path / "one", replace(world, controls={"erm": (rule,)})))
    assert rule not in {c.name for c in without.choices}


def test_every_rank_under_every_choice_stands_on_the_board(clear):
    board, found = of(clear)
    section = sections.one(board, "race", "cup")
    for choice in found.choices:
        values = dict(stability._choices(board, section, ["febs", "erm"]))[choice.name]
        assert choice.ranks == dict(zip(["febs", "erm"], rankdata(-values, method="min"), strict=True))
    assert found.within(section.row("febs")) == len(found.choices)
    page = unescape(clear.page("index.html"))
    (name,) = {choice.name for choice in found.choices if choice.name.startswith("ES-IoU (std)")}
    assert f'<th scope="row">{name}</th><td class="num">1</td><td class="num">2</td>' in page
    assert "Rank under other choices" in page
