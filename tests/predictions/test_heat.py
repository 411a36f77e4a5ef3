"""The map of where errors lie: shades, outline and words are those of the numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from harness import evaluate
from harness.predictions import origins, page
from harness.predictions.heat import heat

SIDE, CELL = 24, 6


@pytest.fixture(scope="module")
def found():
    """Discs whose right edge is missed in F alone: rows are from top to bottom, as pictures are stored."""
    rng, n = np.random.default_rng(0), 40
    sex = np.resize(["F", "M"], n)
    y, x = np.mgrid[:48, :48]
    radius = rng.uniform(12, 16, n)[:, None, None]
    truth = np.hypot(y - 24, x - 24) < radius
    missed = (x - 24 > 0.6 * radius) & (sex == "F")[:, None, None]
    # And somewhere, in anyone, a pixel: without any spread there is no test.
    pred = truth & ~missed
    pred[np.arange(n), rng.integers(14, 34, n), rng.integers(14, 30, n)] = False
    table = pd.DataFrame({"id": [f"c{i:02d}" for i in range(n)], "sex": sex})
    return evaluate(pred, truth, table, attributes=["sex"], name="mine")


def panels(svg: str) -> list[dict[tuple[int, int], tuple[str, float]]]:
    """Of each map its cells, (row, column) to kind and shade."""
    maps = []
    for group in ET.fromstring(svg).iter("g"):
        cells = {}
        for rect in group.iter("rect"):
            if rect.get("class") in ("more", "fewer"):
                first = int(rect.get("x")) // CELL
                for i in range(int(rect.get("width")) // CELL):
                    key = int(rect.get("y")) // CELL, first + i
                    cells[key] = (rect.get("class"), float(rect.get("fill-opacity")))
        maps.append(cells)
    return maps


def test_the_shades_are_the_groups_errors_and_their_difference():
    worst, best = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    worst[3, 4:8], best[3, 6], best[10, 10] = 0.6, 0.3, 0.15
    one, other, apart = panels(heat(("F", worst), ("M", best), worst > 0, "said", "lying"))
    assert one == {(3, c): ("more", 1.0) for c in range(4, 8)}
    assert other == {(3, 6): ("more", 0.5), (10, 10): ("more", 0.25)}
    assert apart == {
        **{(3, c): ("more", 1.0) for c in (4, 5, 7)}, (3, 6): ("more", 0.5), (10, 10): ("fewer", 0.25),
    }  # fmt: skip


def test_the_outline_goes_around_the_cluster_and_nowhere_else():
    cluster = np.zeros((SIDE, SIDE), bool)
    cluster[2:4, 5:9] = True
    svg = heat(("F", cluster * 0.5), ("M", cluster * 0.1), cluster, "said", "lying")
    drawn = re.findall(r'class="cluster" d="([^"]*)"', svg)
    assert len(drawn) == 3
    edges = set(re.findall(r"M(\d+) (\d+)([hv])6", drawn[0]))
    above = {(str(c * CELL), str(r * CELL), "h") for r in (2, 4) for c in range(5, 9)}
    beside = {(str(c * CELL), str(r * CELL), "v") for r in (2, 3) for c in (5, 9)}
    assert edges == above | beside


def test_names_of_groups_are_texts_and_no_markup():
    flat = np.full((SIDE, SIDE), 0.2)
    svg = heat(("<b>&", flat), ("'\"", flat), flat > 1, 'a "label" <i>', "lying")
    assert ET.fromstring(svg).get("aria-label") == 'a "label" <i>'


def test_the_page_draws_the_place_that_was_put_in_and_says_it_in_words(found):
    section = origins.place(found)
    (figure,) = section["figures"]
    assert "more errors in F than in M" in figure["caption"]
    assert "right" in figure["caption"]
    svg = str(figure["figure"])
    assert ET.fromstring(svg).get("aria-label").startswith("sex, structure, mine: more errors in F than in M")
    apart = panels(svg)[2]
    strong = [column for (_, column), (kind, shade) in apart.items() if kind == "more" and shade > 0.5]
    assert strong
    assert min(strong) > SIDE / 2
    assert svg in page.render(found)


def test_where_nothing_is_beyond_chance_it_is_said_and_nothing_is_drawn(found):
    rng, n = np.random.default_rng(1), 40
    truth = np.zeros((n, 32, 32), bool)
    truth[:, 8:24, 8:24] = True
    pred = truth.copy()
    pred[np.arange(n), rng.integers(8, 24, n), rng.integers(8, 24, n)] = False
    table = pd.DataFrame({"id": [f"c{i:02d}" for i in range(n)], "sex": np.resize(["F", "M"], n)})
    quiet = evaluate(pred, truth, table, attributes=["sex"], name="mine")
    section = origins.place(quiet)
    assert section["figures"] == []
    assert "Beyond chance nowhere: sex, structure, mine." in section["meaning"]
