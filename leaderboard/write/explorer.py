"""What the page on which any test case is found reads: of the board, and of each method."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leaderboard.compute import words
from leaderboard.compute.results import Result
from leaderboard.compute.sections import Section
from leaderboard.draw import samples
from leaderboard.write import payload
from leaderboard.write.addresses import BoardPage

SCALE = 10_000
"""Dice travels as whole multiples of 1/SCALE: a place more than the pages show."""
MOST_BYTES = 12 << 20
"""Of a board's single cases. What is above it leaves methods of the last ranks out, and no case."""


MOST_PICTURED = 20
"""Methods of a large board whose predictions are drawn: of each they take some 100 to 300 kB of the site."""


def tables(page: BoardPage) -> list[Section]:
    """Return the sections in which something is ranked."""
    return [section for section in page.sections if section.ranked]


def methods(page: BoardPage) -> list[str]:
    """Return the methods whose cases can be looked at: first the baseline, then by rank."""
    there = tables(page)
    names = [str(section.baseline) for section in there if section.baseline]
    names += [row.method for section in there for row in section.ranked]
    ranked = {row.method for section in there for row in section.ranked}
    return [name for name in dict.fromkeys(names) if name in ranked][: _most(page)]


def pictured(page: BoardPage) -> list[str]:
    """Return whose predictions are drawn: all methods', or where there is no room the first's and ERM's."""
    if page.gallery is None:
        return []
    most = page.gallery.shares.methods
    return list(page.board.entries) if most >= len(page.board.entries) else methods(page)[:most]


def asked(result: Result) -> int:
    """Return of how many methods the predictions would be drawn if there were room for all pictures."""
    return min(len(result.board.entries), MOST_PICTURED) if result.large else len(result.board.entries)


def first_of(page: BoardPage, count: int) -> str:
    """Return which methods these are, so many from the first of `methods` on."""
    if not count:
        return "no method"
    among = f"{count} of {words.counted(len(page.board.entries), 'method')}"
    if not any(section.baseline for section in tables(page)):
        return f"{among}, the first in rank"
    return f"{among}, {'ERM' if count == 1 else 'ERM and the first in rank'}"


def left_out(page: BoardPage) -> list[str]:
    """Return what of single cases the site leaves out for its size, a sentence each."""
    ranked = {row.method for section in tables(page) for row in section.ranked}
    found, shown = [], methods(page)
    if len(shown) < len(ranked):
        found.append(f"Scores of single cases are here of {first_of(page, len(shown))}.")
    gallery = page.gallery
    if gallery is not None:
        drawn, cases = pictured(page), int(page.board.rows(page.board.structures[0]).sum())
        if len(drawn) < len(page.board.entries):
            found.append(f"Predictions are drawn of {first_of(page, len(drawn))}.")
        if len(gallery.explored) < cases:
            found.append(f"An image is here of {len(gallery.explored)} of {cases} cases, evenly chosen.")
        if gallery.coarse:
            most = min(gallery.shares.image, gallery.shares.picture) // 1_000
            found.append(f"A picture takes at most {most} kB, so that it may be coarse.")
    return found


def _most(page: BoardPage) -> int:
    """Return of how many methods the files have room: two bytes a case, as text four for three."""
    cases = sum(int(page.board.rows(section.structure).sum()) for section in tables(page))
    return max(2, MOST_BYTES // max(1, -(-cases * 8 // 3)))


def write_board(folder: Path, page: BoardPage) -> None:
    """Write which cases there are, their groups and sizes, and whose predictions of them."""
    there, names = tables(page), methods(page)
    place = {name: i for i, name in enumerate(names)}
    told = {
        "scale": SCALE,
        "methods": [
            {
                "name": name,
                "title": page.board.entries[name].info.title,
                "page": page.method_url(name),
                "file": page.dice_url(name),
            }
            for name in names
        ],
        "tables": [_table(page, section, place) for section in there],
        "maps": _maps(page),
        "image": page.gallery.image_url("CASE") if page.gallery else "",
    }
    _put(folder / page.samples_data_url, "board", told)


def write_method(folder: Path, page: BoardPage, name: str, there: Sequence[Section]) -> None:
    """Write a method's Dice of every case of every table, table by table; the mean over seeds."""
    found = []
    for section in there:
        dice = samples.mean(page.board, section, name) if name in section.titles else None
        cases = int(page.board.rows(section.structure).sum())
        found.append(np.full(cases, np.nan) if dice is None else dice)
    values = np.concatenate(found)
    steps = np.where(np.isnan(values), payload.MISSING, np.rint(np.clip(values, 0, 1) * SCALE))
    _put(folder / page.dice_url(name), f"method {name}", payload.text(steps.astype("<u2")))


def _table(page: BoardPage, section: Section, place: dict[str, int]) -> dict[str, object]:
    board = page.board
    size = board.size(section.structure)
    groups = samples.groups(board, section)
    codes = np.where(groups < 0, payload.UNKNOWN, groups).astype(np.uint8)
    first = board.rows(board.structures[0])
    return {
        "anchor": section.anchor,
        "name": section.name,
        "attribute": section.attribute,
        "groups": list(section.groups),
        "cases": len(codes),
        "codes": payload.text(codes),
        "sizes": None if size is None else payload.text(np.rint(size).astype("<u4")),
        "methods": [place[row.method] for row in section.ranked if row.method in place],
        "baseline": section.baseline or "",
        # A cohort that shows no image names none of its samples either.
        "samples": board.tested(section.structure)["sample"].astype(str).tolist() if page.gallery else None,
        "pictured": page.gallery is not None and np.array_equal(board.rows(section.structure), first),
    }


def _maps(page: BoardPage) -> dict[str, dict[str, str]]:
    """Return attribute to method to where its predictions lie, "" to the truth."""
    gallery, names = page.gallery, pictured(page)
    if gallery is None or not gallery.explored:
        return {}
    truth = {"": gallery.maps_url("truth")}
    return {
        a: truth | {name: gallery.maps_url(f"{name} {a}") for name in names} for a in page.board.attributes
    }


def _put(path: Path, name: str, told: object) -> None:
    text = json.dumps([name, told], ensure_ascii=True, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Board.explorer.receive(...{text});\n", encoding="utf-8")
