"""Results -> pages: every HTML file of the site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from harness.equity import MIN_PATIENTS
from harness.store import Store
from leaderboard import draw
from leaderboard.compute import anatomy, columns, controls, facts, seeds, words
from leaderboard.compute.metrics import METRICS
from leaderboard.compute.results import Result
from leaderboard.compute.sections import Section
from leaderboard.draw.cases import Gallery
from leaderboard.read import reported
from leaderboard.read.boards import Entry
from leaderboard.write import citations, payload
from leaderboard.write.addresses import BoardPage, slug, web_address

TEMPLATES = Path(__file__).parents[1] / "templates"

PAGES_AT_ONCE = 100
"""Methods' pages that one process of a large site writes before it takes more."""


def tasks(store: Store, folder: Path, results: Sequence[Result], images: bool) -> list[Callable[[], None]]:
    """Return what writes all pages and pictures of the site into `folder`, in parts for any order."""
    built = [_page(store, folder, result, images, len(results) == 1) for result in results]
    env = environment()
    parts: list[Callable[[], None]] = []
    for page in built:
        parts.append(partial(_write_tables, env, folder, page, built))
        parts.append(partial(_write_board, env, folder, page))
        entries = list(page.board.entries.values())
        for first in range(0, len(entries), PAGES_AT_ONCE):
            some = entries[first : first + PAGES_AT_ONCE]
            parts.append(partial(_write_methods, env, store, folder, page, some))
    if len(built) > 1:
        parts.append(partial(_render, env, "overview.html.j2", folder / "index.html", pages=built, root=""))
    return parts


def environment() -> jinja2.Environment:
    """Return the templates, everything put into them escaped."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["w"] = words
    env.globals["c"] = columns
    env.globals["METRICS"] = METRICS
    env.globals["across_figures"] = draw.across.of_across
    env.globals["web_address"] = web_address
    return env


def _page(store: Store, folder: Path, result: Result, images: bool, single: bool) -> BoardPage:
    board = result.board
    gallery = Gallery(board, store, folder, f"{slug(board.name)}/images") if images else None
    shown = gallery if gallery is not None and gallery.allowed else None
    url = "index.html" if single else f"{slug(board.name)}.html"
    quoted = tuple(row for row in reported.of_runs(store.root) if row.protocol == board.name)
    return BoardPage(result, shown, url, quoted)


def _write_board(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    _write_scores(folder, page)
    _render(env, "protocol.html.j2", folder / page.protocol_url, root="../", **_protocol_values(page))
    if page.gallery:
        cases = {a: page.gallery.across_methods(a) for a in page.board.attributes}
        _render(env, "cases.html.j2", folder / page.cases_url, page=page, cases=cases, root="../")


def _write_methods(
    env: jinja2.Environment, store: Store, folder: Path, page: BoardPage, entries: Sequence[Entry]
) -> None:
    for entry in entries:
        path = folder / page.method_url(entry.name)
        _render(env, "method.html.j2", path, root="../", **_method_values(store, page, entry))
        _write_badges(env, folder, page, entry)


def _write_badges(env: jinja2.Environment, folder: Path, page: BoardPage, entry: Entry) -> None:
    for section in page.sections:
        row = section.row(entry.name)
        if section.structure == page.board.structures[0] and row.rank is not None:
            label = f"ES-Dice {section.structure}, {section.attribute}"
            es = row.number("dice", "es_sum")
            parts = [
                f"{words.number(es.value)} ({words.interval(es)})",
                f"rank {words.rank(row)} of {len(section.ranked)}",
                *(["self-reported"] if row.obtained == "reported" else []),
                *(["partial"] if row.status != "done" else []),
            ]
            text = " · ".join(parts)
            width = {"left": 12 + 6 * len(label), "right": 12 + 6 * len(text)}
            path = folder / page.badge_url(entry.name, section.attribute)
            _render(env, "badge.svg.j2", path, label=label, text=text, **width)


def _write_scores(folder: Path, page: BoardPage) -> None:
    for section in page.sections:
        if section.ranked:
            payload.write(folder / page.scores_url(section), page.board, section)


def _write_tables(env: jinja2.Environment, folder: Path, page: BoardPage, built: list[BoardPage]) -> None:
    parts = [page.sections] if page.whole else [[section] for section in page.sections]
    for shown in parts:
        url = page.section_url(shown[0]).partition("#")[0]
        root = "../" * url.count("/")
        others = [] if page.whole else [section for section in page.sections if section is not shown[0]]
        values = {
            "page": page,
            "pages": built,
            "shown": shown,
            "elsewhere": {f"{s.attribute}/{s.structure}": root + page.section_url(s) for s in others},
            "drawn": [draw.section.of_section(section) for section in shown],
            "stable": [page.result.stable(section) for section in shown],
            "across": page.result.across if shown[0] is page.sections[0] else None,
            "citations": citations.of_board(page.board),
            "root": root,
        }
        _render(env, "board.html.j2", folder / url, **values)


def _protocol_values(page: BoardPage) -> dict[str, Any]:
    board = page.board
    return {
        "page": page,
        "demographics": facts.demographics(board),
        "splits": facts.splits(board),
        "limits": facts.limits(board),
        "command": facts.with_data(board, board.record.command),
        "detectable": facts.detectable(page.sections),
        "fixed": list(facts.flat(board.record.protocol)),
        "environments": facts.environments(board),
        "identity": facts.identity(board),
    }


def _method_values(store: Store, page: BoardPage, entry: Entry) -> dict[str, Any]:
    board = page.board
    ranking = [section for section in page.sections if section.structure == board.structures[0]]
    return {
        "page": page,
        "info": entry.info,
        "address": web_address(entry.info.url),
        "hyper_parameters": facts.hyper_parameters(entry.info),
        "command": facts.command(board, entry.name),
        "standings": [(section, section.row(entry.name)) for section in ranking],
        "attributes": [_by_attribute(store, page, entry, section) for section in ranking],
        "min_patients": MIN_PATIENTS,
        "badges": [
            page.badge_url(entry.name, s.attribute) for s in ranking if s.row(entry.name).rank is not None
        ],
    }


def _by_attribute(store: Store, page: BoardPage, entry: Entry, first: Section) -> dict[str, Any]:
    board, name, attribute = page.board, entry.name, first.attribute
    own = [section for section in page.sections if section.attribute == attribute]
    drawn = not page.result.large and first.row(name).rank is not None
    by_seed = seeds.of_method(board, entry, attribute, first.structure)
    figures = (
        [
            draw.seeds.of_method(first, first.row(name), by_seed),
            draw.curves.of_method(store, board, name, attribute),
            draw.ages.of_method(board, name, attribute),
        ]
        if drawn
        else []
    )
    return {
        "attribute": attribute,
        "sections": own,
        "columns": columns.of_method(first),
        "rows": [section.row(name) for section in own],
        "seeds": by_seed,
        "figures": [figure for figure in figures if figure is not None],
        "controls": controls.of_method(board, name, attribute),
        "anatomy": anatomy.of_method(board, first, name) if drawn else None,
        "crossings": page.result.crossings.get(attribute, {}).get(name, []),
        "cases": page.gallery.of_method(name, attribute) if page.gallery else {},
    }


def _render(env: jinja2.Environment, template: str, path: Path, **values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(env.get_template(template).render(**values), encoding="utf-8")
