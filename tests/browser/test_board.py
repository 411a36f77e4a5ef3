import json

import pytest

pytestmark = pytest.mark.browser

PAGES = ("index.html", "quick/groupdro.html", "quick/adv.html", "quick/protocol.html", "quick/cases.html")


def number(tab, key, section="race-cup"):
    """Values of a column from top to bottom, read off the page."""
    cells = tab.page.locator(f"section[id='{section}']")
    return cells.evaluate(
        """(section, key) => {
            const at = [...section.querySelectorAll('thead th')].findIndex(th => th.dataset.key === key);
            return [...section.querySelectorAll('tbody tr')].map(row => row.cells[at].dataset.v);
        }""",
        key,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_no_serious_accessibility_violation(new_tab, site, axe, path, scheme):
    # bypass_csp, because axe is put into the page; the policy itself is tested where nothing is put in.
    tab = new_tab(site.out.as_uri(), color_scheme=scheme, bypass_csp=True)
    page = tab.open(path)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
    bad = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert bad == []


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_from_a_server_without_an_error(new_tab, server, path):
    tab = new_tab(server)
    assert tab.open(path).locator("h1").count() == 1


def test_the_answer_stands_in_the_first_screen(tab):
    page = tab.open()
    box = page.locator(".answer .short").first.bounding_box()
    assert box["y"] + box["height"] < 600


def test_sorting_orders_by_the_numbers_and_a_second_click_turns_it(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    page.locator("#race-cup thead").get_by_role("button", name="Gap", exact=True).click()
    values = [float(v) for v in number(tab, "gap") if v]
    assert values == sorted(values, reverse=True)
    page.locator("#race-cup thead").get_by_role("button", name="Gap", exact=True).click()
    assert [float(v) for v in number(tab, "gap") if v] == sorted(values)
    assert page.locator("#race-cup th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_the_table_starts_in_order_of_rank(tab):
    tab.open("index.html#attribute=race&structure=cup")
    ranks = [float(v) for v in number(tab, "rank") if v]
    assert ranks == sorted(ranks)


def test_filter_shows_one_section_and_the_address_links_to_it(tab, new_tab, site):
    page = tab.open()
    page.locator("select[name=attribute]").select_option("gender")
    page.locator("select[name=structure]").select_option("disc")
    shown = page.locator("section.board:visible")
    assert shown.evaluate_all("s => s.map(x => x.id)") == ["gender-disc"]
    other = new_tab(site.out.as_uri())
    other.page.goto(page.url)
    assert other.page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == [
        "gender-disc"
    ]


def test_back_button_goes_back_one_view(tab):
    page = tab.open()
    page.locator("select[name=attribute]").select_option("gender")
    page.locator("select[name=structure]").select_option("disc")
    page.go_back()
    assert page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == ["gender-cup"]
    page.go_back()
    assert page.locator("section.board:visible").count() == 2


def test_no_method_is_hidden_at_first(tab, site):
    tab.open()
    assert sorted(tab.methods()) == sorted(site.world.methods)


def test_search_finds_by_title_and_by_name_and_says_how_many(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    page.get_by_label("Find a method").fill("error-bound")
    assert tab.methods() == ["febs"]
    assert page.get_by_role("status").text_content() == "1 of 4 methods"
    page.get_by_label("Find a method").fill("erm")
    assert tab.methods() == ["erm"]


def test_columns_can_be_hidden_and_the_view_keeps_them(tab):
    page = tab.open()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("IoU", exact=True).uncheck()
    assert page.locator("#race-cup th[data-key=iou]").is_hidden()
    page.reload()
    assert page.locator("#race-cup th[data-key=iou]").is_hidden()
    assert page.locator("#race-cup th[data-key=dice]").is_visible()


def test_two_methods_side_by_side(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    for name in ("GroupDRO", "Empirical risk minimisation"):
        page.locator("#race-cup").get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare 2 methods").click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("thead th").all_text_contents() == ["GroupDRO", "Empirical risk minimisation"]
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    assert "compare" not in page.url


def test_keyboard_alone_sorts_and_follows_a_method(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th[data-key=gap]') !== null"):
            break
    page.keyboard.press("Enter")
    values = [float(v) for v in number(tab, "gap") if v]
    assert values == sorted(values, reverse=True)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') && document.activeElement.tagName === 'A'"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/quick/*.html")


def test_without_javascript_everything_is_there_and_sorted(new_tab, site):
    tab = new_tab(site.out.as_uri(), java_script_enabled=False)
    page = tab.open()
    assert page.locator("section.board:visible").count() == 4
    assert page.locator(".tools").is_hidden()
    first = page.locator("#race-cup tbody tr").first
    export = json.loads(site.page("leaderboard.json"))
    ranked = export["protocols"][0]["sections"][0]["methods"]
    assert ranked[0]["title"] in first.text_content()


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_phone(new_tab, site, path):
    tab = new_tab(site.out.as_uri(), viewport={"width": 360, "height": 740})
    page = tab.open(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_failed_trials_are_seen_on_the_board_and_on_the_methods_page(tab, site):
    page = tab.open()
    assert page.locator("#race-cup").get_by_text(site.world.error).is_visible()
    page = tab.open("quick/adv.html")
    assert page.get_by_text(site.world.error).first.is_visible()


@pytest.mark.parametrize(
    ("button", "expected"),
    [
        ("CSV", '"attribute","structure","id","Rank"'),
        ("LaTeX table (booktabs)", "\\toprule"),
        ("BibTeX", "@misc{equity-leaderboard-quick,"),
        ("JSON", '"schema_version": 1'),
    ],
)
def test_the_view_can_be_taken_away(tab, button, expected):
    page = tab.open("index.html#attribute=race&structure=cup&search=groupdro")
    page.get_by_text("Take away this view").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    text = download.value.path().read_text(encoding="utf-8")
    assert expected in text
    assert "GroupDRO" in text or button == "BibTeX"
    assert "Adversarial" not in text
