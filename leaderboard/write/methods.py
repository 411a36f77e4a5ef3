"""Each method's page, with its badges, its figures and its cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from harness.store import Store
from leaderboard import draw
from leaderboard.compute import anatomy, columns, controls, facts, seeds, story, tracks, words
from leaderboard.compute.results import CROSSINGS
from leaderboard.compute.sections import Section
from leaderboard.draw.cases import Case, Gallery
from leaderboard.draw.parts import Figure, whole
from leaderboard.read.boards import Entry
from leaderboard.spared import Spared
from leaderboard.write import explorer
from leaderboard.write.addresses import BoardPage, web_address
from leaderboard.write.rendering import put, render


def write(
    env: jinja2.Environment, store: Store, folder: Path, page: BoardPage, entries: Sequence[Entry]
) -> None:
    """Write the pages of some methods, their badges, and what each predicted where that is to be shown."""
    cases, shown, pictured = explorer.tables(page), set(explorer.methods(page)), explorer.pictured(page)
    for entry in entries:
        if entry.name in shown:
            write = partial(explorer.write_method, folder, page, entry.name, cases)
            Spared().build(f"the cases of {entry.name}", write, None)
        path = folder / page.method_url(entry.name)
        values = partial(_method_values, env, store, folder, page, entry, pictured)
        render(env, "method.html.j2", path, "../", values)


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
    return values | {"figures": whole(figures, spared)}


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
            put(folder / found[-1], drawn)
    return found
