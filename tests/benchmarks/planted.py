"""What the board says of cohorts with planted causes, and of cohorts with nothing: draw after draw, trained.

Run as `python tests/benchmarks/planted.py --jobs 1`: ten draws of `planted`, 90 CPU seconds each, then twenty
of `null`, which take longer.
A draw is a cohort of another seed, trained and put on a board as `harness run` would; each is a process of
one thread. What is done stands in the file of `--results`, a line a draw, and is not done again.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.protocol import Protocol
    from leaderboard.compute.sections import Section

ROOT = Path(__file__).resolve().parents[2]

METHODS = {"planted": ("erm", "erm-balanced", "oracle"), "null": ("erm", "erm-balanced", "groupdro")}

DRAWS = {"planted": "11,12,13,14,15,16,17,18,19,20", "null": "20"}
"""Seeds of the cohorts; those of `planted` from 0 to 2 were looked at while its cause was chosen."""

REMEDIES = ("erm-balanced", "oracle")
"""What the board has to tell from ERM on `planted`, in ES-Dice of the structure that ranks."""


@dataclass(frozen=True)
class Draw:
    """One cohort: its seed, and what it is trained and judged under."""

    protocol: str
    seed: int
    methods: tuple[str, ...]
    device: str
    cache: Path
    work: Path
    changes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What its line in the results is found by."""
        return " ".join((self.protocol, str(self.seed), *self.methods, *self.changes))


def run(draw: Draw) -> dict[str, Any]:
    """Train and judge one draw in this process; return what the board says of it."""
    began = time.time()
    try:
        said, ended, embedded = _judged(draw)
    except Exception as error:  # noqa: BLE001 - one draw costs itself only
        return {"label": draw.label, "protocol": draw.protocol, "draw": draw.seed, "error": repr(error)}
    return {
        "label": draw.label,
        "protocol": draw.protocol,
        "draw": draw.seed,
        "methods": list(draw.methods),
        "device": draw.device,
        "trials": ended,
        "seconds": {"before the trials": embedded - began, "all": time.time() - began},
        "said": said,
    }


def _judged(draw: Draw) -> tuple[list[dict[str, Any]], list[str], float]:
    import torch

    from harness.running import trial
    from harness.running.board import write_protocol
    from harness.running.paths import Paths
    from harness.running.prepare import prepare
    from harness.training import embed
    from harness.training.device import resolve_device
    from leaderboard import site
    from leaderboard.compute import sections
    from leaderboard.read import boards

    torch.set_num_threads(1)
    device = resolve_device(draw.device)
    chosen = _protocol(draw)
    # The cohort's own cache goes with the draw; the weights are looked up in the machine's.
    paths = Paths(draw.work / "runs", None, draw.work / "cache")
    paths.cache.mkdir(parents=True, exist_ok=True)
    if not (paths.cache / "weights").exists():
        (paths.cache / "weights").symlink_to(draw.cache / "weights")
    prepared = prepare(chosen, draw.methods, paths, draw.protocol, device=device)
    if chosen.backbone.adapt == "frozen" and not embed.are_cached(
        chosen, prepared.cohort, paths.cache, device
    ):
        embed.embed_shard(chosen, prepared.cohort, paths.cache, 0, 1, device)
        embed.finish(chosen, prepared.cohort, paths.cache, device)
    embedded = time.time()
    write_protocol(prepared, "tests/benchmarks/planted.py")
    ended = [trial.run_logged(one, paths, device) for one in prepared.plan.trials.values()]
    (board,) = boards.of_store(prepared.store)
    said = [told(sections.one(board, attribute, board.structures[0])) for attribute in board.attributes]
    site.build(paths.runs, draw.work / "site", images=False)
    page = (draw.work / "site" / "index.html").read_text(encoding="utf-8")
    for table in said:
        table["page"] = on_page(page, table["attribute"], table["structure"])
    return said, ended, embedded


def on_page(page: str, attribute: str, structure: str) -> str:
    """Return the verdict that a reader of a site's first page sees over a table."""
    start = page.index(f'id="{attribute}-{structure}"')
    found = re.search(r'<p class="verdict">(.*?)</p>', page[start:], re.DOTALL)
    assert found is not None
    return html.unescape(found[1]).strip()


def _protocol(draw: Draw) -> Protocol:
    """Return the shipped protocol with the draw's seed, and with `recipe.epochs=8` and the like."""
    from harness import protocol

    table = tomllib.loads(protocol.shipped()[draw.protocol].read_text(encoding="utf-8"))
    table["cohort"]["seed"] = draw.seed
    for change in draw.changes:
        key, value = change.split("=", 1)
        *path, last = key.split(".")
        inside = table
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = json.loads(value)
    return protocol.parse(table, draw.protocol)


def told(section: Section) -> dict[str, Any]:
    """Return what a table says: of each method its score, letters and what is said of it against ERM."""
    found = {}
    for row in section.ranked:
        es, gap, versus = row.number("dice", "es_sum"), row.number("dice", "gap"), row.versus
        found[row.method] = {
            "es": es.value,
            "letters": row.letters,
            "best": row.best,
            "gap": gap.value,
            "above chance": bool(row.noise["dice"].p_adjusted <= 0.05 and gap.low > 0),
            "groups": {group: row.group("dice", group).value for group in section.groups},
            "difference": None if versus is None else [*versus.number[:3]],
            "p": None if versus is None else versus.p,
            "told": "" if versus is None else versus.told,
        }
    pairs = section.tables["dice"].pairs
    apart = [[row.one, row.other, row.better] for row in pairs.itertuples() if row.better]
    return {
        "attribute": section.attribute,
        "structure": section.structure,
        "methods": found,
        "apart": apart,
    }


def as_it_should(protocol: str, table: dict[str, Any]) -> bool:
    """Return whether table and page say what is true: remedies beat ERM; on null nothing is told apart."""
    if protocol == "null":
        return not table["apart"] and table["page"] == "No difference can be told yet"
    better = [table["methods"][name]["told"] == "better" for name in REMEDIES if name in table["methods"]]
    said = f"{len(better)} of {len(table['methods'])} methods are better than ERM"
    return all(better) and table["page"].startswith(said)


def markdown(lines: list[dict[str, Any]]) -> str:
    """Return the table of the docs: a row a draw and attribute, and how many say what is true."""
    methods = list(dict.fromkeys(name for line in lines for name in line["methods"]))
    heads = ["draw", "attribute", *methods, "told apart", "the page", "as it should"]
    rows = [heads, ["---"] * len(heads)]
    right: dict[str, list[bool]] = {}
    for line in sorted(lines, key=lambda line: line["draw"]):
        for table in line["said"]:
            cells = [_cell(table["methods"].get(name)) for name in methods]
            apart = ", ".join(
                f"{better} > {one if better == other else other}" for one, other, better in table["apart"]
            )
            fits = as_it_should(line["protocol"], table)
            right.setdefault(table["attribute"], []).append(fits)
            rows.append(
                [
                    str(line["draw"]),
                    table["attribute"],
                    *cells,
                    apart or "nothing",
                    table["page"],
                    "yes" if fits else "**no**",
                ]
            )
    told = [f"{attribute}: {sum(fits)} of {len(fits)}" for attribute, fits in right.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\nAs it should, {'; '.join(told)}."


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    said = f"{found['es']:.3f} {found['letters']}".rstrip()
    if found["difference"] is not None:
        value, low, high = found["difference"]
        said += f" ({value:+.3f}, {low:+.3f} to {high:+.3f})"
    return said


def _by_group(line: dict[str, Any]) -> str:
    return "\n".join(
        f"  {table['attribute']} {name}: "
        + ", ".join(f"{group} {value:.3f}" for group, value in found["groups"].items())
        for table in line["said"]
        for name, found in table["methods"].items()
    )


def kept(file: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a file of results by label; a draw that failed is not kept."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return {line["label"]: line for line in lines if "error" not in line}


def run_all(draws: list[Draw], jobs: int, results: Path, minutes: float, keep: bool) -> None:
    """Run draws side by side, each in a fresh process; begin none after so many minutes."""
    ends = time.time() + 60 * minutes
    todo = [draw for draw in draws if draw.label not in kept(results)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(run, draw): draw for draw in todo}
        for future in as_completed(running):
            if future.cancelled():
                continue
            line, draw = future.result(), running[future]
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            took = line.get("error") or f"{line['seconds']['all']:.0f} s\n{_by_group(line)}"
            print(f"{draw.label}: {took}", file=sys.stderr, flush=True)
            if not keep:
                shutil.rmtree(draw.work, ignore_errors=True)
            if time.time() > ends:
                for waiting in running:
                    waiting.cancel()


def main() -> None:
    """Run the draws that are not in the file yet, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=list(METHODS), help="one of the two")
    parser.add_argument("--draws", help="seeds of the cohorts: how many, from 0 on, or a list: 3,5,8")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--methods", nargs="+", help="instead of those of the table")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--cache", type=Path, help="where weights/mobile_sam.pt is, if not where `harness` looks"
    )
    parser.add_argument("--work", type=Path, default=Path("planted-work"), help="cohorts and records")
    parser.add_argument("--keep", action="store_true", help="leave the records of each draw in --work")
    parser.add_argument(
        "--variant", action="append", metavar="KEY=JSON ...", help="'recipe.epochs=8 ...'; may be repeated"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no draw after so many")
    parser.add_argument("--results", type=Path, default=Path("planted.jsonl"))
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if asked.cache is None:
        from platformdirs import user_cache_path

        asked.cache = Path(os.environ.get("HARNESS_CACHE") or user_cache_path("equity-leaderboard"))
    variants = [tuple(text.split()) for text in asked.variant or [""]]
    names = [asked.protocol] if asked.protocol else list(METHODS)
    draws = [
        Draw(
            name,
            number,
            tuple(asked.methods or METHODS[name]),
            asked.device,
            asked.cache.resolve(),
            (asked.work / f"{name}-{number}-{place}").resolve(),
            variant,
        )
        for name in names
        for number in _numbers(asked.draws or DRAWS[name])
        for place, variant in enumerate(variants)
    ]
    run_all(draws, asked.jobs, asked.results, asked.minutes, asked.keep)
    done = kept(asked.results)
    for name in names:
        for variant in variants:
            own = [one for one in draws if (one.protocol, one.changes) == (name, variant)]
            lines = [done[one.label] for one in own if one.label in done]
            print(" ".join((name, *variant)), markdown(lines), sep="\n\n", end="\n\n")


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")] if "," in text else list(range(int(text)))


if __name__ == "__main__":
    main()
