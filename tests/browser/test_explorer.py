"""The page of every test case: all are there, each is found, and one method stands against another."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboard.read import boards

pytestmark = pytest.mark.browser

PAGE = "quick/samples.html"
SEEN = """canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]
    .filter(v => v).length"""
ROWS = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture
def page(tab):
    return opened(tab)


@pytest.fixture(scope="module")
def board(site):
    (found,) = boards.of_store(site.runs)
    return found


def opened(tab, view: str = ""):
    page = tab.open(PAGE + view)
    page.locator("#cases tbody tr").first.wait_for()
    return page


def said(page, text: str) -> None:
    page.locator("#cases .status", has_text=text).wait_for()


def rows(page) -> list[list[str]]:
    return page.locator("#cases tbody tr").evaluate_all(ROWS)


def dice(board, method: str) -> np.ndarray:
    return np.nanmean(board.matrix(method, "race", "cup", "dice"), axis=0)


def test_all_cases_are_drawn_and_listed_from_the_lowest_dice(page, board):
    said(page, "Shown: 160 cases")
    assert page.locator("#cases canvas").first.evaluate(SEEN) > 160
    first = page.get_by_label("Dice with").input_value()
    wanted = np.sort(dice(board, first))
    assert [float(row[-1]) for row in rows(page)] == pytest.approx(wanted[:25], abs=0.0006)
    page.get_by_role("button", name="Show 100 more").click()
    page.get_by_role("button", name="Show 35 more").click()
    names = [row[0] for row in rows(page)]
    assert len(set(names)) == len(names) == 160


def test_a_case_is_found_by_its_number_and_by_its_name(page, board):
    page.get_by_label("Find a case").fill("case 7")
    said(page, "Shown: 1 of 160 cases")
    ((name, *_),) = rows(page)
    sample = board.test["sample"].astype(str)[6]
    assert name == f"case 7 ({sample})"
    page.get_by_label("Find a case").fill(sample.upper())
    said(page, "Shown: 1 of 160 cases")
    assert rows(page)[0][0] == name
    page.get_by_label("Find a case").fill("no such case")
    said(page, "Shown: 0 of 160 cases")
    assert rows(page) == []


def test_groups_and_scores_choose_the_cases(page, board):
    first = page.get_by_label("Dice with").input_value()
    black = (board.test["race"] == "Black").to_numpy()
    page.get_by_role("checkbox", name="Black").uncheck()
    said(page, f"Shown: {(~black).sum()} of 160 cases")
    page.get_by_label("Dice from").fill("0.7")
    low = dice(board, first) >= 0.7
    said(page, f"Shown: {(~black & low).sum()} of 160 cases")
    # The view is in the address.
    page.reload()
    said(page, f"Shown: {(~black & low).sum()} of 160 cases")
    page.get_by_role("button", name="Reset").click()
    said(page, "Shown: 160 cases")


def test_one_method_stands_against_another(tab, board):
    page = opened(tab, "#table=race-cup&y=groupdro&x=febs&order=worse")
    assert page.locator("#cases canvas").get_attribute("aria-label").startswith("GroupDRO against Fair error")
    mine, other = dice(board, "groupdro"), dice(board, "febs")
    found = [float(row[-1].replace("−", "-")) for row in rows(page)]
    assert found == pytest.approx(np.sort(mine - other)[:25], abs=0.0006)


def test_the_keyboard_opens_a_case_with_its_numbers_and_pictures(tab, board):
    page = opened(tab, "#table=race-cup&y=groupdro&x=febs")
    page.locator("#cases canvas").first.focus()
    for key in ("Home", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    panel = page.locator(".case")
    panel.locator("canvas").nth(2).wait_for()
    case = int(panel.locator("h2").inner_text().split()[1]) - 1
    order = np.lexsort((dice(board, "groupdro"), dice(board, "febs")))
    assert dice(board, "febs")[case] == pytest.approx(dice(board, "febs")[order[1]], abs=0.0006)
    for method, title in (
        ("groupdro", "GroupDRO"),
        ("febs", "Fair error-bound scaling"),
        ("erm", "Empirical"),
    ):
        (line,) = (text for text in panel.locator("tbody tr").all_inner_texts() if text.startswith(title))
        assert float(line.split("\t")[-1]) == pytest.approx(dice(board, method)[case], abs=0.0006)


def test_a_row_leads_to_its_case_and_the_focus_goes_with_it(page):
    page.locator("#cases tbody button").nth(3).click()
    panel = page.locator(".case")
    panel.locator("h2").wait_for()
    name = page.locator("#cases tbody button").nth(3).inner_text()
    assert panel.locator("h2").inner_text().startswith(name.capitalize().split(" (")[0])
    page.wait_for_function("document.activeElement.className === 'case'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_assistive_software(new_tab, site, axe, scheme):
    tab = new_tab(site.out.as_uri(), color_scheme=scheme, bypass_csp=True)
    page = opened(tab, "#table=race-cup&y=groupdro&x=febs&case=5")
    page.locator(".case canvas").first.wait_for()
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {preload: false})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_on_a_phone_nothing_is_wider_than_the_screen(new_tab, site):
    page = opened(new_tab(site.out.as_uri(), viewport={"width": 390, "height": 844}), "#case=5")
    page.locator(".case canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
