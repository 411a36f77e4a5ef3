import pytest
from make_records import World, make_site

from leaderboard.compute import controls
from leaderboard.read import boards

SHUFFLED, STEPS = "shuffled groups", "ERM with the same extra steps"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    world = World(
        methods=("erm", "febs"),
        attributes=("race",),
        structures=("cup",),
        controls={"febs": (SHUFFLED, STEPS)},
        gaps={"febs": 0.02, f"febs: {SHUFFLED}": 0.14, f"febs: {STEPS}": 0.02},
        missing=frozenset({(f"febs: {STEPS}", "race", 2)}),
    )
    return make_site(tmp_path_factory.mktemp("controls"), world)


def test_a_gain_that_shuffling_takes_away_is_seen_and_one_that_steps_have_too_is_not(site):
    (board,) = boards.of_store(site.runs)
    shuffled, steps = controls.of_method(board, "febs", "race")
    assert (shuffled.name, shuffled.better) == (SHUFFLED, True)
    assert shuffled.es_difference.low > 0
    assert (steps.name, steps.better) == (STEPS, None)
    assert (steps.done, steps.planned) == (2, 3)


def test_controls_stand_under_their_method_and_are_not_ranked(site):
    board, page = site.page("index.html"), site.page("quick/febs.html")
    assert SHUFFLED not in board
    assert "2 controls" in board
    assert f"{SHUFFLED} <span" in page
    assert "the method is better" in page
    assert "2 of 3 seeds" in page
    assert "Controls, cup" not in site.page("quick/erm.html")
    assert not (site.out / "quick" / "febs-shuffled-groups.html").exists()
