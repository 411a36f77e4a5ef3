"""A column is declared once and shown wherever its declaration says."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from make_records import World, make_site

from leaderboard.compute import columns
from leaderboard.compute.column import Column
from leaderboard.compute.metrics import DICE, Definition
from leaderboard.write import rendering

ADDED = Column(
    "spread",
    "Spread of Dice",
    "standard deviation over groups",
    lambda row: row.number("dice", "spread"),
    metric=DICE,
    on_method=45,
    defined=Definition(95, "σ<sub>g</sub>", "How far the groups lie apart.", "nobody"),
)


class Tables(HTMLParser):
    """The tables of scores on a page: heads by key or position, and each row's cells."""

    def __init__(self, text):
        super().__init__()
        self.heads, self.rows, self._in = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "table":
            self._in = "scores" in found.get("class", "").split()
        elif self._in and tag == "th" and found.get("scope") == "col":
            self.heads.append(found)
        elif self._in and tag == "tr":
            self.rows.append((found, []))
        elif self._in and tag in ("td", "th"):
            self.rows[-1][1].append(found)


@pytest.fixture(scope="module")
def wider(tmp_path_factory):
    world = World(methods=("erm", "febs"), attributes=("race",), structures=("cup",), samples=120)
    with pytest.MonkeyPatch.context() as patch:
        shown = list(columns.COLUMNS)
        shown.insert([column.key for column in shown].index("versus"), ADDED)
        patch.setattr(columns, "COLUMNS", tuple(shown))
        return make_site(tmp_path_factory.mktemp("wider"), world)


def spread_in_the_export(site):
    (section,) = json.loads(site.page("leaderboard.json"))["protocols"][0]["sections"]
    return {m["method"]: m["scores"]["dice"]["spread"]["estimate"] for m in section["methods"]}


def test_a_declared_column_stands_in_the_table_before_the_one_it_was_put_before(wider):
    table = Tables(wider.page("index.html"))
    keys = [head["data-key"] for head in table.heads]
    at = keys.index("spread")
    assert keys[at + 1] == "versus"
    assert table.heads[at]["data-metric"] == "dice"
    shown = {row["data-method"]: float(cells[at]["data-v"]) for row, cells in table.rows[1:]}
    assert shown == pytest.approx(spread_in_the_export(wider), rel=1e-5)


def test_a_declared_column_is_in_the_menu_on_the_methods_page_and_among_the_definitions(wider):
    menu = '<input type="checkbox" name="column" value="spread"> Spread of Dice</label>'
    assert menu in wider.page("index.html")
    page = wider.page("quick/febs.html")
    heads = page[
        page.index('<th scope="col">Structure</th>') : page.index("</thead>", page.index("Structure"))
    ]
    at = [heads.index(f">{name}") for name in ("Dice</th>", "Spread of Dice</th>", "Dice, Asian", "Gap</th>")]
    assert at == sorted(at)
    assert f"<b>{spread_in_the_export(wider)['febs']:.3f}</b>" in page
    defined = wider.page("quick/protocol.html")
    row = '<tr><th scope="row">Spread of Dice</th>\n<td class="formula">σ<sub>g</sub></td>'
    assert defined.index("ES-Dice (std)</th>") < defined.index(row) < defined.index("Worst group</th>")


def test_no_two_columns_have_one_key_or_one_place():
    keys = [column.key for column in columns.COLUMNS]
    on_method = [column.on_method for column in columns.COLUMNS if column.on_method is not None]
    defined = [definition.place for _, definition in columns.definitions()]
    for found in (keys, on_method, defined, [fact.key for fact in columns.facts()]):
        assert len(set(found)) == len(found)


def test_every_kind_of_cell_has_its_macro_and_every_bare_number_its_value():
    macros = (
        rendering.environment().get_template("table.html.j2").make_module({"page": None, "root": ""}).cells
    )
    # The name stands first in its row, and has what is said once for all rows beside it.
    assert {column.cell for column in columns.COLUMNS} == {"method", *macros}
    assert all(column.value for column in columns.COLUMNS if column.cell == "number")


def test_each_fact_of_a_column_is_in_the_schema_with_what_it_says_and_in_every_row(small):
    schema = json.loads(small.page("leaderboard.schema.json"))["$defs"]["MethodResult"]
    export = json.loads(small.page("leaderboard.json"))
    rows = [m for section in export["protocols"][0]["sections"] for m in section["methods"]]
    assert columns.facts()
    for fact in columns.facts():
        assert schema["properties"][fact.key].get("description") == fact.description
        assert (fact.key in schema["required"]) != fact.later
        assert all(fact.key in row for row in rows)


def test_the_numbers_of_the_table_are_those_of_the_export(small):
    table, export = Tables(small.page("index.html")), json.loads(small.page("leaderboard.json"))
    keys = [head["data-key"] for head in table.heads]
    keys = keys[: keys.index("cost") + 1]
    rows = [m for section in export["protocols"][0]["sections"] for m in section["methods"]]
    body = [(row, cells) for row, cells in table.rows if "data-method" in row]
    assert [row["data-method"] for row, _ in body] == [m["method"] for m in rows]
    quantities = {
        "es_sum": ("dice", "es_sum"), "gap": ("dice", "gap"), "dice": ("dice", "overall"),
        "worst": ("dice", "worst_group"), "iou": ("iou", "overall"), "es_iou": ("iou", "es_sum"),
        "es_std": ("dice", "es_std"), "hd95": ("hd95", "overall"), "hd95_gap": ("hd95", "gap"),
    }  # fmt: skip
    for (_, cells), row in zip(body, rows, strict=True):
        for key, (metric, quantity) in quantities.items():
            shown = cells[keys.index(key)]
            value = row["scores"].get(metric, {}).get(quantity)
            assert (shown["data-v"] == "") == (value is None)
            if value is not None:
                assert float(shown["data-v"]) == pytest.approx(value["estimate"], rel=1e-5)
                assert float(shown["data-high"]) == pytest.approx(value["high"], rel=1e-5)
