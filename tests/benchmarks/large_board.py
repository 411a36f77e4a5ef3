"""A board of very many methods, what it takes: large_board.py [METHODS] [--records FOLDER] [--pictures SIDE].

Two attributes, three structures, three seeds, 240 test samples, made-up scores: 1,000 methods are 5,997
trials. The site is built by a process of its own, of which the largest memory is its own or that of one that
it forked. What a browser needs is the middle of three loads of the site on the disk, where Chromium is there.
"""

from __future__ import annotations

import argparse
import gzip
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.store import PlanRow, Store, files, names

TESTS = Path(__file__).resolve().parents[1]
MIB = 2**20
LOADS = 3
FIRST = 50
"""Methods whose scores are drawn one by one; those of the others are theirs with further noise."""

BUILD = "import sys, pathlib, leaderboard; leaderboard.build(*map(pathlib.Path, sys.argv[1:3]))"

CLICKED = """click => new Promise(done => {
    const began = performance.now();
    eval(click)();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})"""
"""Milliseconds from a click until what it changed is drawn."""


TYPED = {"m": "nearly all", "m09": "a tenth", "m099": "a hundredth", "": "cleared"}
"""What is typed into the field that finds a method, to how many it finds."""

TYPE = """() => {
    const field = document.querySelector(".tools [name=search]");
    field.value = "TEXT";
    field.dispatchEvent(new Event("input", {bubbles: true}));
}"""


def simulate(runs: Path, methods: int, side: int = 0) -> None:
    """Write the records, nothing of them brought to the disk; with pictures of noise so many pixels wide.

    What is predicted of a case is the same noise for all methods.
    """
    sys.path.insert(0, str(TESTS))
    from make_records import World, make_store, trial_id

    files._sync = lambda path: None
    called = ("erm", *(f"m{i:04}" for i in range(methods - 1)))
    world, first = World(methods=called), called[:FIRST]
    store = make_store(runs, World(methods=first, images=side > 0))
    noise = np.random.default_rng(1)
    if side:
        _enlarge(store, world.protocol, side, noise)
    board, plan = store.protocol(world.protocol), []
    for place, method in enumerate(called[FIRST:]):
        for like in board.plan:
            if like.method == first[1 + place % (FIRST - 1)]:
                row = {"method": method, "trial": trial_id(world, method, like.attribute, like.seed)}
                plan.append(like.model_copy(update=row))
                _again(store, like.trial, plan[-1], noise)
    whole = board.model_copy(update={"plan": (*board.plan, *plan)})
    store.board_file(world.protocol).write_bytes(files.as_json(whole))


def _enlarge(store: Store, protocol: str, side: int, noise: np.random.Generator) -> None:
    """Make a cohort's images noise, so many pixels wide, and predictions ragged ones of the same width."""
    times = side // 64

    def enlarged(path: Path, what: str) -> dict[str, np.ndarray]:
        with np.load(path) as held:
            return dict(held) | {what: held[what].repeat(times, axis=1).repeat(times, axis=2)}

    cases = store.board_file(protocol, names.CASES)
    content = enlarged(cases, "masks")
    content["images"] = noise.integers(0, 256, (*content["masks"].shape, 3), dtype=np.uint8)
    np.savez(cases, **content)
    first, *others = (store.path(trial) / names.PREDICTIONS for trial in store.ids())
    content = enlarged(first, "labels")
    edge = (content["labels"] > 0) & (noise.random(content["labels"].shape) < 0.5)
    content["labels"] = np.where(edge, content["labels"], noise.permuted(content["labels"], axis=2))
    np.savez_compressed(first, **content)
    for other in others:
        other.unlink()
        os.link(first, other)


def _again(store: Store, like: str, row: PlanRow, noise: np.random.Generator) -> None:
    """Write a trial's record again, as another's and with further noise."""
    record, table = store.record(like), store.score_table(store.record(like))
    for name in ("dice", "iou", "nsd"):
        values = table.column(name).to_numpy() + noise.normal(0, 0.01, len(table))
        column = pa.array(np.where(table.column("missed").to_numpy(), 0, np.clip(values, 0, 1)))
        table = table.set_column(table.column_names.index(name), name, column)
    folder = store.path(row.trial)
    shutil.copytree(store.path(like), folder, copy_function=_copied)
    pq.write_table(table, folder / names.SCORES)
    about = record.method.model_copy(update={"name": row.method, "title": row.method})
    (folder / names.RECORD).write_bytes(
        files.as_json(record.model_copy(update={"id": row.trial, "method": about}))
    )


def _copied(source: str, target: str) -> None:
    """Copy a file, or give one that nobody writes to a second name."""
    (os.link if Path(source).name == names.PREDICTIONS else shutil.copy2)(source, target)


def build(runs: Path, site: Path) -> None:
    """Build the site in a process of its own and print what that took."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(runs), str(site)])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, "the site was not built"
    print(f"build, by the clock             {time.perf_counter() - began:8.1f} s")
    print(f"build, of processors            {used.ru_utime + used.ru_stime:8.1f} s")
    print(f"largest process                 {used.ru_maxrss / 1024:8.0f} MiB")


def weigh(site: Path) -> None:
    """Print how large the site is, and its first page."""
    sizes = {path.relative_to(site): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    print(f"site, {len(sizes):6} files              {sum(sizes.values()) / MIB:8.1f} MiB")
    pictures = [size for path, size in sizes.items() if path.parent.name == "images"]
    print(f"pictures, {len(pictures):6} files          {sum(pictures) / MIB:8.1f} MiB")
    first = site / "index.html"
    packed = len(gzip.compress(first.read_bytes(), 6)) / MIB
    print(f"first page                      {first.stat().st_size / MIB:8.2f} MiB, {packed:.2f} packed")
    pages = [size for path, size in sizes.items() if len(path.parts) == 2 and path.suffix == ".html"]
    each = statistics.median(pages) / 1e3
    print(f"pages of methods and protocol   {sum(pages) / MIB:8.1f} MiB, {each:.1f} kB each")


def open_it(site: Path) -> None:
    """Print what a browser needs for the board, where there is one."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        print("playwright is not installed: the browser's rows are not measured")
        return
    sys.path.insert(0, str(TESTS))
    import needs

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=needs.browser(), args=["--no-sandbox"])
        except Error as error:
            why = error.message.splitlines()[0]
            print(f"Chromium does not start ({why}): the browser's rows are not measured")
            return
        found = [dict(_loaded(browser, site)) for _ in range(LOADS)]
        browser.close()
    for what in found[0]:
        times = sorted(one[what] for one in found)
        print(f"{what:31} {statistics.median(times):8.0f} ms ({times[0]:.0f} to {times[-1]:.0f})")


def _loaded(browser: Any, site: Path) -> Iterator[tuple[str, float]]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{site.as_uri()}/index.html", wait_until="commit")
    now = "performance.now()"
    page.locator(".tools").first.wait_for(timeout=60_000)
    usable = page.evaluate(now)
    page.get_by_role("button", name="Show all").wait_for(timeout=60_000)
    every = page.evaluate(now)
    yield "first paint", page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    yield "usable", usable
    yield "all rows at hand", every
    button = (
        "() => [...document.querySelectorAll('th button')].find(b => b.textContent.includes('Gap')).click()"
    )
    page.evaluate(CLICKED, button)
    yield "sort", page.evaluate(CLICKED, button)
    for text, what in TYPED.items():
        page.wait_for_timeout(200)
        yield f"filter, {what}", page.evaluate(CLICKED, TYPE.replace("TEXT", text))
    page.close()


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("methods", type=int, nargs="?", default=1_000)
    options.add_argument(
        "--records", type=Path, help="a folder that keeps the records, and the site, for the next time"
    )
    options.add_argument("--pictures", type=int, default=0, help="how many pixels wide, a multiple of 64")
    options.add_argument("--built", action="store_true", help="measure the site that is in --records")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-board-") as place:
        folder = given.records or Path(place)
        runs, site = folder / "runs", folder / "site"
        if not runs.is_dir():
            # In a process of its own: what it holds in memory would count as its children's peak.
            child = multiprocessing.get_context("spawn").Process(
                target=simulate, args=(runs, given.methods, given.pictures)
            )
            child.start()
            child.join()
            assert child.exitcode == 0
        print(f"{len(list((runs / 'records').iterdir()))} records of {given.methods} methods", flush=True)
        if not given.built:
            shutil.rmtree(site, ignore_errors=True)
            build(runs, site)
        weigh(site)
        open_it(site)


if __name__ == "__main__":
    main()
