"""What the first page of a site says of each of its boards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from leaderboard.compute import tracks, words
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
class Overview:
    """A board in a few lines; methods: how many it has."""

    url: str
    title: str
    name: str
    cohort: str
    backbone: str
    attributes: list[str]
    methods: int
    answers: list[Answer]


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
        short=words.short_headline(section),
        long=words.headline(section),
    )
