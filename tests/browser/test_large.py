"""A board of very many methods: rows are laid out where they are seen, and nothing is hidden for it."""

from __future__ import annotations

import pytest
from make_records import World, make_site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

METHODS = 220
LEFTS = "cells => cells.map(cell => Math.round(cell.getBoundingClientRect().left))"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    methods = ("erm", *(f"m{i:03d}" for i in range(METHODS - 1)))
    quality = {name: 0.0002 * i for i, name in enumerate(methods)}
    world = World(
        methods=methods,
        quality=quality,
        attributes=("gender",),
        structures=("cup",),
        seeds=(0, 1),
        samples=60,
    )
    return make_site(tmp_path_factory.mktemp("large"), world)


def test_every_method_is_there_and_sorts(new_tab, large):
    tab = new_tab(large.out.as_uri())
    page = tab.open()
    assert len(tab.methods("gender-cup")) == METHODS
    page.get_by_role("button", name="Method", exact=True).first.click()
    assert tab.methods("gender-cup") == sorted(large.world.methods, key=str)


def test_columns_stay_under_their_heads_when_one_is_hidden(new_tab, large):
    page = new_tab(large.out.as_uri()).open("index.html#hide=gap&show=all")
    table = page.locator("section.board table.scores")
    heads = table.locator("thead th:visible").evaluate_all(LEFTS)
    cells = table.locator("tbody tr").first.locator("th:visible, td:visible").evaluate_all(LEFTS)
    assert "Gap" not in table.locator("thead").inner_text()
    assert heads == cells
    assert len(heads) > 10


def test_the_table_is_still_a_table_to_assistive_software(new_tab, large):
    page = new_tab(large.out.as_uri()).open("index.html#show=all")
    assert page.get_by_role("table").first.get_by_role("row").count() == METHODS + 1
    assert page.get_by_role("columnheader").count() > 10
