"""BibTeX entries of a board and its methods."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.records import MethodInfo, Record
from leaderboard.data import Board
from leaderboard.pages import web_address

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
} | {c: "\\" + c for c in "&%$#_{}"}
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
        f"equity-leaderboard-{board.name}",
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
    authors = " and ".join(part.strip() for part in info.authors.split(",") if part.strip())
    year = re.findall(r"\b(?:19|20)\d\d\b", info.paper)
    fields = {
        "title": info.paper,
        "author": authors,
        "year": year[-1] if year else "",
        "url": info.url if web_address(info.url) and not re.search(r"[\s{}\\%]", info.url) else "",
    }
    return _entry("misc", info.name, fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    # An address is taken as it stands.
    told = {name: value if name == "url" else escape(value) for name, value in fields.items() if value}
    lines = [f"  {name} = {{{value}}}," for name, value in told.items()]
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", key)
    return "\n".join([f"@{kind}{{{safe},", *lines, "}", ""])


def escape(text: str) -> str:
    """Return text that TeX prints as it stands, without invisible marks of direction."""
    return "".join(_ESCAPED.get(c, c) for c in _UNSEEN.sub("", " ".join(text.split())))
