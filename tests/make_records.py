"""A store of records with simulated scores, written through the real models, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared import made_once

import leaderboard
from harness.store import (
    CURVE,
    SCORES,
    BrokenPlugin,
    Cost,
    HowTrained,
    MethodInfo,
    Obtained,
    PlanRow,
    ProtocolRecord,
    Record,
    Store,
    Tuned,
    write_json,
    writing,
)

GROUPS = {
    "race": {"Asian": 0.15, "Black": 0.25, "White": 0.6},
    "gender": {"Female": 0.55, "Male": 0.45},
    "ethnicity": {"Hispanic": 0.3, "Non-Hispanic": 0.7},
    "language": {"English": 0.6, "Spanish": 0.25, "Other": 0.15},
    "maritalstatus": {"married": 0.6, "other": 0.4},
    "age": {"<60": 0.45, ">=60": 0.55},
}
TITLES = {
    "erm": "Empirical risk minimisation",
    "groupdro": "GroupDRO",
    "adv": "Adversarial representation",
    "febs": "Fair error-bound scaling",
}
STRUCTURES = ("cup", "rim", "disc")
LEVEL = {"cup": 0.78, "rim": 0.72, "disc": 0.9}


@dataclass(frozen=True)
class World:
    """What the store holds; `gaps` is how far the hardest group falls behind, method by method."""

    methods: Sequence[str] = ("erm", "groupdro", "adv", "febs")
    gaps: dict[str, float] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    attributes: Sequence[str] = ("race", "gender")
    structures: Sequence[str] = STRUCTURES
    seeds: Sequence[int] = (0, 1, 2)
    samples: int = 240
    noise: float = 0.08
    images: bool = False
    failed: frozenset[tuple[str, str, int]] = frozenset()
    missing: frozenset[tuple[str, str, int]] = frozenset()
    broken: Sequence[BrokenPlugin] = ()
    info: dict[str, dict[str, object]] = field(default_factory=dict)
    obtained: dict[tuple[str, int], Obtained] = field(default_factory=dict)
    """(method, seed) to how its records were obtained, where they were not run here."""
    trained: dict[tuple[str, int], HowTrained] = field(default_factory=dict)
    """(method, seed) to whose loop it was, where that is known."""
    error: str = "Loss became NaN in epoch 2 of 5; lower recipe.learning_rate."
    controls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Method to the names of its twins; gaps and qualities of a twin go by its whole name."""
    tuned: dict[str, Tuned] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    """Method to another whose scores it has, to the last digit."""
    protocol: str = "quick"
    title: str = "Synthetic fundus, frozen backbone"


DEFAULT_GAPS = {"erm": 0.12, "groupdro": 0.05, "adv": 0.09, "febs": 0.07}


def make_store(root: Path, world: World | None = None) -> Store:
    """Write the world's protocol and records under `root`."""
    world, store = world or World(), Store(root)
    rng = np.random.default_rng(7)
    subjects = _subjects(world, rng)
    cells = [(m, "") for m in world.methods]
    cells += [(f"{m}: {twin}", m) for m, twins in world.controls.items() for twin in twins]
    plan = [
        PlanRow(method=m, attribute=a, seed=s, trial=trial_id(world, m, a, s), control_of=of)
        for m, of in cells
        for a in world.attributes
        for s in world.seeds
    ]
    _write_protocol(store, world, subjects, plan)
    difficulty = rng.normal(0, world.noise, int((subjects["split"] == "test").sum()))
    for row in {row.trial: row for row in plan}.values():
        cell = (row.method, row.attribute, row.seed)
        if cell not in world.missing:
            _write_record(store, world, subjects, row, difficulty, cell in world.failed)
    return store


def trial_id(world: World, method: str, attribute: str, seed: int) -> str:
    """ERM does not read the attribute: one trial serves all."""
    read = "-" if method == "erm" else attribute
    return hashlib.sha256(f"{world.protocol} {method} {read} {seed}".encode()).hexdigest()[:20]


def _subjects(world: World, rng: np.random.Generator) -> pd.DataFrame:
    n = world.samples * 2
    frame = pd.DataFrame(
        {
            "sample": [f"s{i:04d}" for i in range(n)],
            "patient": [f"p{i // 2:04d}" for i in range(n)],
            "split": ["train"] * world.samples + ["test"] * world.samples,
        }
    )
    for attribute in world.attributes:
        names, shares = zip(*GROUPS[attribute].items(), strict=True)
        drawn = rng.choice(len(names), size=n // 2, p=shares).repeat(2)
        frame[attribute] = [names[g] for g in drawn]
    unknown = rng.random(n // 2).repeat(2) < 0.02
    frame.loc[unknown, world.attributes[0]] = None
    return frame


def _write_protocol(store: Store, world: World, subjects: pd.DataFrame, plan: list[PlanRow]) -> None:
    record = ProtocolRecord(
        name=world.protocol,
        digest=hashlib.sha256(world.protocol.encode()).hexdigest(),
        protocol=_protocol(world),
        cohort={
            "title": "Simulated fundus",
            "licence": "CC0-1.0",
            "citation": "None: simulated.",
            "digest": "0" * 64,
            "publish_images": world.images,
            "n_samples": len(subjects),
            "n_patients": int(subjects["patient"].nunique()),
        },
        groups={a: tuple(GROUPS[a]) for a in world.attributes},
        command=f"harness run --all --protocol {world.protocol}",
        plan=tuple(plan),
        broken=tuple(world.broken),
        tuned=world.tuned,
    )
    with writing(store.root / "protocols" / world.protocol) as folder:
        write_json(folder / "protocol.json", record)
        subjects.to_parquet(folder / "subjects.parquet", index=False)
        _sizes(world, subjects).to_parquet(folder / "sizes.parquet", index=False)
        if world.images:
            _write_cases(folder / "cases.npz", subjects)


def _sizes(world: World, subjects: pd.DataFrame) -> pd.DataFrame:
    test = subjects.loc[subjects["split"] == "test", "sample"].astype(str)
    rng = np.random.default_rng(11)
    return pd.DataFrame(
        {"sample": test} | {name: rng.integers(100, 900, len(test)) for name in world.structures}
    )


def _protocol(world: World) -> dict[str, object]:
    labels = {"cup": [2], "rim": [1], "disc": [1, 2]}
    return {
        "name": world.protocol,
        "title": world.title,
        "description": "Simulated scores, to build the site from.",
        "cohort": {"source": "synthetic", "size": 64, "samples": world.samples * 2, "seed": 0},
        "split": {"test": 0.5, "validation": 0.0, "seed": 0},
        "structures": {name: labels[name] for name in world.structures},
        "ranked_by": world.structures[0],
        "attributes": {a: {"column": None, "bins": [], "merge": {}} for a in world.attributes},
        "backbone": {"name": "mobile-sam", "adapt": "frozen", "variant": "", "rank": 4},
        "recipe": {"epochs": 5, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.001},
        "methods": {},
        "seeds": list(world.seeds),
    }


def _write_record(
    store: Store, world: World, subjects: pd.DataFrame, row: PlanRow, difficulty: np.ndarray, failed: bool
) -> None:
    shared = row.method == "erm"
    info = {
        "title": TITLES.get(row.method, row.method),
        "authors": "A. Author, B. Author",
        "paper": "A paper on fairness, 2024",
        "url": "https://example.org/paper",
        "licence": "MIT",
        "hyper_parameters": {"step_size": 0.02, "eta": 1.0},
        "defaults": {"step_size": 0.01, "eta": 1.0},
        "reads_attribute": not shared,
        # It starts from ERM where its twin is there too; see `tests/leaderboard/test_twins.py`.
        "starts_from": "erm" if row.method == "febs" and "erm+1" in world.methods else None,
        "source": f'"""{row.method}."""\n\nclass M(Method):\n    ...\n',
        "source_digest": hashlib.sha256(row.method.encode()).hexdigest(),
    } | world.info.get(row.method, {})
    record = Record(
        id=row.trial,
        status="failed" if failed else "done",
        protocol=world.protocol,
        method=MethodInfo(name=row.method, **info),
        attribute=None if shared else row.attribute,
        groups=() if shared or failed else tuple(GROUPS[row.attribute]),
        seed=row.seed,
        obtained=world.obtained.get((row.method, row.seed), "run"),
        trained=world.trained.get((row.method, row.seed), ""),
        identity={
            "cohort": "0" * 64,
            "recipe": {"epochs": 5},
            "method": {"name": row.method, "source": info["source_digest"]},
            "seed": row.seed,
        },
        environment={"python": "3.12.0", "platform": "Linux", "libraries": {"torch": "2.11.0"}},
        provenance={"commit": "0" * 40, "dirty": False},
        cost=Cost() if failed else _cost(row),
        finished="2025-01-01T00:00:00+00:00",
        error=world.error if failed else "",
    )
    with writing(store.path(row.trial)) as folder:
        if not failed:
            _write_results(folder, world, subjects, row, difficulty)
        (folder / "log.txt").write_text("Traceback: simulated\n" if failed else "done\n")
        write_json(folder / "record.json", record)


def _cost(row: PlanRow) -> Cost:
    return Cost(
        fit_seconds=60.0 + len(row.method) + row.seed,
        predict_seconds=5.0,
        score_seconds=2.0,
        peak_memory_bytes=900_000_000,
        device="cpu (x86_64)",
        trained_parameters=4_000_000,
    )


def _write_results(
    folder: Path, world: World, subjects: pd.DataFrame, row: PlanRow, difficulty: np.ndarray
) -> None:
    test = subjects[subjects["split"] == "test"].reset_index(drop=True)
    same = world.same_as.get(row.method, row.method)
    row = row.model_copy(update={"method": same, "trial": trial_id(world, same, row.attribute, row.seed)})
    rng = np.random.default_rng(int(row.trial[:8], 16))
    table = pa.Table.from_pandas(
        _scores(world, test, row, difficulty, rng), preserve_index=False
    ).replace_schema_metadata(None)
    pq.write_table(table, folder / "scores.parquet")
    _curve(world, row).to_csv(folder / "curve.csv", index=False)
    if world.images:
        labels = np.stack([_mask(i, 0.86 + 0.1 * rng.random()) for i in range(len(test))])
        samples = test["sample"].to_numpy().astype(str)
        np.savez_compressed(folder / "predictions.npz", samples=samples, labels=labels)


def _scores(
    world: World, test: pd.DataFrame, row: PlanRow, difficulty: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    gap = world.gaps.get(row.method, DEFAULT_GAPS.get(row.method, 0.08))
    hard = (test[world.attributes[0]] == list(GROUPS[world.attributes[0]])[1]).to_numpy()
    frames = []
    for structure in world.structures:
        level = LEVEL[structure] + world.quality.get(row.method, 0.0) + rng.normal(0, 0.004)
        dice = np.clip(
            level - gap * hard + difficulty + rng.normal(0, world.noise / 3, len(test)), 0.05, 0.99
        )
        missed = rng.random(len(test)) < 0.005
        dice[missed] = 0.0
        iou = dice / (2 - dice)
        hd95 = np.where(missed, 90.5, 2 + 30 * (1 - dice))
        frames.append(
            pd.DataFrame(
                {
                    "sample": test["sample"],
                    "structure": structure,
                    "dice": dice,
                    "iou": iou,
                    "hd95": hd95,
                    "hd95_max": hd95 * 1.05,
                    "asd": hd95 / 3,
                    "nsd": np.clip(dice + 0.03, 0, 1),
                    "missed": missed,
                    "vcdr_error": 0.3 * (1 - dice) if structure == "disc" else np.nan,
                }
            )
        )
    return pd.concat(frames)[list(SCORES)]


def _curve(world: World, row: PlanRow) -> pd.DataFrame:
    rows = [
        (epoch, "loss", attribute, group, round(0.8 / (epoch + 1) + 0.02 * g, 6))
        for epoch in range(5)
        for attribute, groups in [("", [""])] + [(a, list(GROUPS[a])) for a in world.attributes]
        for g, group in enumerate(groups)
    ]
    return pd.DataFrame(rows, columns=list(CURVE))


def _mask(i: int, scale: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64] - 32.0
    radius = np.hypot(x - i % 7 + 3, y * (1 + 0.02 * (i % 9))) / scale
    return ((radius < 20).astype(np.uint8) + (radius < 10)).astype(np.uint8)


def _write_cases(path: Path, subjects: pd.DataFrame) -> None:
    test = subjects[subjects["split"] == "test"]
    masks = np.stack([_mask(i, 1.0) for i in range(len(test))])
    shade = (120 + 50 * masks[..., None] * np.array([1.0, 0.7, 0.4])).clip(0, 255).astype(np.uint8)
    np.savez_compressed(path, samples=test["sample"].to_numpy().astype(str), images=shade, masks=masks)


@dataclass(frozen=True)
class Site:
    """A built site and what it was built from."""

    runs: Store
    world: World
    out: Path

    def page(self, name: str) -> str:
        return (self.out / name).read_text(encoding="utf-8")


def make_site(folder: Path, world: World | None = None) -> Site:
    """Write the world's records and build the site from them, in this process: others run beside it."""
    store = make_store(folder / "runs", world)
    leaderboard.build(store.root, folder / "site", workers=1)
    return Site(store, world or World(), folder / "site")


def shared_site(factory: pytest.TempPathFactory, name: str, world: World) -> Site:
    """Return a site that all tests read and none changes, built by the first that asks."""
    folder = made_once(factory, name, lambda empty: make_site(empty, world))
    return Site(Store(folder / "runs"), world, folder / "site")


if __name__ == "__main__":
    import sys

    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    make_store(Path(sys.argv[1]), World(**options))
