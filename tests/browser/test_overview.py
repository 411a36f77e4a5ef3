"""The page of a site with several boards."""

from __future__ import annotations

import json

import pytest
from make_records import World, make_store

import leaderboard

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    common = {"methods": ("erm", "adv"), "structures": ("cup",), "seeds": (0, 1), "samples": 60}
    make_store(folder / "runs", World(**common, attributes=("race", "gender")))
    frozen = World(**common, attributes=("age",), protocol="other", title="Another board")
    make_store(folder / "runs", frozen)
    leaderboard.build(folder / "runs", folder / "site")
    return folder / "site"


def shown(page) -> list[str]:
    return page.locator("section.protocol:visible h2").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(new_tab, boards, axe, scheme):
    page = new_tab(boards.as_uri(), color_scheme=scheme, bypass_csp=True).open()
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_boards_are_filtered_and_the_address_holds_the_view(new_tab, boards):
    page = new_tab(boards.as_uri()).open()
    assert len(shown(page)) == 2
    page.get_by_label("Equity by").select_option("age")
    assert shown(page) == ["Another board"]
    assert page.get_by_role("status").inner_text() == "1 of 2 boards"
    again = new_tab(boards.as_uri()).open("index.html" + page.evaluate("location.hash"))
    assert shown(again) == ["Another board"]
    page.go_back()
    assert len(shown(page)) == 2


def test_an_unknown_filter_in_the_address_shows_every_board_and_says_so(new_tab, boards):
    page = new_tab(boards.as_uri()).open("index.html#attribute=nobody")
    assert len(shown(page)) == 2
    assert page.get_by_role("status").inner_text() == "There is no attribute “nobody” here. 2 of 2 boards"


def test_without_javascript_every_board_is_there(new_tab, boards):
    page = new_tab(boards.as_uri(), java_script_enabled=False).open()
    assert len(shown(page)) == 2
    assert not page.locator(".tools").is_visible()


TEXTS = """rows => rows.map(row =>
    [...row.children].filter(cell => !cell.hidden).map(cell => cell.innerText.split("\\n")[0]))"""


def cells(page) -> list[list[str]]:
    """The first line of each cell that is shown, row by row."""
    return page.locator("section.grid tr:visible").evaluate_all(TEXTS)


def test_every_method_has_a_row_and_every_protocol_and_attribute_a_column(new_tab, boards):
    page = new_tab(boards.as_uri()).open()
    head, *rows = cells(page)
    assert head == ["Method", "other", "quick", "quick"]
    assert len(rows) == 2
    # The ranges are those of the boards' own results, which another function wrote.
    export = json.loads((boards / "leaderboard.json").read_text())
    for row in rows:
        places = {
            (protocol["name"], section["attribute"]): sorted({method["rank_low"], method["rank_high"]})
            for protocol in export["protocols"]
            for section in protocol["sections"]
            for method in section["methods"]
            if method["title"] == row[0]
        }
        order = [("other", "age"), ("quick", "race"), ("quick", "gender")]
        assert row[1:] == ["–".join(map(str, places[place])) for place in order]


def test_words_find_methods_and_boards_and_the_address_holds_them(new_tab, boards):
    page = new_tab(boards.as_uri()).open()
    page.get_by_label("Find").fill("adversarial")
    assert [row[0] for row in cells(page)] == ["Method", "Adversarial representation"]
    assert page.get_by_role("status").inner_text() == "2 of 2 boards, 1 of 2 methods"
    again = new_tab(boards.as_uri()).open("index.html" + page.evaluate("location.hash"))
    assert len(cells(again)) == 2
    page.get_by_label("Find").fill("another")
    assert shown(page) == ["Another board"]
    assert cells(page)[0] == ["Method", "other"]
    page.get_by_label("Find").fill("nobody knows")
    assert shown(page) == []
    assert cells(page) == []
    page.get_by_role("button", name="Reset the view").click()
    assert len(shown(page)) == 2
    page.get_by_label("Equity by").select_option("age")
    assert cells(page)[0] == ["Method", "other"]
