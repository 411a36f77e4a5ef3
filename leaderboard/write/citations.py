"""BibTeX entries of a board and its methods."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from harness.store import MethodInfo, Record
from leaderboard.read.boards import Board
from leaderboard.write.addresses import web_address

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # BibTeX counts braces after a backslash too: one alone would end or swallow an entry.
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
} | {c: "\\" + c for c in "&%$#_"}
_OWN = "equity-leaderboard-"
_UNSEEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def of_board(board: Board) -> list[dict[str, str]]:
    """Return the board's own entry (method "") and one for each method that names a paper."""
    entries = [{"method": "", "bibtex": _board(board)}]
    for entry in board.entries.values():
        if entry.info.paper:
            entries.append({"method": entry.name, "bibtex": of_method(entry.info)})
    return entries


def _board(board: Board) -> str:
    return _entry(
        "misc",
        _OWN + _key(board.name),
        {
            "title": f"Equity leaderboard: {board.record.protocol['title']}",
            "year": max((record.finished[:4] for record in _done(board)), default=""),
            "note": f"protocol {board.name}, digest {board.record.digest[:12]}; {board.record.command}",
        },
    )


def _done(board: Board) -> Iterator[Record]:
    for entry in board.entries.values():
        for attribute in board.attributes:
            yield from entry.done(attribute)


def of_method(info: MethodInfo) -> str:
    """Return the entry of a method's paper."""
    authors = re.split(r",\s*and\s+|,|\s+and\s+", info.authors)
    year = re.findall(r"\b(?:19|20)\d\d\b", info.paper)
    fields = {
        "title": info.paper,
        "author": " and ".join(part.strip() for part in authors if part.strip()),
        "year": year[-1] if year else "",
        "url": info.url if web_address(info.url) and not re.search(r"[\s{}\\%]", info.url) else "",
    }
    return _entry("misc", _key(info.name), fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    # An address is taken as it stands.
    told = {name: value if name == "url" else escape(value) for name, value in fields.items() if value}
    lines = [f"  {name} = {{{value}}}," for name, value in told.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _key(name: str) -> str:
    """Return a key that no other name gets: BibTeX takes upper and lower case for the same."""
    safe = re.sub(r"[^a-z0-9_-]+", "-", name.lower())
    if safe == name and not name.startswith(_OWN):
        return name
    return f"{safe}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def escape(text: str) -> str:
    """Return text that TeX prints as it stands, without invisible marks of direction."""
    return "".join(_ESCAPED.get(c, c) for c in _UNSEEN.sub("", " ".join(text.split())))
