"""The explorer of test cases on a method's page: by mouse and by keyboard, in numbers and in pictures."""

from __future__ import annotations

import re

import pytest

from leaderboard.read import boards

pytestmark = pytest.mark.browser

SEEN = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 256, 256).data].filter(v => v > 0).length"


@pytest.fixture
def panel(new_tab, server):
    """The first scatter of a method's page, and the panel in which its cases appear."""
    page = new_tab(server).open("quick/groupdro.html")
    return page.locator("svg.scatter").first, page.locator(".case").first


def numbers(text: str, method: str) -> list[float]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{method}\t"))
    return [float(number) for number in re.findall(r"\d\.\d{3}", line)]


def case_in(text: str) -> int:
    return int(re.match(r"Case (\d+),", text)[1]) - 1


def test_the_keyboard_goes_from_case_to_case_and_opens_one_with_its_numbers(panel, site):
    scatter, case = panel
    scatter.focus()
    for key in ("Home", "ArrowRight", "Enter"):
        scatter.page.keyboard.press(key)
    case.locator("table").wait_for()
    text = case.inner_text()
    (board,) = boards.of_store(site.runs)
    for method, title in (("groupdro", "GroupDRO"), ("erm", "Empirical risk minimisation")):
        wanted = board.matrix(method, "race", "cup", "dice")[:, case_in(text)]
        assert numbers(text, title) == pytest.approx([wanted.mean(), *wanted], abs=0.0011)


def test_a_click_opens_the_nearest_case_with_its_picture_and_a_line_that_moves(panel):
    scatter, case = panel
    point = scatter.locator("use[data-case]").nth(7)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    scatter.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    canvas = case.locator("canvas")
    canvas.nth(1).wait_for()
    shown = scatter.locator("use.shown title").evaluate_all("titles => titles.map(one => one.textContent)")
    assert case.locator("h4").inner_text().lower() in [title.lower() for title in shown]
    before = canvas.first.evaluate("canvas => canvas.toDataURL()")
    case.get_by_role("slider").fill("10")
    assert canvas.first.evaluate("canvas => canvas.toDataURL()") != before
    assert canvas.first.evaluate(SEEN) > 0


def test_another_method_is_put_beside(panel):
    scatter, case = panel
    scatter.focus()
    for key in ("End", "Enter"):
        scatter.page.keyboard.press(key)
    case.get_by_label("Beside it").select_option("febs")
    case.locator("canvas").nth(2).wait_for()
    assert case.locator("tbody tr").count() == 3
