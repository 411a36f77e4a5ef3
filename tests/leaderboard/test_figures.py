import ast
import re
from pathlib import Path

import numpy as np
import pytest
from make_records import World, make_site

from harness.store import MethodInfo
from leaderboard.compute import sections
from leaderboard.draw import labels, section
from leaderboard.read import boards
from leaderboard.write import citations

METHODS = Path(__file__).parents[2] / "methods"
TWINS = "A very long title that two methods have in common"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    world = World(
        methods=("erm", "one", "two"), attributes=("race",), structures=("cup",), samples=160,
        info={"one": {"title": TWINS}, "two": {"title": TWINS}},
    )  # fmt: skip
    return make_site(tmp_path_factory.mktemp("figures"), world)


def test_methods_of_the_same_title_stay_two_marks_with_two_names(site):
    (board,) = boards.of_store(site.runs)
    drawn = section.pareto(sections.one(board, "race", "cup")).svg
    assert {"A very long ti… [one]", "A very long ti… [two]"} <= set(re.findall(r">([^<>]+)</text>", drawn))
    said = re.findall(r"<title>([^<]*): Dice 0[.]", drawn)
    assert said.count(TWINS) == 2


def test_a_title_is_cut_only_where_it_is_too_long():
    found = labels.short({"a": "x" * labels.LONGEST, "b": "y" * (labels.LONGEST + 1)})
    assert found == {"a": "x" * labels.LONGEST, "b": "y" * (labels.LONGEST - 1) + "…"}


def axes(points, reverse):
    spec = [{"name": n, "x": x, "y": y, "span": ((x, x), (y, y))} for n, x, y in points]
    x = {"field": "x", "scale": {"zero": False}}
    y = {"field": "y", "scale": {"zero": False, "reverse": reverse}}
    return spec, labels.framed(spec, x, 0), labels.framed(spec, y, 1)


def pixel(value, encoding, size, up):
    low, high = encoding["scale"]["domain"]
    along = (value - low) / (high - low)
    return size * (1 - along if up else along)


@pytest.mark.parametrize("reverse", [True, False])
def test_names_of_crowded_points_lie_neither_on_one_another_nor_on_a_point(reverse):
    rng = np.random.default_rng(0)
    points = [(f"method {i:02}", *rng.normal(0.7, 0.01, 2)) for i in range(12)]
    spec, x, y = axes(points, reverse)
    *_, text = labels.names(spec, x, y)
    boxes = []
    for one in text["data"]["values"]:
        left = pixel(one["across"], x, labels.WIDTH, up=False)
        base = pixel(one["down"], y, labels.HEIGHT, up=not reverse)
        width = 6 * len(one["name"])
        start = left if one["side"] > 0 else left - width
        boxes.append((start, base - 9, start + width, base))
    assert len(boxes) >= 10
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
        for _, x_value, y_value in points:
            at = pixel(x_value, x, labels.WIDTH, False), pixel(y_value, y, labels.HEIGHT, not reverse)
            assert not (one[0] < at[0] < one[2] and one[1] < at[1] < one[3])


def test_no_mark_sits_on_the_frame():
    _, x, y = axes([("a", 0.5, 0.1), ("b", 0.9, 0.3)], reverse=True)
    assert x["scale"]["domain"][0] < 0.5 < 0.9 < x["scale"]["domain"][1]
    assert y["scale"]["domain"][0] < 0.1 < 0.3 < y["scale"]["domain"][1]
    _, x, _ = axes([("a", 0.5, 0.1)], reverse=True)
    assert x["scale"]["domain"][0] < 0.5 < x["scale"]["domain"][1]


def test_the_table_across_says_each_methods_range_under_every_attribute(tmp_path):
    world = World(methods=("erm", "adv", "febs"), structures=("cup", "disc"), samples=120)
    site = make_site(tmp_path, world)
    (board,) = boards.of_store(site.runs)
    page = site.page("index.html")
    table = page[page.index('id="across"') :].partition("</table>")[0]
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in table.split("<tr>")[2:]]
    views = [(attribute, structure) for attribute in ("race", "gender") for structure in ("cup", "disc")]
    for at, view in enumerate(views):
        for row in sections.one(board, *view).ranked:
            low, high = row.rank_low, row.rank_high
            (line,) = (cells for cells in rows if " ".join(cells).startswith(row.title))
            assert line[at - len(views)] == (str(low) if low == high else f"{low}–{high}"), (view, row.method)
    assert page.count("<figure", page.index('id="across"')) == 1


def test_a_badge_says_how_sure_its_number_is(site):
    (board,) = boards.of_store(site.runs)
    row = sections.one(board, "race", "cup").row("erm")
    number = row.number("dice", "es_sum")
    badge = site.page("quick/badges/erm-race.svg")
    assert f"{number.value:.3f} ({number.low:.3f} to {number.high:.3f}) · rank" in badge
    assert f"rank {row.rank_low}–{row.rank_high} of 3" in badge or f"rank {row.rank_low} of 3" in badge


def test_a_badge_says_self_reported_and_partial(tmp_path):
    world = World(
        methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0, 1), samples=120,
        missing=frozenset({("adv", "race", 1)}), obtained={("adv", 0): "reported"},
    )  # fmt: skip
    site = make_site(tmp_path, world)
    assert " of 2 · self-reported · partial</title>" in site.page("quick/badges/adv-race.svg")
    assert re.search(r" of 2</title>", site.page("quick/badges/erm-race.svg"))


def entry(name="m", **info):
    about = {"title": "T", "authors": "", "paper": "P, 2024", "url": "", "licence": ""} | info
    return citations.of_method(MethodInfo(name=name, hyper_parameters={}, defaults={}, **about))


def test_no_two_methods_share_a_key_and_no_key_depends_on_the_others():
    names = ["a b", "a-b", "A-B", "a_b", "equity-leaderboard-quick"]
    keys = [re.match(r"@misc{([a-z0-9_-]+),", entry(name))[1] for name in names]
    assert len({*keys, "equity-leaderboard-quick"}) == len(names) + 1
    assert keys[1] == "a-b"


@pytest.mark.parametrize("told", ["A Bo, C Do, E Fo", "A Bo, C Do and E Fo", "A Bo, C Do, and E Fo"])
def test_a_list_of_authors_is_joined_by_and(told):
    assert "  author = {A Bo and C Do and E Fo},\n" in entry(authors=told)


def test_a_papers_entry_has_its_year_its_authors_and_an_address_that_is_safe():
    text = entry(
        authors="Ann A. Ager, Bo Böe", paper="Fair & 100% just, ICLR 2024", url="https://a.org/x_1#y"
    )
    assert text == (
        "@inproceedings{m,\n  title = {Fair \\& 100\\% just},\n  author = {Ann A. Ager and Bo Böe},\n"
        "  booktitle = {ICLR},\n  year = {2024},\n  url = {https://a.org/x_1#y},\n}\n"
    )


@pytest.mark.parametrize(
    ("paper", "kind", "title", "venue"),
    [
        ("Fair, and just, ICML 2021", "inproceedings", "Fair, and just", "  booktitle = {ICML},\n"),
        ("A, NIPS Deep Learning Workshop 2014", "inproceedings", "A", "{NIPS Deep Learning Workshop}"),
        (
            "A, IEEE Transactions 2024",
            "article",
            "A",
            "{IEEE Transactions}",
        ),
        ("A, Medical Image Analysis 2020", "article", "A", "  journal = {Medical Image Analysis},\n"),
        ("A, arXiv 2023", "misc", "A", "  howpublished = {arXiv},\n"),
        ("FairVision: Equitable, 2024", "misc", "FairVision: Equitable, 2024", ""),
        ("Fair, just and tidy 2024", "misc", "Fair, just and tidy 2024", ""),
        ("ICML 2021", "misc", "ICML 2021", ""),
        ("unpublished", "misc", "unpublished", ""),
    ],
)
def test_an_entry_is_of_the_kind_of_its_venue(paper, kind, title, venue):
    text = entry(paper=paper)
    assert text.startswith(f"@{kind}{{m,\n  title = {{{title}}},\n")
    assert venue in text
    assert ("booktitle" in text, "journal" in text) == (kind == "inproceedings", kind == "article")


def test_every_method_here_with_a_venue_is_cited_by_it():
    papers = {
        path.stem: ast.literal_eval(node.value)
        for path in METHODS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "paper"
    }
    assert len(papers) > 15
    # FairVision has appeared nowhere but as a preprint, which its card does not say.
    assert {name for name, paper in papers.items() if entry(paper=paper).startswith("@misc")} == {"fis"}


@pytest.mark.parametrize("told", ["{", "}", "} @misc{x, title = {y}", "\\{{"])
def test_braces_in_a_title_cannot_end_or_swallow_an_entry(told):
    # BibTeX ends a field where the count of braces is back at its start, whatever stands before a brace.
    depth, below = 0, []
    for character in entry(paper=told, authors=told).rstrip("\n"):
        depth += {"{": 1, "}": -1}.get(character, 0)
        below.append(depth)
    assert below[-1] == 0
    assert below.count(0) == len("@misc") + 1


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a.org/}\\input{x}", "data:text/html,x"])
def test_no_other_address_gets_into_bibtex(url):
    assert "url" not in entry(url=url)


def test_the_boards_own_entry_has_the_year_of_its_newest_trial(site):
    (board,) = boards.of_store(site.runs)
    newest = max(r.finished for e in board.entries.values() for r in e.done("race"))
    own = citations.of_board(board)["bibtex"]
    assert own.startswith("@misc{equity-leaderboard-quick,")
    assert f"  year = {{{newest[:4]}}},\n" in own
