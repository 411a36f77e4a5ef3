import json
from html import unescape

import numpy as np
import pytest
from make_records import World, make_site

from leaderboard.compute import across, sections
from leaderboard.read import boards

METHODS = ("erm", "febs", "adv")
FOUR = {"structures": ("cup", "disc"), "samples": 60}


def lines_of(folder, world):
    site = make_site(folder, world)
    (board,) = boards.of_store(site.runs)
    # Of the main track, the only one; None where there is nothing to put together.
    return site, board, next(iter(across.of_board(board, sections.of_board(board))), None)


def test_the_mean_over_the_tables_stands_under_them(tmp_path):
    site, _, found = lines_of(tmp_path, World(methods=METHODS, **FOUR))
    whole = json.loads(site.page("leaderboard.json"))["protocols"][0]
    export, exported = whole["sections"], {line["method"]: line for line in whole["across"]}
    assert len(found.views) == len(export) > 2
    for line in found.lines:
        rows = [m for s in export for m in s["methods"] if m["method"] == line.method]
        expected = np.mean([row["scores"]["dice"]["es_sum"]["estimate"] for row in rows])
        assert line.es.value == pytest.approx(expected, abs=1e-5)
        assert line.mean_rank == pytest.approx(np.mean([row["rank"] for row in rows]))
        assert line.es.low < line.es.value < line.es.high
        assert exported[line.method]["es_dice"]["estimate"] == pytest.approx(expected, abs=1e-5)
        assert (exported[line.method]["letters"], exported[line.method]["rank_low"]) == (
            line.letters,
            line.rank_low,
        )
    page = site.page("index.html")
    section = page[page.index('<section class="across"') :]
    assert "Across attributes and structures" in section
    for line in found.lines:
        assert line.title in unescape(section)
        assert f"<b>{line.es.value:.3f}</b>" in section
    assert "Methods joined by a line cannot be told apart" in section


def test_a_method_without_scores_in_one_table_is_named_and_left_out(tmp_path):
    world = World(methods=METHODS, **FOUR, failed=frozenset({("adv", "gender", seed) for seed in (0, 1, 2)}))
    site, board, found = lines_of(tmp_path, world)
    assert {line.method for line in found.lines} == {"erm", "febs"}
    assert found.missing == (board.entries["adv"].info.title,)
    assert "Left out, because a table lacks them" in site.page("index.html")


def test_one_table_or_one_method_has_nothing_to_be_compared_across(tmp_path):
    one = World(methods=METHODS, attributes=("race",), structures=("cup",), samples=60)
    for name, world in (("table", one), ("method", World(methods=("erm",), **FOUR))):
        site, _, found = lines_of(tmp_path / name, world)
        assert found is None
        assert "Across attributes" not in site.page("index.html")
