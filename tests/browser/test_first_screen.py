"""What a reader sees before he scrolls: measured in a browser, as positions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from make_records import World, make_site

pytestmark = pytest.mark.browser

SIX = World(
    methods=("erm", "groupdro", "adv", "febs", "balanced", "isotonic"),
    structures=("cup", "rim"),
    samples=100,
    gaps={"erm": 0.15, "groupdro": 0.02, "adv": 0.15},
    noise=0.05,
    info={
        "balanced": {"title": "Group-balanced resampling"},
        "isotonic": {"title": "Fair distributionally robust isotonic"},
    },
)
SCREEN = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("six"), SIX)


def bottom(locator) -> float:
    box = locator.bounding_box()
    return box["y"] + box["height"]


def test_verdict_axis_and_first_six_rows_are_inside_the_first_screen(new_tab, six):
    page = new_tab(six.out.as_uri(), viewport=SCREEN).open()
    for section in ("race-cup", "gender-rim"):
        attribute, structure = section.split("-")
        page.evaluate(f"location.hash = 'attribute={attribute}&structure={structure}'")
        shown = page.locator(f"#{section}")
        shown.wait_for()
        assert bottom(shown.locator(".verdict")) < 300
        assert bottom(shown.locator("th svg.axis").first) < 400
        rows = shown.locator("table.scores tbody tr")
        assert rows.count() == 6
        assert bottom(rows.nth(5)) <= 800
    assert page.evaluate("scrollY") == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Six attributes, names of sixty letters, a title of a hundred, and a method whose trials failed."""
    long = {
        name: {"title": f"Method {name:8} under a name of sixty letters, as papers have it"}
        for name in SIX.methods
    }
    world = replace(
        SIX,
        attributes=("race", "gender", "ethnicity", "language", "maritalstatus", "age"),
        structures=("cup",),
        seeds=(0, 1),
        samples=60,
        info=long,
        title="An equity leaderboard of everything that was ever tried on this cohort, " * 2,
        failed=frozenset({("adv", "race", 1)}),
    )
    return make_site(tmp_path_factory.mktemp("many"), world)


def test_six_rows_are_inside_the_first_screen_with_many_attributes_and_long_names_too(new_tab, many):
    page = new_tab(many.out.as_uri(), viewport=SCREEN).open()
    rows = page.locator("#race-cup table.scores tbody tr")
    assert rows.count() == 6
    assert bottom(rows.nth(5)) <= 800


def test_a_name_that_is_cut_is_whole_to_whoever_points_at_it_and_to_software(new_tab, many):
    page = new_tab(many.out.as_uri(), viewport=SCREEN).open()
    link = page.locator("#race-cup th.method a").first
    link.focus()
    tall, seen = link.evaluate("e => [e.scrollHeight, e.clientHeight]")
    assert tall <= seen
    assert link.inner_text() in [one["title"] for one in many.world.info.values()]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_name_without_a_gap_makes_no_page_wider_than_the_screen(new_tab, tmp_path, width):
    name = "n" * 150
    world = replace(SIX, methods=("erm", "adv"), structures=("cup",), seeds=(0, 1), samples=60,
                    info={"adv": {"title": name, "paper": name}}, title=name)  # fmt: skip
    site = make_site(tmp_path, world)
    tab = new_tab(site.out.as_uri(), viewport={"width": width, "height": 800})
    for path in ("index.html", "quick/adv.html", "quick/protocol.html", "quick/samples.html"):
        page = tab.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("shown", ["six", "many"])
def test_on_a_phone_the_first_row_is_inside_the_first_screen(new_tab, request, shown):
    site = request.getfixturevalue(shown)
    page = new_tab(site.out.as_uri(), viewport={"width": 390, "height": 844}).open()
    assert bottom(page.locator("#race-cup table.scores tbody tr").first) <= 844


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_all_columns_of_the_first_view_are_seen_without_scrolling_sideways(new_tab, six, width):
    page = new_tab(six.out.as_uri(), viewport={"width": width, "height": 800}).open()
    wide, seen = page.locator("#race-cup .scroll").first.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert wide <= seen
    names = page.locator("#race-cup thead th:visible .name").all_text_contents()
    assert names == ["Rank", "Method", "ES-Dice (sum)", "Gap", "Dice", "Against ERM", "Training"]


@pytest.mark.parametrize("width", [360, 390, 400])
def test_a_phone_shows_rank_method_score_and_bar_first(new_tab, six, width):
    page = new_tab(six.out.as_uri(), viewport={"width": width, "height": 860}).open()
    seen = page.locator("#race-cup .scroll").first.bounding_box()
    row = page.locator("#race-cup table.scores tbody tr").first
    for cell in ("td.rank", "th.method", "td.es b", "td.es .ci", "td.es svg.es circle"):
        box = row.locator(cell).first.bounding_box()
        assert seen["x"] <= box["x"] < box["x"] + box["width"] <= seen["x"] + seen["width"], cell


PLACES = """() => [...document.querySelectorAll("#race-cup table.scores tbody tr")].map(row => {
    const at = mark => { const box = mark.getBoundingClientRect(); return box.x + box.width / 2; };
    return [Number(row.querySelector("td.es").dataset.v), at(row.querySelector("svg.es circle")),
            row.dataset.method, row.getBoundingClientRect().y,
            row.querySelector("svg.es circle").getBoundingClientRect().y];
})"""


def test_bars_stand_on_one_axis_and_sort_with_their_rows(new_tab, six):
    page = new_tab(six.out.as_uri(), viewport=SCREEN).open()
    before = page.evaluate(PLACES)
    # A straight line from numbers to pixels, the same for every row.
    (low, left, *_), (high, right, *_) = min(before), max(before)
    for value, x, *_ in before:
        assert x == pytest.approx(left + (value - low) / (high - low) * (right - left), abs=0.6)
    page.locator("#race-cup thead").get_by_role("button", name="Method", exact=True).click()
    after = page.evaluate(PLACES)
    assert [row[2] for row in after] != [row[2] for row in before]
    assert {(row[2], row[1]) for row in after} == {(row[2], row[1]) for row in before}
    assert all(top <= y <= top + 100 for *_, top, y in after)


def test_ticks_stand_where_the_rows_have_their_lines(new_tab, six):
    page = new_tab(six.out.as_uri(), viewport=SCREEN).open()
    marks = ("th[data-key=es_sum] svg.axis", "td.es svg.es", "th[data-key=gap] svg.axis", "td.gap svg.gap")
    boxes = [page.locator(f"#race-cup {mark}").first.bounding_box() for mark in marks]
    ends = [(round(box["x"]), round(box["width"])) for box in boxes]
    assert ends[0] == ends[1]
    assert ends[2] == ends[3]


def test_numbers_of_a_column_are_aligned_at_the_decimal_point(new_tab, six):
    page = new_tab(six.out.as_uri(), viewport=SCREEN).open()
    for column in ("td.es", "td.gap", "td.versus", "td:nth-of-type(4)"):
        ends = page.locator(f"#race-cup {column} b").evaluate_all(
            """all => all.map(b => { const range = document.createRange(); range.selectNodeContents(b);
                return Math.round(range.getBoundingClientRect().right); })"""
        )
        assert len(set(ends)) == 1, column


def test_on_paper_every_table_is_there_and_what_only_a_screen_can_use_is_not(new_tab, six):
    page = new_tab(six.out.as_uri(), viewport=SCREEN).open()
    assert page.locator("section.board:visible").count() == 1
    page.emulate_media(media="print")
    assert page.locator("section.board:visible").count() == 4
    assert page.locator("nav.strip:visible").count() == 0
    for svg in page.locator("#race-cup td.es svg.es").all():
        assert svg.bounding_box()["width"] > 60
    # Whoever chose a table prints that one.
    page.evaluate("location.hash = 'attribute=gender'")
    page.locator("#race-cup").wait_for(state="hidden")
    assert page.locator("section.board:visible").count() == 1
