"""Reported rows, intersections, badges, citations, and the sentences."""

import numpy as np
import pandas as pd
import pytest
from make_records import World, make_store

import leaderboard
from harness.errors import HarnessError
from leaderboard.compute import intersections, seeds, words
from leaderboard.read import boards, reported
from leaderboard.write import addresses, citations

WORLD = World(methods=("erm", "febs"), seeds=(0, 1), structures=("cup",), samples=240)
REPORTED = """
[[row]]
protocol = "quick"
attribute = "race"
structure = "cup"
method = "A paper's method"
citation = "Somebody et al. 2024, Table 2"
url = "javascript:alert(1)"
es_dice = 0.987
groups = { Asian = 0.91 }
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = make_store(tmp_path_factory.mktemp("pages"), WORLD)
    (made.root / "reported.toml").write_text(REPORTED)
    return made


@pytest.fixture(scope="module")
def site(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "site"
    leaderboard.build(store.root, out)
    return out


def test_reported_numbers_stand_apart_and_are_not_ranked(site):
    text = (site / "index.html").read_text()
    start = text.index("Reported, not reproduced")
    assert text.index("A paper&#39;s method") > start
    assert "0.987" in text[start:]
    assert 'href="javascript' not in text
    assert "A paper" not in (site / "leaderboard.csv").read_text()
    # Race has the row; gender has none.
    assert text.count("Reported, not reproduced") == 1


def test_a_reported_row_without_a_source_is_refused(store, tmp_path):
    shown = REPORTED.replace('"Somebody et al. 2024, Table 2"', '""')
    (tmp_path / "reported.toml").write_text(shown)
    with pytest.raises(HarnessError, match=r"row\.0\.citation"):
        reported.of_runs(tmp_path)
    (tmp_path / "reported.toml").write_text("[[row")
    with pytest.raises(HarnessError, match="not TOML"):
        reported.of_runs(tmp_path)


def test_intersections_are_the_means_of_who_is_in_both_groups(store):
    (board,) = boards.of_store(store)
    (crossing,) = intersections.crossings(board, "race")["febs"]
    assert (crossing.attribute, crossing.other) == ("race", "gender")
    mine = [store.scores(r.id) for r in board.entries["febs"].done("race")]
    scores = pd.concat(mine).merge(store.subjects("quick"))
    for race, cells in crossing.rows:
        for gender, cell in zip(crossing.columns, cells, strict=True):
            own = scores[(scores["race"] == race) & (scores["gender"] == gender)]
            assert cell.samples == own["sample"].nunique()
            assert cell.patients == own["patient"].nunique()
            assert cell.few == (cell.patients < 10)
            if not cell.few:
                assert cell.number.value == pytest.approx(own["dice"].mean())


def test_badge_says_score_and_rank_range(site):
    badge = (site / "quick" / "badges" / "febs-race.svg").read_text()
    assert "ES-Dice cup, race" in badge
    assert "rank" in badge


def test_bibtex_escapes_what_tex_would_run():
    assert citations.escape(r"50% of \input{x} & y_1") == (
        r"50\% of \textbackslash{}input\textbraceleft{}x\textbraceright{} \& y\_1"
    )
    assert citations.escape("a‮b") == "ab"


def test_seed_rows_are_the_means_of_single_trials(store):
    (board,) = boards.of_store(store)
    rows = seeds.of_method(board, board.entries["febs"], "gender", "cup")
    for row in rows:
        scores = store.scores(row.record.id).merge(store.subjects("quick"))
        assert row.overall == pytest.approx(scores["dice"].mean())
        for group, mean in zip(("Female", "Male"), row.groups, strict=True):
            assert mean == pytest.approx(scores.loc[scores["gender"] == group, "dice"].mean())


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://arxiv.org/abs/1", True),
        ("http://a.b", True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//evil.example", False),
        ("https://[", False),
    ],
)
def test_only_web_addresses_become_links(url, safe):
    assert bool(addresses.web_address(url)) == safe


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "protocol", "Über", "x" * 300, "", "con fused"])
def test_any_name_becomes_one_safe_file_name(name):
    made = addresses.slug(name)
    assert "/" not in made
    assert not made.startswith(".")
    assert 0 < len(made) < 80
    assert made != "protocol"


def test_names_that_look_alike_keep_their_own_file():
    assert len({addresses.slug(name) for name in ("A", "a", "a ", "ä")}) == 4


def test_probabilities_never_read_as_certain():
    assert words.percent(0.0) == "<1%"
    assert words.percent(1.0) == ">99%"
    assert words.percent(0.951) == "95%"
    assert words.percent(np.nan) == "–"


def test_changed_hyper_parameters_are_marked(site):
    text = (site / "quick" / "febs.html").read_text()
    changed = text[text.index('class="changed"') :]
    assert changed.index("step_size") < changed.index("0.02") < changed.index("0.01")
