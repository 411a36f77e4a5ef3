"""What needs each patient's attribute is ranked among itself and beside ERM, wherever anything is ranked."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from make_records import World, make_store, shared_site

import leaderboard
from leaderboard import moved
from leaderboard.compute import results, sections, tracks, verdicts
from leaderboard.compute.tracks import AT_TEST, MAIN
from leaderboard.read import boards
from leaderboard.write import addresses, exports

NEEDS = {"reads_attribute_at_test": True}
OWN = {"heads": NEEDS | {"title": "Heads"}, "fin": NEEDS | {"title": "Normalisation"}}
BLIND, READING = ["adv", "erm", "groupdro"], ["erm", "fin", "heads"]
SMALL = {"structures": ("cup",), "samples": 120}
# One would be first of all, one last: neither may move a row of the main track.
APART = {"quality": {"heads": 0.08, "fin": -0.08}, "gaps": {"heads": 0.0}}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A board's results with both tracks, and those of the same board without the second."""

    def of(methods, **more):
        store = make_store(tmp_path_factory.mktemp("tracks"), World(methods=methods, **SMALL, **more))
        (board,) = boards.of_store(store)
        return results.of_board(board, sections.of_board(board))

    return of(("erm", "groupdro", "heads", "adv", "fin"), info=OWN, **APART), of(("erm", "groupdro", "adv"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One attribute, so that there are few figures to draw."""
    methods = ("erm", "groupdro", "heads", "adv", "fin")
    world = World(methods=methods, info=OWN, attributes=("race",), **SMALL, **APART)
    return shared_site(tmp_path_factory, "tracks", world)


def named(section) -> list[str]:
    return sorted(row.method for row in section.rows)


def test_rows_that_read_the_attribute_at_test_stand_in_a_table_of_their_own_with_erm(found):
    both, alone = found
    places = [(one.attribute, one.track, named(one)) for one in both.sections]
    assert places == [
        (attribute, track, names)
        for attribute in ("race", "gender")
        for track, names in ((MAIN, BLIND), (AT_TEST, READING))
    ]
    assert {one.track for one in alone.sections} == {MAIN}
    for section in both.sections:
        assert [row.rank for row in section.ranked] == [1, 2, 3]
        assert section.baseline == "erm"


def test_nothing_that_is_said_in_the_main_track_changes_with_the_other(found):
    both, alone = found
    main = [section for section in both.sections if section.track == MAIN]
    assert [repr(one.rows) for one in main] == [repr(one.rows) for one in alone.sections]
    for one, other in zip(main, alone.sections, strict=True):
        assert one.tables.keys() == other.tables.keys() > {"dice"}
        for metric, tables in one.tables.items():
            pd.testing.assert_frame_equal(tables.tidy, other.tables[metric].tidy)
            pd.testing.assert_frame_equal(tables.pairs, other.tables[metric].pairs)
        assert (repr(one.enough), repr(one.unknown)) == (repr(other.enough), repr(other.unknown))
        assert both.stability(one) == alone.stability(other)
    across = next(one for one in both.across if one.track == MAIN)
    assert repr(across.lines) == repr(alone.across[0].lines)


def test_all_tables_together_are_put_together_track_by_track(found):
    both, _ = found
    lines = {one.track: (sorted(line.method for line in one.lines), one.missing) for one in both.across}
    assert lines == {MAIN: (BLIND, ()), AT_TEST: (READING, ())}


def test_the_word_best_is_of_the_track(found):
    both, _ = found
    section = next(one for one in both.sections if (one.attribute, one.track) == ("race", AT_TEST))
    assert section.ranked[0].method == "heads"
    assert section.ranked[0].best
    assert verdicts.verdict(section) == "Heads is best of its track"
    assert " of those that read race at test time: " in leaderboard.compute.words.headline(section)


def test_exports_have_the_track_of_every_row(site, found):
    frame = pd.read_csv(site.out / "leaderboard.csv")
    ranked = frame[frame["rank"].notna()]
    by_track = {track: sorted(rows["method"].unique()) for track, rows in ranked.groupby("track")}
    assert by_track == {MAIN: BLIND, AT_TEST: READING}
    export = json.loads((site.out / "leaderboard.json").read_text())["protocols"][0]
    sections = {(one["attribute"], one["track"]): one["methods"] for one in export["sections"]}
    assert {key: sorted(m["method"] for m in methods) for key, methods in sections.items()} == {
        ("race", MAIN): BLIND,
        ("race", AT_TEST): READING,
    }
    both, _ = found
    lines = [(one.track, one.method) for one in exports._across(both.across)]
    assert sorted(lines) == [(AT_TEST, name) for name in READING] + [(MAIN, name) for name in BLIND]


def test_the_page_says_why_and_a_method_of_the_track_says_where_it_stands(site):
    page = site.page("index.html")
    assert page.count("these methods need the race of each patient whenever they are used") == 1
    assert 'id="race-cup-at-test"' in page
    own = site.page("quick/heads.html")
    assert "<b>Race, cup, with race read at test time:</b> rank 1 of 3" in own
    assert "yes, and to predict: it needs that of each patient" in own
    assert "read at test" in (site.out / "quick/badges/heads-race.svg").read_text()
    assert "read at test" not in (site.out / "quick/badges/erm-race.svg").read_text()


def test_what_moved_between_two_sites_is_told_of_each_track(site, tmp_path):
    text = (site.out / "leaderboard.json").read_text()
    changed = json.loads(text)
    for section in changed["protocols"][0]["sections"]:
        for method in section["methods"]:
            if (section["track"], method["method"]) in [(AT_TEST, "heads"), (AT_TEST, "erm")]:
                method["scores"]["dice"]["es_sum"]["estimate"] -= 0.1
    alone = json.loads(text)
    first = alone["protocols"][0]
    first["sections"] = [one for one in first["sections"] if one["track"] == MAIN]
    for name, export in {"changed": changed, "alone": alone}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(export))
    told = moved.diff(site.out, tmp_path / "changed.json").splitlines()
    assert told[0] == "1 score of 1 method moved"
    assert "quick: heads (race, cup, with race read at test time): dice es_sum" in told[1]
    # ERM's row in the second track is no method that came.
    assert moved.diff(tmp_path / "alone.json", site.out).startswith(
        "1 table added; 2 methods added; no score moved"
    )


def test_scores_for_the_panel_of_choices_are_of_one_track(site):
    for track, names in (("", BLIND), ("-at-test", READING)):
        text = (site.out / f"quick/scores-race-cup{track}.js").read_text()
        packed = json.loads(text.removeprefix("Board.scores.receive(").rstrip(");\n"))
        assert (packed["section"], sorted(packed["methods"])) == (f"race-cup{track}", names)


def test_on_a_page_for_each_table_a_track_is_beside_the_table_that_it_is_of(tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "ROWS_ON_ONE_PAGE", 0)
    world = World(methods=("erm", "groupdro", "heads"), info=OWN, seeds=(0,), **SMALL)
    store = make_store(tmp_path / "runs", world)
    leaderboard.build(store.root, tmp_path / "site")
    other = (tmp_path / "site/quick/board-gender-cup.html").read_text()
    assert 'id="gender-cup"' in other
    assert 'id="gender-cup-at-test"' in other
    assert not list((tmp_path / "site").rglob("board-*-at-test.html"))
    assert (
        'href="quick/board-gender-cup.html#gender-cup-at-test"' in (tmp_path / "site/index.html").read_text()
    )


def test_a_method_of_which_one_trial_needs_the_attribute_is_in_that_track(tmp_path):
    store = make_store(tmp_path, World(methods=("erm", "heads"), info=OWN, attributes=("race",), **SMALL))
    board = boards.of_store(store)[0]
    records = board.entries["heads"].records
    key = ("race", 0)
    info = records[key].method.model_copy(update={"reads_attribute_at_test": False})
    records[key] = records[key].model_copy(update={"method": info})
    assert tracks.of_method(board, "heads") == AT_TEST
    assert tracks.methods(board, MAIN) == ["erm"]
