"""What the pages say of the smallest boards: one of a thing, or none of it."""

import re

import pytest
from make_records import World, make_site, make_store

from leaderboard.compute import controls, results, sections, verdicts, words
from leaderboard.read import boards

COUNTED = (
    "seed sample patient method line view choice case table trial try tries group control volume fold board"
)
ONE_OF_MANY = re.compile(
    rf"(?<![\d,.–+−-])\b1 (?:other )?(?:{'|'.join(f'{one}s' for one in COUNTED.split())})\b"
)
EMPTY = re.compile(r"\(\)|\b0 of 0\b|, ?[;.] |-0\.0+\b")


def text_of(page):
    """What a reader reads of a page, and hears of its figures."""
    page = re.sub(r"(?s)<(script|style|pre)\b.*?</\1>", " ", page)
    return re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", " ", page) + " ".join(re.findall(r'aria-label="([^"]*)"', page))
    )


@pytest.fixture(scope="module")
def least(tmp_path_factory):
    """One seed of one method with a control and one try of tuning; two patients are tested."""
    tried = ({"hyper_parameters": {"eta": 1.0}, "score": 0.5},)
    tuned = {
        "budget": 1,
        "seeds": (0,),
        "patients": 1,
        "source_digest": "0" * 64,
        "tries": tried,
        "chosen": 0,
    }
    world = World(
        methods=("erm", "adv"), structures=("cup",), seeds=(0,), samples=4, images=True,
        controls={"adv": ("labels shuffled",)}, info={"adv": {"source": "x = 1"}},
        tuned={"adv": tuned},
    )  # fmt: skip
    return make_site(tmp_path_factory.mktemp("least"), world)


@pytest.fixture(scope="module")
def untested(tmp_path_factory):
    """Two seeds, on which no control is tested, of enough patients."""
    world = World(
        methods=("erm", "adv"), structures=("cup",), seeds=(0, 1), samples=160, noise=0.2,
        controls={"adv": ("labels shuffled",)},
    )  # fmt: skip
    return make_site(tmp_path_factory.mktemp("untested"), world)


@pytest.mark.parametrize("name", ["least", "untested"])
def test_one_of_a_thing_is_no_plural_and_nothing_is_said_of_none(request, name):
    site = request.getfixturevalue(name)
    for path in site.out.rglob("*.html"):
        text = text_of(path.read_text("utf-8"))
        for wrong in (ONE_OF_MANY, EMPTY):
            found = wrong.search(text)
            assert not found, f"{path.name}: …{text[max(0, found.start() - 60) : found.end() + 40]}…"


def test_a_page_of_cases_that_shows_none_says_why(least):
    page = text_of(least.page("quick/cases.html"))
    for attribute in ("Race", "Gender"):
        assert f"{attribute} No case is shown: it takes a group of 10 test patients" in page


def test_a_control_on_too_few_seeds_is_not_said_to_be_tested(untested):
    (board,) = boards.of_store(untested.runs)
    (twin,) = controls.of_method(board, "adv", "race")
    assert twin.es_difference.there
    assert twin.finding == "not tested: fewer than 3 seeds"
    assert "cannot be told apart from it" not in text_of(untested.page("quick/adv.html"))


@pytest.mark.parametrize(("value", "said"), [(-0.0004, "0.000"), (-0.0006, "-0.001"), (0.0, "0.000")])
def test_a_number_that_rounds_to_zero_has_no_sign(value, said):
    assert words.number(value) == said


def test_one_method_alone_with_a_rank_is_not_the_only_one_that_finished(tmp_path):
    world = World(
        methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0,), samples=160,
        obtained={("adv", 0): "predictions"},
    )  # fmt: skip
    (board,) = boards.of_store(make_store(tmp_path, world))
    section = sections.one(board, "race", "cup")
    assert [row.method for row in section.ranked] == ["erm"]
    assert all(row.done for row in section.rows)
    assert verdicts.verdict(section) == "Only one method can be ranked"
    assert "can be ranked" in words.headline(section)
    assert "finished" not in words.headline(section)


def test_seeds_and_patients_that_are_needed_are_counted():
    assert words.needed(1, "seed") == "1 seed"
    assert words.needed(1_200.4, "patient") == "1,200 patients"
    assert words.needed(float("nan"), "seed") == "no number of seeds that was tried"


def test_results_of_the_least_board_rank_nothing(least):
    (board,) = boards.of_store(least.runs)
    assert not any(section.ranked for section in results.of_board(board, sections.of_board(board)).sections)
