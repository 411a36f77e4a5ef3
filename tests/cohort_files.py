"""Protocols, folders and files to build cohorts from, in a few lines of a test."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness import protocol
from harness.cohorts import Cohort
from harness.protocol import Protocol

FUNDUS = {"cup": [2], "rim": [1], "disc": [1, 2]}
EVERY_ATTRIBUTE = {
    "race": {},
    "gender": {},
    "ethnicity": {},
    "language": {"merge": {"other": ["Spanish", "other"]}},
    "maritalstatus": {"merge": {"other": ["single", "divorced", "widowed", "legally separated"]}},
    "age": {"bins": [60]},
}


def make_protocol(
    source: str = "synthetic",
    size: int = 32,
    structures: dict[str, list[Any]] | None = None,
    attributes: dict[str, Any] | None = None,
    split: dict[str, Any] | None = None,
    labels: dict[str, Any] | None = None,
    **options: Any,
) -> Protocol:
    structures = structures or FUNDUS
    table = {
        "name": "test",
        "title": "Test",
        "ranked_by": next(iter(structures)),
        "seeds": [0],
        "cohort": {"source": source, "size": size} | options,
        "structures": structures,
        "attributes": {"gender": {}} if attributes is None else attributes,
        "split": split or {},
        "labels": labels or {},
        "backbone": {"name": "unet"},
        "recipe": {"epochs": 1, "batch_size": 4, "learning_rate": 0.1},
    }
    return protocol.parse(table, "test.toml")


def write_folder(folder: Path, rows: list[dict[str, Any]], size: tuple[int, int] = (16, 16)) -> Path:
    """Write a manifest and, for the rows that bring none, a random image and a mask with a square."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"s{i:02d}", "patient": f"p{i:02d}"} | row for i, row in enumerate(rows)]
    for row in rows:
        if "image" not in row:
            row["image"] = f"{row['id']}.png"
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / row["image"])
        if "mask" not in row:
            row["mask"] = f"{row['id']}_mask.png"
            mask = np.zeros(size, dtype=np.uint8)
            mask[4:12, 4:12] = 1
            Image.fromarray(mask).save(folder / row["mask"])
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def folder_protocol(**changes: Any) -> Protocol:
    return make_protocol(**({"source": "folder", "size": 16, "structures": {"tumour": [1]}} | changes))


def alternating(count: int, **columns: Any) -> list[dict[str, Any]]:
    """Rows whose gender alternates, so that every split has both."""
    return [{"gender": "female" if i % 2 else "male"} | columns for i in range(count)]


CODES = {
    "gender": {"female": 0, "male": 1, None: -1},
    "ethnicity": {"non-Hispanic": 0, "Hispanic": 1, None: -1},
    "language": {"English": 0, "Spanish": 1, "other": 2, None: -1},
    "maritalstatus": {
        "married or partnered": 0,
        "single": 1,
        "divorced": 2,
        "widowed": 3,
        "legally separated": 4,
        None: -1,
    },
}
RACES = {
    "published": {"Asian": 0, "Black": 1, "White": 2, None: -1},
    "scripts": {"Asian": 2, "Black": 3, "White": 7, None: -1},
}


def write_fairseg(cohort: Cohort, people: list[dict[str, str | None]], folder: Path, generation: str) -> Path:
    """Write eyes with rim (1) and cup (2) as Harvard-FairSeg files, with the lists of their split.

    `people` has each sample's columns as a source gives them, before any bin or merge.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for row, (sample, person) in enumerate(zip(cohort.subjects["sample"], people, strict=True)):
        codes = {name: code[person[name]] for name, code in CODES.items()}
        codes["race"] = RACES[generation][person["race"]]
        if generation == "published":
            arrays = {"slo_fundus": cohort.images[row][..., 0], "disc_cup_mask": cohort.masks[row]}
            arrays |= {"age": float(person["age"])}
        else:
            codes["hispanic"] = codes.pop("ethnicity")
            arrays = {
                "fundus_slo": cohort.images[row][..., 0] / 255,
                "disc_cup": -cohort.masks[row].astype(float),
            }
            arrays |= {"pid": cohort.subjects["patient"][row], "age": round(float(person["age"]) * 365.25)}
        np.savez(folder / f"{sample}.npz", **arrays, **codes)
    for split in ("train", "test"):
        names = cohort.subjects.loc[cohort.subjects["split"] == split, "sample"]
        (folder / f"{split}.txt").write_text("".join(f"{name}.npz\n" for name in names))
    return folder
