"""Tables -> pages: every HTML file of the site."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from harness.equity import MIN_PATIENTS
from harness.store import Store
from leaderboard import (
    across,
    ages,
    anatomy,
    citations,
    controls,
    curves,
    figures,
    intersections,
    pages,
    payload,
    reported,
    stability,
    words,
)
from leaderboard.cases import Gallery
from leaderboard.data import Board, Entry
from leaderboard.figures import Figure
from leaderboard.intersections import Crossing
from leaderboard.reported import Reported
from leaderboard.tables import Section

TEMPLATES = Path(__file__).parent / "templates"

FIGURES_UP_TO = 40
"""Methods on a board whose own pages still get figures and intersections: each takes a tenth of a second."""

ROWS_ON_ONE_PAGE = 600
"""Methods times sections up to which a board is one page; a larger one has a page for each section."""

COLUMNS = (
    ("es_sum", "ES-Dice (sum)"),
    ("gap", "Gap"),
    ("p_best", "First"),
    ("dice", "Dice"),
    ("groups", "Dice of every group"),
    ("worst", "Worst group"),
    ("corrected", "Corrected for noise"),
    ("versus", "Against ERM"),
    ("iou", "IoU"),
    ("es_iou", "ES-IoU (sum)"),
    ("es_std", "ES-Dice (std)"),
    ("hd95", "HD95"),
    ("hd95_gap", "HD95 gap"),
    ("missed", "Missed"),
    ("cost", "Training"),
)
"""The columns that a reader may hide."""

PAGES_AT_ONCE = 100
"""Methods' pages that one process of a large site writes before it takes more."""
_TAKEN = frozenset({"assets", "cases", "index", "leaderboard", "protocol"})


@dataclass(frozen=True)
class BoardPage:
    """A board with its tables and its place on the site; addresses are from the root of the site."""

    board: Board
    sections: list[Section]
    gallery: Gallery | None
    url: str
    reported: tuple[Reported, ...] = ()

    @property
    def folder(self) -> str:
        """Folder of the board's other pages."""
        return slug(self.board.name)

    @property
    def protocol_url(self) -> str:
        """The protocol's page."""
        return f"{self.folder}/protocol.html"

    @property
    def backbone(self) -> str:
        """The backbone and how it is adapted: frozen and LoRA never share a board."""
        spec = self.board.record.protocol["backbone"]
        return f"{spec['name']} ({spec['adapt']})"

    @property
    def cases_url(self) -> str:
        """The page of cases across methods, or nothing where no image may be shown."""
        return f"{self.folder}/cases.html" if self.gallery else ""

    @property
    def whole(self) -> bool:
        """Whether all sections are on the board's own page."""
        return len(self.board.entries) * len(self.sections) <= ROWS_ON_ONE_PAGE

    def section_url(self, section: Section) -> str:
        """Where a section's table is."""
        anchor = f"{section.attribute}-{section.structure}"
        if self.whole or section is self.sections[0]:
            return f"{self.url}#{anchor}"
        return f"{self.folder}/board-{slug(anchor)}.html"

    def reported_in(self, section: Section) -> list[Reported]:
        """What papers report on a section's attribute and structure."""
        here = (section.attribute, section.structure)
        return [row for row in self.reported if (row.attribute, row.structure) == here]

    def badge_url(self, name: str, attribute: str) -> str:
        """A method's badge."""
        return f"{self.folder}/badges/{slug(name)}-{slug(attribute)}.svg"

    def scores_url(self, section: Section) -> str:
        """The script that holds a section's scores by sample."""
        return f"{self.folder}/scores-{slug(f'{section.attribute}-{section.structure}')}.js"

    def method_url(self, name: str) -> str:
        """A method's page."""
        return f"{self.folder}/{slug(name)}.html"


def tasks(
    store: Store, folder: Path, results: Sequence[tuple[Board, list[Section]]], images: bool
) -> list[Callable[[], None]]:
    """Return what writes all pages and pictures of the site into `folder`, in parts for any order."""
    built = [_page(store, folder, board, sections, images, len(results) == 1) for board, sections in results]
    env = environment()
    parts: list[Callable[[], None]] = []
    for page in built:
        parts.append(partial(_write_tables, env, folder, page, built))
        parts.append(partial(_write_board, env, folder, page))
        crossed, entries = _crossings(page.board), list(page.board.entries.values())
        for first in range(0, len(entries), PAGES_AT_ONCE):
            some = entries[first : first + PAGES_AT_ONCE]
            parts.append(partial(_write_methods, env, store, folder, page, some, crossed))
    if len(built) > 1:
        parts.append(partial(_render, env, "overview.html.j2", folder / "index.html", pages=built, root=""))
    return parts


def slug(name: str) -> str:
    """Return a name fit for a file and a link; a name that must change gets a hash of itself."""
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:60]
    if name and safe == name and safe not in _TAKEN:
        return name
    return f"{safe[:40] or 'unnamed'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


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
    env.globals["across_figures"] = figures.of_across
    env.globals["web_address"] = pages.web_address
    return env


def _page(
    store: Store, folder: Path, board: Board, sections: list[Section], images: bool, single: bool
) -> BoardPage:
    gallery = Gallery(board, store, folder, f"{slug(board.name)}/images") if images else None
    shown = gallery if gallery is not None and gallery.allowed else None
    url = "index.html" if single else f"{slug(board.name)}.html"
    quoted = tuple(row for row in reported.load(store.root) if row.protocol == board.name)
    return BoardPage(board, sections, shown, url, quoted)


def _write_board(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    _write_scores(folder, page)
    _render(env, "protocol.html.j2", folder / page.protocol_url, root="../", **_protocol_values(page))
    if page.gallery:
        cases = {a: page.gallery.across_methods(a) for a in page.board.attributes}
        _render(env, "cases.html.j2", folder / page.cases_url, page=page, cases=cases, root="../")


def _write_methods(
    env: jinja2.Environment,
    store: Store,
    folder: Path,
    page: BoardPage,
    entries: Sequence[Entry],
    crossed: dict[str, dict[str, list[Crossing]]],
) -> None:
    for entry in entries:
        path = folder / page.method_url(entry.name)
        _render(env, "method.html.j2", path, root="../", **_method_values(store, page, entry, crossed))
        _write_badges(env, folder, page, entry)


def _crossings(board: Board) -> dict[str, dict[str, list[Crossing]]]:
    if len(board.entries) > FIGURES_UP_TO:
        return {attribute: {} for attribute in board.attributes}
    return {attribute: intersections.crossings(board, attribute) for attribute in board.attributes}


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
            "drawn": [figures.of_section(section) for section in shown],
            "stable": [_stable(page.board, section) for section in shown],
            "across": across.of_board(page.board, page.sections) if shown[0] is page.sections[0] else None,
            "columns": COLUMNS,
            "citations": citations.of_board(page.board),
            "root": root,
        }
        _render(env, "board.html.j2", folder / url, **values)


def _stable(board: Board, section: Section) -> str:
    if len(board.entries) > FIGURES_UP_TO:
        return ""
    found = stability.of_section(board, section)
    return "" if found is None else found.sentence({row.method: row.title for row in section.rows})


def _protocol_values(page: BoardPage) -> dict[str, Any]:
    board = page.board
    return {
        "page": page,
        "demographics": pages.demographics(board),
        "splits": pages.splits(board),
        "limits": pages.limits(board),
        "command": pages.with_data(board, board.record.command),
        "detectable": pages.detectable(page.sections),
        "fixed": list(pages.flat(board.record.protocol)),
        "environments": pages.environments(board),
        "identity": pages.identity(board),
    }


def _method_values(
    store: Store, page: BoardPage, entry: Entry, crossed: dict[str, dict[str, list[Crossing]]]
) -> dict[str, Any]:
    board = page.board
    ranking = [section for section in page.sections if section.structure == board.structures[0]]
    return {
        "page": page,
        "info": entry.info,
        "address": pages.web_address(entry.info.url),
        "hyper_parameters": pages.hyper_parameters(entry.info),
        "command": pages.command(board, entry.name),
        "standings": [(section, section.row(entry.name)) for section in ranking],
        "attributes": [
            _by_attribute(store, page, entry, section)
            | {"crossings": crossed[section.attribute].get(entry.name, [])}
            for section in ranking
        ],
        "min_patients": MIN_PATIENTS,
        "badges": [
            page.badge_url(entry.name, s.attribute) for s in ranking if s.row(entry.name).rank is not None
        ],
    }


def _by_attribute(store: Store, page: BoardPage, entry: Entry, first: Section) -> dict[str, Any]:
    own = [section for section in page.sections if section.attribute == first.attribute]
    seeds = pages.seed_rows(page.board, entry, first.attribute, first.structure)
    drawn: list[Figure | None] = []
    if len(page.board.entries) <= FIGURES_UP_TO and first.row(entry.name).rank is not None:
        drawn.append(figures.seeds(first, first.row(entry.name), seeds))
        drawn.append(curves.of_method(store, page.board, entry.name, first.attribute))
        drawn.append(ages.of_method(page.board, entry.name, first.attribute))
    return {
        "attribute": first.attribute,
        "sections": own,
        "rows": [section.row(entry.name) for section in own],
        "seeds": seeds,
        "figures": [figure for figure in drawn if figure is not None],
        "controls": controls.of_method(page.board, entry.name, first.attribute),
        "anatomy": anatomy.of_method(page.board, first, entry.name) if drawn else None,
        "cases": page.gallery.of_method(entry.name, first.attribute) if page.gallery else {},
    }


def _render(env: jinja2.Environment, template: str, path: Path, **values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(env.get_template(template).render(**values), encoding="utf-8")
