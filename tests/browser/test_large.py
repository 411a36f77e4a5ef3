"""A board of very many methods: rows come and are laid out where they are seen, and none is lost for it."""

from __future__ import annotations

import pytest
from make_records import World, make_site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

METHODS, FIRST = 220, 100
TYPED = "(field, text) => { field.value = text; field.dispatchEvent(new Event('input', {bubbles: true})); }"
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


def opened(tab, path: str = "index.html"):
    """Open the board and wait until the rows that its page lacks are there."""
    page = tab.open(path)
    page.get_by_role("button", name="Show all").wait_for()
    return page


def test_every_method_is_there_and_sorts(new_tab, large):
    tab = new_tab(large.out.as_uri())
    page = opened(tab)
    assert len(tab.methods("gender-cup")) == FIRST
    page.get_by_role("button", name="Method", exact=True).first.click()
    in_order = sorted(large.world.methods, key=str)
    # The rows below the screen are put in when those on it have been drawn.
    page.locator(f"tr[data-method='{in_order[FIRST - 1]}']").wait_for(state="attached")
    assert tab.methods("gender-cup") == in_order[:FIRST]
    page.get_by_role("button", name="Show 100 more").click()
    assert tab.methods("gender-cup") == in_order[: 2 * FIRST]
    page.get_by_role("button", name="Show all").click()
    assert tab.methods("gender-cup") == in_order
    assert not page.get_by_role("button", name="Show all").is_visible()


def test_what_is_typed_is_what_is_shown_however_fast_it_is_typed(new_tab, large):
    tab = new_tab(large.out.as_uri())
    page = opened(tab)
    field = page.get_by_label("Find a method")
    named = [name for name in tab.methods("gender-cup") if "m1" in name]
    kept = page.locator(f"tr[data-method='{named[0]}']").element_handle()
    for text in ("m", "m1", "zzz", "m1"):  # none of them waits for the rows of the one before
        field.evaluate(TYPED, text)
    found = [name for name in large.world.methods if "m1" in name]
    page.locator(f"tr[data-method='{named[-1]}']").wait_for(state="attached")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(() => setTimeout(done))))")
    assert sorted(tab.methods("gender-cup")) == sorted(found[:FIRST])
    assert page.locator(".tools .status").inner_text() == f"{len(found)} of {METHODS} methods"
    # A row that was there is the same one, with whatever a reader ticked in it.
    assert kept.evaluate("row => row.isConnected")
    field.fill("")
    page.locator("tbody tr").nth(FIRST - 1).wait_for(state="attached")
    assert len(tab.methods("gender-cup")) == FIRST


def test_a_method_that_the_page_lacks_is_found_compared_and_taken_away(new_tab, large):
    tab = new_tab(large.out.as_uri())
    page = opened(tab)
    shown = tab.methods("gender-cup")
    late = next(name for name in large.world.methods if name not in (*shown, "erm"))
    page.get_by_label("Find a method").fill(late)
    assert tab.methods("gender-cup") == [late]
    page.get_by_label("Find a method").fill("")
    page.locator(".tools summary", has_text="Take away").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="CSV").click()
    lines = taken.value.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) == METHODS + 1
    with page.expect_download() as taken:
        page.get_by_role("button", name="BibTeX").click()
    assert taken.value.path().read_text(encoding="utf-8").count("@misc{") == METHODS + 1
    page.goto(f"{tab.root}/index.html#compare={shown[0]}+{late}")
    page.get_by_role("dialog").get_by_role("columnheader", name=late).first.wait_for()


def test_without_scripts_the_page_says_where_the_other_rows_are(new_tab, large):
    page = new_tab(large.out.as_uri(), java_script_enabled=False).open()
    note = page.locator("p.rest")
    assert note.inner_text().startswith(f"The first {FIRST} of {METHODS} methods.")
    note.get_by_role("link").first.click()
    assert page.locator("tbody tr").count() == METHODS
    page.get_by_role("link", name="m218").click()
    assert page.locator("h1").inner_text() == "m218"


def test_columns_stay_under_their_heads_when_one_is_hidden(new_tab, large):
    page = opened(new_tab(large.out.as_uri()), "index.html#hide=gap&show=all")
    table = page.locator("section.board table.scores")
    heads = table.locator("thead th:visible").evaluate_all(LEFTS)
    cells = table.locator("tbody tr").first.locator("th:visible, td:visible").evaluate_all(LEFTS)
    assert "Gap" not in table.locator("thead").inner_text()
    assert heads == cells
    assert len(heads) > 10


def test_the_table_is_still_a_table_to_assistive_software(new_tab, large):
    page = opened(new_tab(large.out.as_uri()), "index.html#show=all")
    page.get_by_role("button", name="Show all").click()
    assert page.get_by_role("table").first.get_by_role("row").count() == METHODS + 1
    assert page.get_by_role("columnheader").count() > 10


def test_every_case_of_any_method_is_looked_at_and_no_other_is_read(new_tab, large):
    tab = new_tab(large.out.as_uri())
    read = []
    tab.page.on("request", lambda request: read.append(request.url.rpartition("/")[2]))
    page = tab.open("quick/m200.html")
    page.get_by_role("link", name="Every test case").first.click()
    page.locator("#cases tbody tr").first.wait_for()
    assert page.get_by_label("Dice with").input_value() == "m200"
    page.locator("select[name=x]").select_option("m007")
    page.get_by_role("columnheader", name="Dice, m007").wait_for()
    assert {name for name in read if name.startswith(("m", "erm")) and name.endswith(".js")} == {
        "m200.js",
        "m007.js",
    }
    assert page.locator("#cases .status").inner_text() == "Shown: 60 cases"
