"""What the first page of a site says of each of its boards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from leaderboard.compute import tracks, verdicts, words
from leaderboard.compute.sections import Section
from leaderboard.spared import Spared
from leaderboard.write.addresses import BoardPage


@dataclass(frozen=True)
class Answer:
    """Which method a table puts first, and how surely; where: the table, in words."""

    attribute: str
    url: str
    where: str
    sure: bool
    short: str
    long: str


@dataclass(frozen=True)
class Cell:
    """A method in a table: where it is told in full, its title, and its rank among so many.

    rank: a range in words, "" where it has none and status says why; at_test: of the track that reads the
    attribute at test time.
    """

    url: str
    title: str
    rank: str
    status: str
    among: int
    at_test: bool


@dataclass(frozen=True)
class Column:
    """An attribute's tables of the structure that ranks, all tracks of it; cells: by the method's name."""

    attribute: str
    url: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Overview:
    """A board in a few lines; methods: how many it has; columns: its part of the table over all boards."""

    url: str
    title: str
    name: str
    cohort: str
    backbone: str
    attributes: list[str]
    methods: int
    answers: list[Answer]
    columns: list[Column]


def of_page(page: BoardPage) -> Overview:
    """Return what is said of a board, which needs none of its records any more."""
    spared = Spared()
    answers = spared.build(page.url, partial(_answers, page), None)
    if answers is None:
        (why,) = spared.why.values()
        answers = [Answer("", page.url, page.board.name, False, "This could not be computed", why)]
    record = page.board.record
    return Overview(
        url=page.url,
        title=record.protocol["title"],
        name=page.board.name,
        cohort=str(record.cohort.get("title", "")),
        backbone=spared.build("backbone", lambda: page.backbone, ""),
        attributes=page.board.attributes,
        methods=len(page.board.entries),
        answers=answers,
        columns=spared.build("columns", partial(_columns, page), []),
    )


def _columns(page: BoardPage) -> list[Column]:
    ranking = [one for one in page.sections if one.structure == page.board.structures[0]]
    by_attribute: dict[str, list[Section]] = {}
    for section in ranking:
        by_attribute.setdefault(section.attribute, []).append(section)
    return [
        Column(
            attribute,
            page.section_url(sections[0]),
            {name: cell for section in sections for name, cell in _cells(page, section)},
        )
        for attribute, sections in by_attribute.items()
    ]


def _cells(page: BoardPage, section: Section) -> Iterator[tuple[str, Cell]]:
    for row in section.rows:
        # The baseline of another track is the main track's row once more.
        if section.track == tracks.MAIN or row.method != section.baseline:
            rank = "" if row.rank is None else words.rank(row)
            at_test = section.track != tracks.MAIN
            yield (
                row.method,
                Cell(page.method_url(row.method), row.title, rank, row.status, len(section.ranked), at_test),
            )


def _answers(page: BoardPage) -> list[Answer]:
    first = page.board.record.protocol["ranked_by"]
    return [_answer(page, section) for section in page.sections if section.structure == first]


def _answer(page: BoardPage, section: Section) -> Answer:
    told = tracks.among(section.track, [section.attribute])
    return Answer(
        attribute=section.attribute,
        url=page.section_url(section),
        where=f"{section.attribute}, {section.structure}{told}",
        sure=bool(section.ranked and section.ranked[0].best),
        short=verdicts.verdict(section),
        long=words.headline(section),
    )
