import re

import numpy as np
import pytest
from make_records import World, make_site

from harness import equity
from leaderboard import data, tables

pytestmark = pytest.mark.browser

RANK = """async ([section, changes]) => {
    const found = await Scores.get(document.getElementById(section));
    const choice = {...Equity.preset(found), ...changes};
    return Equity.rank(found, choice).rows.map(row => [row.method, row.score, row.overall, row.groups]);
}"""


@pytest.fixture(scope="module")
def close(tmp_path_factory):
    """Two methods: adv is equal for all groups but worse for the others than erm."""
    world = World(
        methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0, 1, 2, 3), samples=300,
        gaps={"erm": 0.2, "adv": 0.0}, quality={"adv": -0.15}, noise=0.05,
    )  # fmt: skip
    return make_site(tmp_path_factory.mktemp("close"), world)


def by_hand(site, method, metric="dice", seeds=(0, 1, 2, 3), groups=None, definition=equity.es_sum):
    """The same number from the records with harness.equity's own definitions."""
    (board,) = data.load(site.runs)
    race = board.test["race"].replace(groups or {})
    scores = board.matrix(method, "race", "cup", metric)[list(seeds)].mean(axis=0)
    means = np.array([scores[(race == g).to_numpy(bool)].mean() for g in race.dropna().unique()])
    return float(definition(scores.mean(), means))


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        ({"definition": "std"}, {"definition": equity.es_std}),
        ({"metric": "iou"}, {"metric": "iou"}),
        ({"metric": "nsd"}, {"metric": "nsd"}),
        ({"seeds": [1, 3]}, {"seeds": (1, 3)}),
        ({"groups": [0, 1, 0]}, {"groups": {"White": "Asian"}}),
        ({"groups": [0, -1, 2]}, {"groups": {"Black": None}}),
        ({"definition": "worst"}, {"definition": lambda overall, groups: groups.min()}),
    ],
)
def test_the_page_computes_what_harness_equity_computes(new_tab, close, changes, options):
    tab = new_tab(close.out.as_uri())
    rows = tab.open().evaluate(RANK, ["race-cup", changes])
    assert len(rows) == 2
    for method, score, *_ in rows:
        # Scores travel in steps of 1/2000.
        assert score == pytest.approx(by_hand(close, method, **options), abs=2e-4)


def test_alpha_scales_the_penalty(new_tab, close):
    page = new_tab(close.out.as_uri()).open()
    for alpha in (0.0, 0.5, 3.0):
        for _, score, overall, groups in page.evaluate(RANK, ["race-cup", {"alpha": alpha}]):
            assert score == pytest.approx(overall / (1 + alpha * sum(abs(g - overall) for g in groups)))


def test_live_intervals_are_close_to_the_boards(new_tab, close):
    page = new_tab(close.out.as_uri()).open()
    draws = page.evaluate(
        "async () => { const d = await Scores.get(document.getElementById('race-cup'));"
        "return [d.methods, Equity.resample(d, Equity.preset(d))]; }"
    )
    (board,) = data.load(close.runs)
    section = tables.section(board, "race", "cup")
    for method, live in zip(*draws, strict=True):
        number = section.row(method).number("dice", "es_sum")
        assert live["low"] == pytest.approx(number.low, abs=0.02)
        assert live["high"] == pytest.approx(number.high, abs=0.02)


def test_a_choice_changes_the_order_and_is_in_the_address(new_tab, close):
    tab = new_tab(close.out.as_uri())
    page = tab.open()
    page.get_by_text("What if it were measured otherwise?").click()
    names = page.locator(".whatif tbody th")
    names.first.wait_for()
    assert names.all_text_contents() == ["Adversarial representation", "Empirical risk minimisation"]
    page.get_by_label(re.compile("^Black ")).select_option("left out")
    page.wait_for_function("document.querySelector('.whatif .own')")
    assert names.all_text_contents() == ["Empirical risk minimisation", "Adversarial representation"]
    other = new_tab(close.out.as_uri())
    other.page.goto(page.url)
    other.page.wait_for_selector(".whatif .own")
    assert other.page.locator(".whatif tbody th").first.text_content() == "Empirical risk minimisation"


def test_the_strip_names_the_choices_that_would_change_who_is_first(new_tab, close):
    page = new_tab(close.out.as_uri()).open("index.html#whatif=yes")
    turning = page.locator(".chips .turns")
    turning.first.wait_for()
    assert "without Black: Empirical risk minimisation first" in turning.all_text_contents()
    assert by_hand(close, "erm", groups={"Black": None}) > by_hand(close, "adv", groups={"Black": None})
    assert by_hand(close, "erm") < by_hand(close, "adv")


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>‮drol'


def test_strangers_names_run_no_script_anywhere(new_tab, tmp_path):
    world = World(
        methods=("erm", HOSTILE), attributes=("race",), structures=("cup",), seeds=(0,), samples=160,
        info={HOSTILE: {"title": HOSTILE, "paper": HOSTILE, "url": "javascript:alert(3)", "source": HOSTILE}},
    )  # fmt: skip
    site = make_site(tmp_path, world)
    tab = new_tab(site.out.as_uri())
    tab.page.on("dialog", lambda dialog: tab.errors.append(f"dialog {dialog.message}"))
    page = tab.open("index.html#whatif=yes")
    page.locator(".whatif tbody th").first.wait_for()
    for box in page.locator("[name=pick]").all():
        box.check()
    page.get_by_role("button", name="Compare 2 methods").click()
    assert HOSTILE in page.get_by_role("dialog").locator("thead").text_content()
    # The site's own badges are images too; a stranger's would be this one.
    for path in sorted(site.out.glob("quick/*.html")):
        assert tab.open(f"quick/{path.name}").locator("img[src='x'], [onerror]").count() == 0
