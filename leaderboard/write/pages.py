"""Results -> pages: every HTML file of the site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from harness.store import Store
from leaderboard import draw, kept
from leaderboard.compute import (
    facts,
    presence,
    tracks,
    words,
)
from leaderboard.compute.intersections import Crossing
from leaderboard.compute.results import ACROSS, Result
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.compute.stability import Stability
from leaderboard.draw.cases import Gallery
from leaderboard.draw.inside import Drawn
from leaderboard.draw.parts import Begun, Figure, whole, whole_one
from leaderboard.read import reported
from leaderboard.spared import Spared
from leaderboard.write import citations, explorer, grid, methods, payload, rest
from leaderboard.write.addresses import FIRST_ROWS, BoardPage, Link, slug
from leaderboard.write.overview import Overview
from leaderboard.write.rendering import environment, render

CHOSEN = "“Rank under other choices”"
"""What a page calls that figure where it cannot be drawn."""

PAGES_AT_ONCE = 100
"""Methods' pages that one process of a large site writes before it takes more; of a small one, a page."""


def of_board(store: Store, folder: Path, result: Result, room: int, url: str) -> BoardPage:
    """Return a board with its place on the site, and the pictures of its cases where they are to be shown.

    room: bytes that these may take; 0 for none.
    """
    board = result.board
    whole = partial(Gallery, board, store, folder, f"{slug(board.name)}/images", room, explorer.asked(result))
    gallery = Spared().build(f"the pictures of {board.name}", whole, None) if room else None
    shown = gallery if gallery is not None and gallery.allowed else None
    quoted = tuple(row for row in reported.of_runs(store.root) if row.protocol == board.name)
    return BoardPage(result, shown, url, quoted)


def tasks(
    store: Store,
    folder: Path,
    page: BoardPage,
    links: Sequence[Link],
    unread: Mapping[str, str],
    with_versions: bool = False,
    packed: bool = False,
) -> list[Callable[[], None]]:
    """Return what writes all pages and pictures of a board into `folder`, in parts for any order.

    links: to all boards of the site; unread: boards that there is nothing to show of, with the reason;
    packed: whether the site's data are. A page that cannot be made says so in its place.
    """
    env = environment(with_versions, packed)
    # What takes longest comes first, so that no process is left with it when the others are done.
    parts: list[Callable[[], None]] = [
        *(partial(_write_tables, env, folder, page, links, unread, shown) for shown in page.parts),
        partial(_write_pictures, env, folder, page),
    ]
    # Where pictures are kept, the methods' own pages draw those of the cases too, and their page comes after.
    cases = partial(_write_cases, env, folder, page)
    parts += [] if kept.keeps() else [cases]
    entries = list(page.board.entries.values())
    at_once = PAGES_AT_ONCE if page.result.large else 1
    for first in range(0, len(entries), at_once):
        parts.append(partial(methods.write, env, store, folder, page, entries[first : first + at_once]))
    return [*parts, *([cases] if kept.keeps() else []), partial(_write_board, env, folder, page)]


def write_overview(
    folder: Path,
    found: Sequence[Overview],
    unread: Mapping[str, str],
    with_versions: bool = False,
    packed: bool = False,
) -> None:
    """Write the page of a site of several boards that leads to each."""
    places = grid.places(found)
    values = {"pages": found, "unread": unread, "places": places, "lines": grid.lines(places)}
    render(environment(with_versions, packed), "overview.html.j2", folder / "index.html", "", lambda: values)


def _write_board(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    _write_scores(folder, page)
    render(env, "protocol.html.j2", folder / page.protocol_url, "../", partial(_protocol_values, page))
    if any(page.has_rest(section) for section in page.sections):
        render(env, "methods.html.j2", folder / page.methods_url, "../", lambda: {"page": page})
    cases = explorer.tables(page)
    if cases:
        # Without the file the page says that it cannot be read.
        Spared().build("every test case", partial(explorer.write_board, folder, page), None)
    values = {"page": page, "cases": cases, "left": explorer.left_out(page)}
    render(env, "samples.html.j2", folder / page.samples_url, "../", lambda: values)


def _write_pictures(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    if page.gallery:
        Spared().build("the pictures of single cases", page.gallery.write_explored, None)


def _write_cases(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    if page.gallery:
        path = folder / page.cases_url
        render(env, "cases.html.j2", path, "../", partial(_cases_values, page, page.gallery))


def _cases_values(page: BoardPage, gallery: Gallery) -> dict[str, Any]:
    spared, shown = Spared(), explorer.pictured(page)
    cases: dict[str, Any] = {
        a: spared.build(a, partial(gallery.across_methods, a, shown), {}) for a in page.board.attributes
    }
    of = explorer.first_of(page, len(shown)) if len(shown) < len(page.board.entries) else ""
    left = explorer.left_out(page)
    return {"page": page, "cases": cases, "shown": bool(shown), "of": of, "left": left, "why": spared.why}


def _write_scores(folder: Path, page: BoardPage) -> None:
    for section in page.sections:
        if section.ranked:
            path = folder / page.scores_url(section)
            # Without the file the page's panel of choices says that it cannot be read.
            Spared().build(path.name, partial(payload.write, path, page.board, section), None)


def _write_tables(
    env: jinja2.Environment,
    folder: Path,
    page: BoardPage,
    links: Sequence[Link],
    unread: Mapping[str, str],
    shown: list[Section],
) -> None:
    url = page.section_url(shown[0]).partition("#")[0]
    root = "../" * url.count("/")
    why = [Spared(dict(section.why)) for section in shown]
    inside = [
        one.build("The drawings of the table", partial(draw.inside.of_section, s, i), None)
        for i, (s, one) in enumerate(zip(shown, why, strict=True))
    ]
    for section, drawn in zip(shown, inside, strict=True):
        if page.has_rest(section):
            # Without the file the page says that the other rows cannot be read, and where they are.
            write = partial(_write_rest, env, folder, page, section, drawn, root)
            Spared().build(page.rest_url(section), write, None)
    values = partial(_table_values, page, links, shown, root, unread, inside, why)
    render(env, "board.html.j2", folder / url, root, values)


def _write_rest(
    env: jinja2.Environment, folder: Path, page: BoardPage, section: Section, drawn: Drawn | None, root: str
) -> None:
    """Write the rows of a section that its page lacks, and the citations of their methods."""
    template = env.get_template("rows.html.j2")
    left = section.rows[len(page.first_rows(section)) :]
    values = {"page": page, "section": section, "drawn": drawn, "root": root, "by_script": True}
    parts = [left[i : i + FIRST_ROWS] for i in range(0, len(left), FIRST_ROWS)]
    rows = [template.render(rows=part, **values) for part in parts]
    rest.write(folder / page.rest_url(section), section.anchor, rows, _citations(page, left))


def _cited(page: BoardPage, rows: Sequence[Row]) -> list[dict[str, str]]:
    return [citations.of_board(page.board), *_citations(page, rows)]


def _citations(page: BoardPage, rows: Sequence[Row]) -> list[dict[str, str]]:
    return citations.of_methods(page.board, [row.method for row in rows])


def _table_values(
    page: BoardPage,
    links: Sequence[Link],
    shown: list[Section],
    root: str,
    unread: Mapping[str, str],
    inside: Sequence[Drawn | None],
    why: Sequence[Spared],
) -> dict[str, Any]:
    others = [] if page.whole else [part[0] for part in page.parts if part[0] is not shown[0]]
    first = shown[0] is page.sections[0]
    together = Spared()
    across = page.result.across if first else []
    guarded = list(zip(shown, why, strict=True))
    # They are drawn while all else is put together.
    figures = [together.build("Figure", partial(draw.across.together, one), None) for one in across]
    drawn = [one.build("Figures", partial(_figures, s, one), []) for s, one in guarded]
    first_rows = list({row.method: row for section in shown for row in page.first_rows(section)}.values())
    choices = [one.build("Other choices", partial(page.result.stability, s), None) for s, one in guarded]
    chosen = [
        one.build(CHOSEN, partial(_chosen, s, of), None)
        for (s, one), of in zip(guarded, choices, strict=True)
    ]
    values = {
        "page": page,
        "links": links,
        "unread": unread,
        "shown": shown,
        "elsewhere": {f"{s.attribute}/{s.structure}": root + page.section_url(s) for s in others},
        "inside": inside,
        "by_script": True,
        "choices": choices,
        "present": [
            one.build("Presence", partial(presence.of_section, page.board, s), None) for s, one in guarded
        ],
        "crossed": [_crossed(page, section) for section in shown],
        "across_why": (page.result.why.get(ACROSS, "") if first else "", together.why),
        "obtained": sorted(
            {how for one in page.sections for row in one.rows if (how := words.obtained(row))}
        ),
        "citations": together.build("Citations", partial(_cited, page, first_rows), []),
        "why": [one.why for one in why],
    }
    return values | {
        "drawn": [whole(of, one) for of, one in zip(drawn, why, strict=True)],
        "chosen": [whole_one(CHOSEN, of, one) for of, one in zip(chosen, why, strict=True)],
        "across": [(one, whole_one("Figure", of, together)) for one, of in zip(across, figures, strict=True)],
    }


def _crossed(page: BoardPage, section: Section) -> list[tuple[str, list[tuple[str, Crossing]]]]:
    """Return each other attribute with every method's crossing, for the structure that ranks."""
    if section.structure != page.board.structures[0]:
        return []
    own = page.result.crossings.get(section.attribute, {})
    rows = [row for row in section.ranked if row.method in own]
    others = [crossing.other for crossing in own[rows[0].method]] if rows else []
    return [
        (other, [(row.title, own[row.method][i]) for row in rows if i < len(own[row.method])])
        for i, other in enumerate(others)
    ]


def _figures(section: Section, spared: Spared) -> Begun:
    """Begin a section's figures; one that cannot be drawn costs itself only."""
    makers = [(f"“{name}”", make) for name, make in draw.section.of_section(section)]
    return [(name, spared.build(name, make, None)) for name, make in makers]


def _chosen(section: Section, choices: Stability | None) -> Figure | None:
    """Return the figure of ranks under other choices, None where there are none."""
    there = choices is not None and choices.choices and section.ranked
    return draw.section.of_choices(section, choices) if there and choices is not None else None


def _protocol_values(page: BoardPage) -> dict[str, Any]:
    board, spared = page.board, Spared()
    main = [section for section in page.sections if section.track == tracks.MAIN]
    return {
        "page": page,
        "demographics": spared.build("Who is in it", lambda: facts.demographics(board), {}),
        "splits": facts.splits(board),
        "limits": spared.build("Known limits", lambda: facts.limits(board), []),
        "command": facts.with_data(board, board.record.command),
        "detectable": spared.build("How small a gap this test set shows", lambda: facts.detectable(main), []),
        "fixed": list(facts.flat(board.record.protocol)),
        "environments": spared.build("Where it ran", lambda: facts.environments(board), []),
        "identity": spared.build("What a trial's id is the hash of", lambda: facts.identity(board), []),
        "why": spared.why,
    }
