import re

import numpy as np
import pytest
from make_records import World, make_site

from harness import equity
from harness.equity import intervals
from leaderboard.compute import sections
from leaderboard.read import boards

pytestmark = pytest.mark.browser

RANK = """async ([section, changes]) => {
    const found = await Board.scores.get(section, document.getElementById(section).dataset.scores);
    const choice = {...Board.equity.preset(found), ...changes};
    return Board.equity.rank(found, choice).rows.map(row => [row.method, row.score, row.overall, row.groups]);
}"""


@pytest.fixture(scope="module")
def close(tmp_path_factory):
    """Two methods: adv is equal for all groups but worse for the others than erm."""
    world = World(
        methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0, 1, 2, 3), samples=300,
        gaps={"erm": 0.2, "adv": 0.0}, quality={"adv": -0.15}, noise=0.05,
    )  # fmt: skip
    return make_site(tmp_path_factory.mktemp("close"), world)


def by_hand(
    site, method, metric="dice", seeds=(0, 1, 2, 3), groups=None, without="", definition=equity.es_sum
):
    """The same number from the records with harness.equity's own definitions."""
    (board,) = boards.of_store(site.runs)
    kept = (board.test["race"] != without).to_numpy(bool)
    race = board.test["race"].replace(groups or {})[kept]
    scores = board.matrix(method, "race", "cup", metric)[list(seeds)].mean(axis=0)[kept]
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
        ({"groups": [0, -2, 2]}, {"without": "Black"}),
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
    methods, sums, worst = page.evaluate(
        "async () => { const { scores } = document.getElementById('race-cup').dataset;"
        " const d = await Board.scores.get('race-cup', scores);"
        "const {preset, resample} = Board.equity;"
        "return [d.methods, resample(d, preset(d)), resample(d, {...preset(d), definition: 'worst'})]; }"
    )
    (board,) = boards.of_store(close.runs)
    section = sections.one(board, "race", "cup")
    for quantity, found in (("es_sum", sums), ("worst_group", worst)):
        for method, live in zip(methods, found, strict=True):
            number = section.row(method).number("dice", quantity)
            room = 0.2 * (number.high - number.low)
            assert live["low"] == pytest.approx(number.low, abs=room), (method, quantity)
            assert live["high"] == pytest.approx(number.high, abs=room), (method, quantity)


@pytest.mark.parametrize("pattern", [(0.0, 0.0, 0.0), (0.01, -0.002, -0.02), (0.1, 0.0, -0.05)])
@pytest.mark.parametrize("definition", ["sum", "std"])
def test_the_page_inverts_as_harness_equity_does(new_tab, close, pattern, definition):
    rng = np.random.default_rng(4)
    overall, pattern = 0.8, np.array(pattern)
    groups = overall + pattern + rng.normal(0, (0.02, 0.01, 0.03), (1000, 3))
    centres = overall + 0.01 * rng.standard_normal(1000)
    page = new_tab(close.out.as_uri()).open()
    live = page.evaluate(
        "([definition, overall, groups, deviations, around]) => Board.intervals.invert("
        "(o, g) => Board.equity.score(o, g, definition, 1), overall, groups, deviations, around)",
        [
            definition,
            overall,
            (overall + pattern).tolist(),
            (centres - overall).tolist(),
            (groups - overall - pattern).tolist(),
        ],
    )
    low, high, _ = intervals.invert(
        equity.es_sum if definition == "sum" else equity.es_std,
        np.array([overall]),
        pattern[None],
        (centres - overall)[None],
        (groups - centres[:, None] - pattern).T[None],
        bounded=False,
    )
    assert (live["low"], live["high"]) == pytest.approx((low[0], high[0]), abs=0.01 * (high[0] - low[0]))


def test_a_choice_changes_the_order_and_is_in_the_address(new_tab, close):
    tab = new_tab(close.out.as_uri())
    page = tab.open()
    page.get_by_text("What if it were measured otherwise?").click()
    names = page.locator(".whatif tbody th")
    names.first.wait_for()
    assert names.all_text_contents() == ["Adversarial representation", "Empirical risk minimisation"]
    page.get_by_label(re.compile("^Black ")).select_option("left out altogether")
    page.locator(".whatif .own").first.wait_for(state="attached")
    assert names.all_text_contents() == ["Empirical risk minimisation", "Adversarial representation"]
    ranks = page.locator(".whatif tbody td:first-child")
    assert ranks.all_text_contents() == ["1 up 1 place", "2 down 1 place"]
    assert page.locator(".whatif thead th").first.text_content() == "Rank"
    other = new_tab(close.out.as_uri())
    other.page.goto(page.url)
    other.page.wait_for_selector(".whatif .own")
    assert other.page.locator(".whatif tbody th").first.text_content() == "Empirical risk minimisation"


def test_the_strip_names_the_choices_that_would_change_who_is_first(new_tab, close):
    page = new_tab(close.out.as_uri()).open("index.html#whatif=race-cup")
    turning = page.locator(".chips .turns")
    turning.first.wait_for()
    assert "without Black: Empirical risk minimisation first" in turning.all_text_contents()
    assert by_hand(close, "erm", without="Black") > by_hand(close, "adv", without="Black")
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
    page = tab.open("index.html#whatif=race-cup")
    page.locator(".whatif tbody th").first.wait_for()
    for box in page.locator("[name=pick]").all():
        box.check()
    page.get_by_role("button", name="Compare 2 methods").click()
    # As it was written, but for the sign that would turn the text after it around.
    told = page.get_by_role("dialog").locator("thead").text_content()
    assert HOSTILE.replace("\u202e", " ") in told
    # The site's own badges are images too; a stranger's would be this one.
    for path in sorted(site.out.glob("quick/*.html")):
        assert tab.open(f"quick/{path.name}").locator("img[src='x'], [onerror]").count() == 0


def test_each_panel_opens_and_closes_by_itself_and_the_address_says_which(new_tab, site):
    page = new_tab(site.out.as_uri()).open("index.html#structure=all")
    panels = [page.locator(f"section[id='{name}'] details.whatif") for name in ("race-cup", "race-disc")]
    for panel in panels:
        panel.locator("summary").first.click()
        panel.locator("table").wait_for()
    panels[0].locator("summary").first.click()
    # Not wait_for_function: where it has to ask twice, the page's own policy forbids its eval.
    page.wait_for_url(lambda url: "race-cup" not in url)
    assert [panel.get_attribute("open") is not None for panel in panels] == [False, True]
    again = new_tab(site.out.as_uri())
    again.page.goto(page.url)
    again.page.locator("section[id='race-disc'] .whatif table").wait_for()
    assert again.page.locator(".whatif[open]").count() == 1


def test_a_method_without_the_counted_seeds_is_named_and_not_dropped(new_tab, site):
    page = new_tab(site.out.as_uri()).open("index.html#seeds=1&whatif=race-cup")
    page.locator(".whatif .own").first.wait_for()
    assert "Adversarial representation" not in page.locator(".whatif tbody").first.text_content()
    assert page.get_by_text(
        "Adversarial representation (no finished trial of the seeds counted)"
    ).is_visible()


def test_a_method_that_the_board_does_not_rank_is_named_with_the_reason(new_tab, tmp_path):
    world = World(
        methods=("erm", "adv", "groupdro"), attributes=("race",), structures=("cup",), seeds=(0,),
        samples=160, failed=frozenset({("adv", "race", 0)}),
    )  # fmt: skip
    page = new_tab(make_site(tmp_path, world).out.as_uri()).open("index.html#whatif=race-cup")
    told = page.locator(".whatif p", has_text="Not ranked: ")
    assert "Adversarial representation (not ranked above either: 0 of 1 seed, 1 failed)" in told.inner_text()


def test_fewer_than_two_groups_leave_nothing_to_compare_and_say_so(new_tab, close):
    page = new_tab(close.out.as_uri()).open("index.html#groups.race=0+0+0&whatif=race-cup")
    page.get_by_text("Fewer than two groups are left").wait_for()
    assert page.locator(".whatif table").count() == 0


@pytest.mark.parametrize(("alpha", "used"), [("99", "10"), ("-3", "0"), ("nonsense", "1")])
def test_an_alpha_from_the_address_stays_in_its_range(new_tab, close, alpha, used):
    page = new_tab(close.out.as_uri()).open(f"index.html#alpha={alpha}&whatif=race-cup")
    field = page.get_by_role("spinbutton", name="α")
    field.wait_for()
    assert field.input_value() == used
