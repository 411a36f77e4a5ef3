"""A version's pages for good, the page of all versions, the feed and the tables for other people's pages.

All of them are made of leaderboard.json alone and ask for nothing: what stands under a version's address
reads the same in ten years, whatever becomes of the site around it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.store import published
from harness.store.published import History, Version
from leaderboard.compute import tracks
from leaderboard.write import exports
from leaderboard.write.addresses import slug
from leaderboard.write.exports import Export, MethodResult, ProtocolResult, SectionResult, Value
from leaderboard.write.rendering import TEMPLATES, environment

FEED, PAGE, EMBEDS, CHANGES = "feed.xml", "versions.html", "embed", "changes.html"

NAMES = frozenset({published.FILE, published.VERSIONS, FEED, PAGE, EMBEDS})
"""What a published folder has beside the site."""

MOST_PLAIN = 2 << 20
"""Bytes of a leaderboard.json up to which a version keeps it as it is; a larger one is kept packed."""

FIRST = "The first version: "
"""Begins what is told of the first version, before what it holds."""

MISSING = "–"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_DICE = (("ES-Dice", "es_sum"), ("Dice", "overall"), ("Gap", "gap"), ("Worst group", "worst_group"))


@dataclass(frozen=True)
class Line:
    """A method's row of a table: rank as a range, and each number of `_DICE` with its interval."""

    anchor: str
    title: str
    method: str
    rank: str
    letters: str
    numbers: tuple[tuple[str, str], ...]
    status: str


@dataclass(frozen=True)
class Table:
    """One attribute and structure of a board."""

    anchor: str
    title: str
    caption: str
    attribute: str
    lines: tuple[Line, ...]


def write(folder: Path, version: Version, export: Export, lines: Sequence[str]) -> None:
    """Write a version below its number. lines: all that changed since the one before."""
    place = folder / version.folder
    place.mkdir(parents=True)
    text = exports.content(folder)
    packed = len(text) > MOST_PLAIN
    name = f"{exports.FILE}.gz" if packed else exports.FILE
    (place / name).write_bytes(gzip.compress(text, 9, mtime=0) if packed else text)
    (place / exports.SCHEMA).write_bytes((folder / exports.SCHEMA).read_bytes())
    for board in export.protocols:
        values = {"board": board, "tables": tables(board), "methods": list(_methods(board))}
        _put(place / page_of(board), "version-board.html.j2", version=version, columns=_DICE, **values)
    _put(place / CHANGES, "version-changes.html.j2", version=version, lines=lines)
    write_cover(folder, version, export)


def write_cover(folder: Path, version: Version, export: Export) -> None:
    """Write a version's first page: the one that tells of an archive, which may be made after it."""
    boards = [(board, page_of(board), len(list(_methods(board)))) for board in export.protocols]
    results = kept(folder, version).name
    _put(
        folder / version.folder / "index.html",
        "version.html.j2",
        version=version,
        boards=boards,
        results=results,
    )


def write_around(folder: Path, history: History, export: Export) -> None:
    """Write what is of all versions: their page, the feed, and the newest tables for other people's pages."""
    framed = [(board, table) for board in export.protocols for table in tables(board)]
    (folder / EMBEDS).mkdir()
    for board, table in framed:
        _put(folder / embed_of(board, table), "embed.html.j2", board=board, table=table, columns=_DICE)
    embeds = [(board, table, embed_of(board, table)) for board, table in framed]
    newest_first = list(reversed(history.versions))
    _put(folder / PAGE, "versions.html.j2", history=history, versions=newest_first, embeds=embeds)
    values = {"history": history, "versions": newest_first, "title": _feed_title(export), "first": FIRST}
    feed = _environment().get_template("feed.xml.j2").render(values)
    (folder / FEED).write_text(_NO_XML.sub(" ", feed), encoding="utf-8")


def _feed_title(export: Export) -> str:
    """Return what a reader of many feeds knows this one by."""
    titles = [board.title for board in export.protocols]
    told = titles[0] if len(titles) == 1 else f"{len(titles)} boards"
    return f"{told} – equity leaderboard"


def kept(folder: Path, version: Version) -> Path:
    """Return the file of a version's results, as it is or packed."""
    plain = folder / version.folder / exports.FILE
    return plain if plain.is_file() else plain.with_name(f"{exports.FILE}.gz")


def page_of(board: ProtocolResult) -> str:
    """Return the name of a board's page in a version; `#METHOD` on it is that method's result, for good."""
    return f"{slug(board.name)}.html"


def embed_of(board: ProtocolResult, table: Table) -> str:
    """Return the address of a table for other people's pages."""
    return f"{EMBEDS}/{slug(board.name)}-{table.anchor}.html"


def tables(board: ProtocolResult) -> list[Table]:
    """Return a board's tables, in order."""
    return [_table(section) for section in board.sections]


def _table(section: SectionResult) -> Table:
    place = f"{section.attribute}-{section.structure}"
    if section.track != tracks.MAIN:
        place += f"-{section.track}"
    among = tracks.among(section.track, [section.attribute])
    groups = ", ".join(f"{name} {count}" for name, count in section.group_patients.items())
    return Table(
        anchor=slug(place),
        title=f"By {section.attribute}, {section.structure}{among}",
        caption=f"Patients: {groups}." if groups else "",
        attribute=section.attribute,
        lines=tuple(_line(slug(place), method) for method in section.methods),
    )


def _line(place: str, method: MethodResult) -> Line:
    dice = method.scores.get("dice", {})
    return Line(
        anchor=f"{place}-{slug(method.method)}",
        title=method.title,
        method=method.method,
        rank=_rank(method),
        letters=method.letters,
        numbers=tuple(_told(dice.get(quantity)) for _, quantity in _DICE),
        status="" if method.status == "done" else method.status,
    )


def _rank(method: MethodResult) -> str:
    if method.rank_low is None:
        return MISSING
    low, high = method.rank_low, method.rank_high
    return f"{low}" if low == high else f"{low}–{high}"


def _told(value: Value | None) -> tuple[str, str]:
    if value is None or value.estimate is None:
        return MISSING, value.note if value is not None else ""
    ends = "" if value.low is None or value.high is None else f"{value.low:.3f} to {value.high:.3f}"
    return f"{value.estimate:.3f}", ends


def _methods(board: ProtocolResult) -> Iterator[tuple[str, str, str, list[tuple[Table, Line]]]]:
    """Yield each method's anchor, title and name, and its line in every table that has it."""
    found: dict[str, list[tuple[Table, Line]]] = {}
    for table in tables(board):
        for line in table.lines:
            found.setdefault(line.method, []).append((table, line))
    for name, lines in found.items():
        yield slug(name), lines[0][1].title, name, lines


@cache
def _environment() -> jinja2.Environment:
    # Not those of the site's pages: what these say of their style is no other page's.
    env = environment(True).overlay()
    style = (TEMPLATES.parent / "assets" / "version.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    env.globals = env.globals | {"style": Markup(style), "style_hash": f"sha256-{digest}"}
    return env


def _put(path: Path, template: str, **values: Any) -> None:
    path.write_text(_environment().get_template(template).render(**values), encoding="utf-8")
