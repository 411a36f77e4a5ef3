import io
import json

import pandas as pd
import pytest

pytestmark = pytest.mark.browser

PAGES = ("index.html", "quick/groupdro.html", "quick/adv.html", "quick/protocol.html", "quick/cases.html")


def number(tab, key, section="race-cup"):
    """Values of a column from top to bottom, read off the page."""
    cells = tab.page.locator(f"section[id='{section}']")
    return cells.evaluate(
        """(section, key) => {
            const table = section.querySelector('table.scores');
            const at = [...table.querySelectorAll('thead th')].findIndex(th => th.dataset.key === key);
            return [...table.querySelectorAll('tbody tr')].map(row => row.cells[at].dataset.v);
        }""",
        key,
    )


ONE_TABLE = f"{PAGES[0]}#attribute=race&structure=cup"
# One table is like the next, and what is hidden is not looked at; in the dark one page stands for all.
LOOKED_AT = [
    *((path, "light") for path in (ONE_TABLE, *PAGES[1:])),
    (ONE_TABLE, "dark"),
    pytest.param(PAGES[0], "light", marks=pytest.mark.slow),
    *(pytest.param(path, "dark", marks=pytest.mark.slow) for path in PAGES),
]


@pytest.mark.parametrize(("path", "scheme"), LOOKED_AT)
def test_no_serious_accessibility_violation(new_tab, site, axe, path, scheme):
    # bypass_csp, because axe is put into the page; the policy itself is tested where nothing is put in.
    tab = new_tab(site.out.as_uri(), color_scheme=scheme, bypass_csp=True)
    page = tab.open(path)
    page.evaluate(axe)
    # What is dark differs in its colours alone.
    rules = "" if scheme == "light" else "runOnly: ['cat.color'], "
    run = f"axe.run(document, {{{rules}resultTypes: ['violations'], preload: false}})"
    found = page.evaluate(run)["violations"]
    bad = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert bad == []


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_from_a_server_without_an_error(new_tab, server, path):
    tab = new_tab(server)
    assert tab.open(path).locator("h1").count() == 1


def test_the_answer_stands_in_the_first_screen(tab):
    page = tab.open()
    box = page.locator("section.board:visible .verdict").bounding_box()
    assert box["y"] + box["height"] < 300


def test_sorting_orders_by_the_numbers_and_a_second_click_turns_it(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    page.locator("#race-cup thead").get_by_role("button", name="Gap", exact=True).click()
    # The best first: of a gap the smallest.
    values = [float(v) for v in number(tab, "gap") if v]
    assert values == sorted(values)
    page.locator("#race-cup thead").get_by_role("button", name="Gap", exact=True).click()
    assert [float(v) for v in number(tab, "gap") if v] == sorted(values, reverse=True)
    assert page.locator("#race-cup th[aria-sort]").get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize(
    ("key", "name", "up"),
    [
        ("hd95", "HD95 (pooled), px", True),
        ("missed", "Missed", True),
        ("cost", "Training", True),
        ("dice", "Dice", False),
        ("es_sum", "ES-Dice (sum)", False),
    ],
)
def test_the_first_click_on_any_column_sorts_the_best_first(tab, key, name, up):
    page = tab.open("index.html#attribute=race&structure=cup&show=all")
    page.locator("#race-cup thead").get_by_role("button", name=name, exact=True).click()
    values = [float(v) for v in number(tab, key) if v]
    assert values == sorted(values, reverse=not up)
    assert len(values) > 1


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
    assert page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == ["race-cup"]


def test_tabs_are_links_that_show_one_table_and_keep_the_rest_of_the_view(tab):
    page = tab.open("index.html#search=erm")
    strip = page.locator("#race-cup nav.strip")
    assert strip.locator("a").evaluate_all("a => a.map(x => x.getAttribute('href'))") == [
        "#race-cup", "#gender-cup", "#race-cup", "#race-disc",
    ]  # fmt: skip
    assert strip.locator("a[aria-current]").count() == 2
    strip.get_by_role("link", name="by gender").press("Enter")
    assert page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == ["gender-cup"]
    assert page.url.endswith("#attribute=gender&search=erm")
    assert page.evaluate("document.activeElement.textContent").startswith("by gender")
    assert page.evaluate("document.activeElement.closest('section').id") == "gender-cup"
    page.go_back()
    assert page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == ["race-cup"]


def test_every_attribute_can_be_seen_at_once(tab):
    page = tab.open()
    page.locator("select[name=attribute]").select_option("all")
    assert page.locator("section.board:visible").evaluate_all("s => s.map(x => x.id)") == [
        "race-cup",
        "gender-cup",
    ]
    assert page.locator(".tools:visible").count() == 1


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
    assert page.locator("#race-cup th[data-key=iou]").is_hidden()
    page.get_by_label("IoU", exact=True).check()
    page.get_by_label("Training", exact=True).uncheck()
    for _ in range(2):
        assert page.locator("#race-cup th[data-key=iou]").is_visible()
        assert page.locator("#race-cup th[data-key=cost]").is_hidden()
        assert page.locator("#race-cup th[data-key=dice]").is_visible()
        page.reload()
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("every column").check()
    heads = page.locator("#race-cup table.scores thead th")
    assert heads.locator("visible=true").count() == heads.count()


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
    assert values == sorted(values)
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
        (
            "CSV",
            '"attribute","structure","track","choices","method","title","status","obtained","letters","Rank",',
        ),
        ("LaTeX table (booktabs)", "\\toprule"),
        ("BibTeX", "@misc{equity-leaderboard-quick,"),
        ("JSON", '"schema": "equity-leaderboard-view"'),
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


def taken(page, button):
    """What a button of the take-away menu gives."""
    page.get_by_text("Take away this view").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    return download.value.path().read_text(encoding="utf-8")


def test_numbers_are_taken_away_as_they_are_in_the_sites_own_export(tab, site):
    page = tab.open("index.html#attribute=race&structure=cup")
    lines = pd.read_csv(io.StringIO(taken(page, "CSV"))).set_index("method")
    export = json.loads(site.page("leaderboard.json"))
    (section,) = [
        s for s in export["protocols"][0]["sections"] if (s["attribute"], s["structure"]) == ("race", "cup")
    ]
    for row in section["methods"]:
        es, line = row["scores"]["dice"]["es_sum"], lines.loc[row["method"]]
        assert line["ES-Dice (sum)"] == pytest.approx(es["estimate"], rel=1e-5)
        assert line["ES-Dice (sum): low"] == pytest.approx(es["low"], rel=1e-5)
    assert {"Missed: of", "Training, s", "Gap: noise floor"} <= set(lines.columns)
    assert "Missed: low" not in lines.columns
    assert lines.loc["adv", "status"] == "1 of 2 seeds, 1 failed"


def test_a_readers_own_choices_are_taken_away_with_their_numbers(tab):
    page = tab.open("index.html#attribute=race&structure=cup&es=worst&whatif=race-cup")
    page.locator(".whatif .own").first.wait_for()
    boards, own = json.loads(taken(page, "JSON"))["tables"]
    assert (boards["choices"], own["choices"][:18]) == ("", "Dice; worst group;")
    worst = {row["method"]: row["cells"]["worst"]["value"] for row in boards["rows"]}
    scores = {row["method"]: row["cells"]["Score"] for row in own["rows"]}
    assert scores.keys() == worst.keys()
    for method, score in scores.items():
        assert score["value"] == pytest.approx(worst[method], abs=2e-4)
        assert score["low"] < score["value"] < score["high"]


@pytest.mark.parametrize("address", ["#%E0%A4%A", "#attribute=nobody", "#%E0%A4%A=1"])
def test_an_address_that_means_nothing_shows_the_board(tab, address):
    page = tab.open(f"index.html{address}")
    assert page.locator("section.board:visible").count() == 1
    assert ("There is no attribute “nobody” here." in page.locator(".tools .status").text_content()) == (
        "nobody" in address
    )


def test_an_unknown_score_and_column_in_the_address_show_the_table_by_rank(tab):
    page = tab.open("index.html#attribute=race&structure=cup&score=bleu&sort=nothing")
    assert page.locator(".tools .status").text_content() == "There is no score “bleu” here."
    assert page.locator("#race-cup th[aria-sort]").get_attribute("data-key") == "rank"
    assert page.locator("#race-cup th[data-key=gap]").is_visible()


def test_a_printed_board_fits_the_page_and_leaves_out_what_only_a_screen_can_use(tab):
    page = tab.open("index.html#whatif=race-cup")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1032, "height": 703})  # A4 across, less 12 mm on each side
    assert page.evaluate("document.documentElement.scrollWidth") <= 1032
    for only_on_screen in (".def", ".tools", ".whatif", "[name=pick]", "nav"):
        assert page.locator(only_on_screen).locator("visible=true").count() == 0


def test_the_skip_link_keeps_the_view_and_a_link_to_a_hidden_section_shows_it(tab):
    page = tab.open("index.html#attribute=gender")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#attribute=gender")
    page.evaluate("location.hash = 'race-disc'")
    section = page.locator("section[id='race-disc']")
    section.wait_for()
    assert abs(section.bounding_box()["y"]) < 5


def test_menus_close_on_escape_and_on_a_click_elsewhere(tab):
    page = tab.open()
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.locator("h1").click()):
        page.get_by_text("Columns", exact=True).click()
        assert page.locator(".menu[open]").count() == 1
        close()
        assert page.locator(".menu[open]").count() == 0


def test_one_score_alone_is_shown(tab):
    page = tab.open("index.html#attribute=race&structure=cup&score=iou")
    heads = page.locator("section.board:visible thead th:visible .name").all_text_contents()
    assert heads == ["Rank", "Method", "IoU", "ES-IoU (sum)", "Training"]


def test_side_by_side_says_who_is_told_apart(tab):
    page = tab.open("index.html#attribute=race&structure=cup&compare=erm+groupdro")
    dialog = page.get_by_role("dialog")
    (line,) = [row for row in dialog.locator("tbody tr").all() if "Told apart?" in row.text_content()]
    assert line.locator("td").all_text_contents() == ["from none of these"] * 2
    dialog.get_by_role("button", name="Close").click()
    assert page.locator("[name=pick]:checked").count() == 2 * page.locator("section.board").count()


BROKEN = """() => {
    document.querySelectorAll("details").forEach(details => (details.open = true));
    const broken = [], range = document.createRange();
    for (const cell of document.querySelectorAll("td, th")) {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            for (const number of texts.currentNode.data.matchAll(/[+\u2212-]?\\d[\\d.]*/g)) {
                range.setStart(texts.currentNode, number.index);
                range.setEnd(texts.currentNode, number.index + number[0].length);
                const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
                if (lines.size > 1) broken.push(number[0]);
            }
        }
    }
    return broken;
}"""


@pytest.mark.parametrize("path", [*PAGES, "index.html#whatif=race-cup", "index.html#compare=erm+groupdro"])
def test_no_number_breaks_on_a_phone_and_only_tables_scroll(new_tab, site, path):
    page = new_tab(site.out.as_uri(), viewport={"width": 360, "height": 740}).open(path)
    if "whatif" in path:
        page.locator(".whatif td").first.wait_for()
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 1400])
def test_the_tables_head_is_no_taller_than_its_words(new_tab, site, width):
    page = new_tab(site.out.as_uri(), viewport={"width": width, "height": 900}).open()
    for head in page.locator("section.board:visible thead").all():
        assert head.bounding_box()["height"] < 100


def test_a_phone_sees_badges_no_wider_than_itself(new_tab, site):
    page = new_tab(site.out.as_uri(), viewport={"width": 360, "height": 740}).open("quick/erm.html")
    page.get_by_text("Badges for a README").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_tables_of_several_sections_are_one_csv_with_one_header(tab, site):
    page = tab.open("index.html#es=worst&seeds=1&attribute=all&structure=all&whatif=race-cup")
    page.locator(".whatif .own").first.wait_for()
    lines = pd.read_csv(io.StringIO(taken(page, "CSV")))
    methods = len(site.world.methods)
    assert len(lines) == (2 * 2 + 1) * methods
    own = lines[lines["choices"] != "the board's"].set_index("method")
    assert own["choices"].unique().tolist() == ["Dice; worst group; seeds 1"]
    # adv failed on seed 1.
    assert own.loc["adv", "status"] == "no finished trial of the seeds counted"
    assert own["Score"].isna().sum() == 1
    assert own["Score: low"].notna().sum() == methods - 1


def test_latex_says_what_is_not_a_finished_run_of_this_board(tab):
    page = tab.open("index.html#attribute=race&structure=cup")
    text = taken(page, "LaTeX table (booktabs)")
    assert "Adversarial representation (1 of 2 seeds, 1 failed, run here)" in text
    assert "p = " in text
    assert not set("\u2212–†|") & set(text.replace("$|$", ""))


def test_the_json_names_its_columns(tab):
    page = tab.open("index.html#attribute=race&structure=cup&search=groupdro")
    (table,) = json.loads(taken(page, "JSON"))["tables"]
    assert table["columns"]["group-0"] == "Dice, Asian"
    (row,) = table["rows"]
    assert row["cells"].keys() == table["columns"].keys()
    assert row["cells"]["versus"].keys() >= {"value"}


def test_a_link_to_a_comparison_ticks_its_methods_alone(tab):
    page = tab.open("index.html#attribute=race&structure=cup&compare=erm+groupdro")
    page.evaluate("location.hash = location.hash.replace('groupdro', 'febs')")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("error-bound").first.wait_for()
    page.mouse.click(2, 2)  # beside it
    dialog.wait_for(state="hidden")
    ticked = page.locator("section[id='race-cup'] [name=pick]:checked").evaluate_all(
        "b => b.map(x => x.value)"
    )
    assert sorted(ticked) == ["erm", "febs"]


@pytest.mark.parametrize("compare", ["%25E0%25A4%25A+erm", "nobody+erm"])
def test_a_comparison_of_unknown_methods_shows_the_board(tab, compare):
    page = tab.open(f"index.html#attribute=race&structure=cup&compare={compare}")
    assert page.get_by_role("dialog").count() == 0
    assert len(tab.methods()) == 4
