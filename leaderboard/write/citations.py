"""BibTeX entries of a board and its methods."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

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
_VENUE = re.compile(r"(?P<title>.+), *(?P<venue>[^,]+?) +(?:19|20)\d\d", re.DOTALL)
_PREPRINT = re.compile(r"\b(?:arXiv|bioRxiv|medRxiv|[Pp]reprint|[Tt]echnical [Rr]eport|[Tt]hesis)\b")
_PROCEEDINGS = re.compile(
    r"\b(?:AAAI|ACCV|ACM MM|AIES|AISTATS|BMVC|CHIL|CLeaR|CoLLAs|COLT|CVPR|ECCV|EMBC|FAccT|ICASSP|ICCV|"
    r"ICIP|ICLR|ICML|ICPR|IJCAI|IPMI|ISBI|KDD|MICCAI|MIDL|ML4H|MLHC|NeurIPS|NIPS|UAI|WACV|"
    r"[Cc]onference|[Pp]roceedings|[Ss]ymposium|[Ww]orkshops?)\b|\bSPIE\b"
)
_JOURNAL = re.compile(
    r"\b(?:Transactions|Journal|Letters|Annals|Review|Reviews|Magazine|Reports|Bulletin|JAMA|Lancet|Nature|"
    r"Radiology|Science|Patterns|PLOS|PLoS|NEJM|TMI|TPAMI|JMLR|TMLR|IJCV|MedIA|"
    r"Medical Image Analysis|Pattern Recognition|Neurocomputing|NeuroImage)\b"
)
_UNSEEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def of_board(board: Board) -> dict[str, str]:
    """Return the board's own entry, of method ""."""
    return {"method": "", "bibtex": _board(board)}


def of_methods(board: Board, methods: Iterable[str]) -> list[dict[str, str]]:
    """Return an entry for each of the methods that names a paper."""
    infos = [board.entries[name].info for name in methods]
    return [{"method": info.name, "bibtex": of_method(info)} for info in infos if info.paper]


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
    """Return the entry of a method's paper: of its kind, where the card ends with a venue that is known."""
    authors = re.split(r",\s*and\s+|,|\s+and\s+", info.authors)
    kind, title, venue = _published(info.paper)
    year = re.findall(r"\b(?:19|20)\d\d\b", info.paper)
    fields = {
        "title": title,
        "author": " and ".join(part.strip() for part in authors if part.strip()),
        **venue,
        "year": year[-1] if year else "",
        "url": info.url if web_address(info.url) and not re.search(r"[\s{}\\%]", info.url) else "",
    }
    return _entry(kind, _key(info.name), fields)


def _published(paper: str) -> tuple[str, str, dict[str, str]]:
    """Return entry kind, title and venue of "Title, VENUE 2024"; all is title where no venue is known."""
    found = _VENUE.fullmatch(paper.strip())
    if found is None:
        return "misc", paper, {}
    title, venue = found["title"], found["venue"]
    if _PREPRINT.search(venue):
        return "misc", title, {"howpublished": venue}
    if _PROCEEDINGS.search(venue):
        return "inproceedings", title, {"booktitle": venue}
    if _JOURNAL.search(venue):
        return "article", title, {"journal": venue}
    return "misc", paper, {}


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
