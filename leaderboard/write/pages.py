"""Results -> pages: every HTML file of the site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2

from harness.equity import MIN_PATIENTS
from harness.store import Store
from leaderboard import draw, kept
from leaderboard.compute import (
    anatomy,
    columns,
    controls,
    facts,
    presence,
    seeds,
    story,
    tracks,
    verdicts,
    words,
)
from leaderboard.compute.intersections import Crossing
from leaderboard.compute.metrics import METRICS
from leaderboard.compute.results import ACROSS, CROSSINGS, Result
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.compute.stability import Stability
from leaderboard.draw.cases import Case, Gallery
from leaderboard.draw.inside import Drawn
from leaderboard.draw.parts import Figure
from leaderboard.read import reported
from leaderboard.read.boards import Entry, readable
from leaderboard.spared import Spared
from leaderboard.write import citations, explorer, grid, payload, rest
from leaderboard.write.addresses import FIRST_ROWS, BoardPage, Link, slug, web_address
from leaderboard.write.compiled import Compiled
from leaderboard.write.overview import Overview

TEMPLATES = Path(__file__).parents[1] / "templates"

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
        parts.append(partial(_write_methods, env, store, folder, page, entries[first : first + at_once]))
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
    _render(environment(with_versions, packed), "overview.html.j2", folder / "index.html", "", lambda: values)


@cache
def environment(with_versions: bool = False, packed: bool = False) -> jinja2.Environment:
    """Return the templates, compiled once; everything put into them is escaped.

    with_versions: whether the pages link to those of versions; packed: whether the data are packed.
    """
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.bytecode_cache = Compiled(TEMPLATES, env)
    env.globals["w"] = words
    env.globals["v"] = verdicts
    env.globals["newest"] = facts.newest
    env.globals["t"] = tracks
    env.globals["shapes"] = draw.inside.SHAPES
    env.globals["c"] = columns
    env.globals["METRICS"] = METRICS
    env.globals["web_address"] = web_address
    env.globals["min_patients"] = MIN_PATIENTS
    env.globals["readable"] = readable
    env.globals["with_versions"] = with_versions
    env.globals["data_file"] = lambda name: f"{name}.gz" if packed else name
    return env


def _write_board(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    _write_scores(folder, page)
    _render(env, "protocol.html.j2", folder / page.protocol_url, "../", partial(_protocol_values, page))
    if any(page.has_rest(section) for section in page.sections):
        _render(env, "methods.html.j2", folder / page.methods_url, "../", lambda: {"page": page})
    cases = explorer.tables(page)
    if cases:
        # Without the file the page says that it cannot be read.
        Spared().build("every test case", partial(explorer.write_board, folder, page), None)
    values = {"page": page, "cases": cases, "left": explorer.left_out(page)}
    _render(env, "samples.html.j2", folder / page.samples_url, "../", lambda: values)


def _write_pictures(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    if page.gallery:
        Spared().build("the pictures of single cases", page.gallery.write_explored, None)


def _write_cases(env: jinja2.Environment, folder: Path, page: BoardPage) -> None:
    if page.gallery:
        path = folder / page.cases_url
        _render(env, "cases.html.j2", path, "../", partial(_cases_values, page, page.gallery))


def _cases_values(page: BoardPage, gallery: Gallery) -> dict[str, Any]:
    spared, shown = Spared(), explorer.pictured(page)
    cases: dict[str, Any] = {
        a: spared.build(a, partial(gallery.across_methods, a, shown), {}) for a in page.board.attributes
    }
    of = explorer.first_of(page, len(shown)) if len(shown) < len(page.board.entries) else ""
    left = explorer.left_out(page)
    return {"page": page, "cases": cases, "shown": bool(shown), "of": of, "left": left, "why": spared.why}


def _write_methods(
    env: jinja2.Environment, store: Store, folder: Path, page: BoardPage, entries: Sequence[Entry]
) -> None:
    cases, shown, pictured = explorer.tables(page), set(explorer.methods(page)), explorer.pictured(page)
    for entry in entries:
        if entry.name in shown:
            write = partial(explorer.write_method, folder, page, entry.name, cases)
            Spared().build(f"the cases of {entry.name}", write, None)
        path = folder / page.method_url(entry.name)
        values = partial(_method_values, env, store, folder, page, entry, pictured)
        _render(env, "method.html.j2", path, "../", values)


def _badges(env: jinja2.Environment, folder: Path, page: BoardPage, entry: Entry) -> list[str]:
    """Write a method's badges and return their addresses."""
    found = []
    track = tracks.of_method(page.board, entry.name)
    for section in page.sections:
        if (section.structure, section.track) != (page.board.structures[0], track):
            continue
        row = section.row(entry.name)
        if row.rank is not None:
            told = "" if track == tracks.MAIN else " read at test"
            label = f"ES-Dice {section.structure}, {section.attribute}{told}"
            es = row.number("dice", "es_sum")
            parts = [
                f"{words.number(es.value)} ({words.interval(es)})",
                f"rank {words.rank(row)} of {len(section.ranked)}",
                *([words.obtained(row)] if row.obtained in ("reported", "predictions") else []),
                *(["partial"] if row.status != "done" else []),
            ]
            text = " · ".join(parts)
            width = {"left": 12 + 6 * len(label), "right": 12 + 6 * len(text)}
            found.append(page.badge_url(entry.name, section.attribute))
            drawn = env.get_template("badge.svg.j2").render(label=label, text=text, **width)
            _put(folder / found[-1], drawn)
    return found


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
    _render(env, "board.html.j2", folder / url, root, values)


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
        "drawn": [_whole(of, one) for of, one in zip(drawn, why, strict=True)],
        "chosen": [_whole_one(CHOSEN, of, one) for of, one in zip(chosen, why, strict=True)],
        "across": [
            (one, _whole_one("Figure", of, together)) for one, of in zip(across, figures, strict=True)
        ],
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


Begun = Sequence[tuple[str, Figure | None]]
"""Figures that are being drawn, each with what its page calls it."""


def _figures(section: Section, spared: Spared) -> Begun:
    """Begin a section's figures; one that cannot be drawn costs itself only."""
    makers = [(f"“{name}”", make) for name, make in draw.section.of_section(section)]
    return [(name, spared.build(name, make, None)) for name, make in makers]


def _whole(begun: Begun, spared: Spared) -> list[Figure]:
    """Return figures once they are drawn; one that cannot be costs itself only."""
    found = [_whole_one(name, figure, spared) for name, figure in begun]
    return [figure for figure in found if figure is not None]


def _whole_one(name: str, figure: Figure | None, spared: Spared) -> Figure | None:
    return None if figure is None else spared.build(name, figure.whole, None)


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


def _method_values(
    env: jinja2.Environment,
    store: Store,
    folder: Path,
    page: BoardPage,
    entry: Entry,
    pictured: Sequence[str],
) -> dict[str, Any]:
    board, spared = page.board, Spared()
    track = tracks.of_method(board, entry.name)
    ranking = [one for one in page.sections if (one.structure, one.track) == (board.structures[0], track)]
    return {
        "page": page,
        "info": entry.info,
        "by_script": False,
        "address": web_address(entry.info.url),
        "does": spared.build("What it does", partial(story.what_it_does, entry.info), ""),
        "hyper_parameters": facts.hyper_parameters(entry.info),
        "command": facts.command(board, entry.name),
        "origins": facts.origins(board, entry),
        "standings": [(section, section.row(entry.name)) for section in ranking],
        "attributes": [_by_attribute(store, page, entry, section, pictured) for section in ranking],
        "left": explorer.left_out(page),
        "pictured": pictured,
        "badges": spared.build("Badges", partial(_badges, env, folder, page, entry), []),
        "why": spared.why,
    }


def _by_attribute(
    store: Store, page: BoardPage, entry: Entry, first: Section, pictured: Sequence[str]
) -> dict[str, Any]:
    board, name, attribute = page.board, entry.name, first.attribute
    drawn = not page.result.large and first.row(name).rank is not None
    own = [one for one in page.sections if (one.attribute, one.track) == (attribute, first.track)]
    spared = Spared({key: why for key, why in page.result.why.items() if key == f"{CROSSINGS} {attribute}"})
    for section in own:
        spared.why |= {f"{section.structure}, {part}": why for part, why in section.why.items()}
    by_seed = spared.build(
        "Seed by seed", lambda: seeds.of_method(board, entry, attribute, first.structure), []
    )
    makers: dict[str, Callable[[], Figure | None]] = {
        "“Dice of every group”": lambda: draw.seeds.of_method(first, first.row(name), by_seed),
        "“Training loss of every group”": lambda: draw.curves.of_method(store, board, name, attribute),
        f"“Dice along {attribute}”": lambda: draw.ages.of_method(board, name, attribute),
    }
    # They are drawn while all else is put together.
    figures = [(title, spared.build(title, make, None)) for title, make in makers.items()] if drawn else []
    gallery, ranked = page.gallery if name in pictured else None, first.row(name).rank is not None
    twins = spared.build("Controls", lambda: controls.of_method(board, name, attribute), [])
    fails = partial(story.whom_it_fails, board, first, name)
    values = {
        "attribute": attribute,
        "story": spared.build("The story", partial(story.told, first, first.row(name), twins), []),
        "samples": spared.build("Every test case", partial(draw.samples.of_method, board, first, name), [])
        if drawn
        else [],
        "fails": spared.build("Whom it fails", fails, {}),
        "maps": _maps(page, name, attribute, pictured) if gallery is not None and ranked else {},
        "sections": own,
        "columns": columns.of_method(first),
        "rows": [section.row(name) for section in own],
        "seeds": by_seed,
        "controls": twins,
        "anatomy": spared.build("By size", lambda: anatomy.of_method(board, first, name), None)
        if drawn
        else None,
        "crossings": page.result.crossings.get(attribute, {}).get(name, []),
        "cases": spared.build("Cases", partial(_cases, gallery, name, attribute, pictured), {}),
        "why": spared.why,
    }
    return values | {"figures": _whole(figures, spared)}


def _cases(
    gallery: Gallery | None, name: str, attribute: str, pictured: Sequence[str]
) -> dict[str, list[Case]]:
    if gallery is None:
        return {}
    found = gallery.of_method(name, attribute)
    gallery.draw_ahead(name, attribute, pictured)
    return found


def _maps(page: BoardPage, name: str, attribute: str, pictured: Sequence[str]) -> dict[str, str]:
    """Write what a method predicted; return each method to where its predictions lie, "" to the truth."""
    gallery = page.gallery
    if gallery is None or not Spared().build(name, partial(gallery.write_predicted, name, attribute), False):
        return {}
    others = {one: gallery.maps_url(f"{one} {attribute}") for one in pictured}
    return {"": gallery.maps_url("truth")} | others


def _render(
    env: jinja2.Environment, template: str, path: Path, root: str, values: Callable[[], dict[str, Any]]
) -> None:
    """Write a page, or in its place one that says why it cannot be made."""
    spared = Spared()
    text = spared.build(path.name, lambda: env.get_template(template).render(root=root, **values()), None)
    if text is None:
        text = env.get_template("unbuilt.html.j2").render(root=root, name=path.name, why=spared.why)
    _put(path, text)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
