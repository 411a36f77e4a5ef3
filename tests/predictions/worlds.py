"""Folders as nnU-Net and others write them: small volumes or pictures, truths, predictions and a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

AFFINE = np.array([[0.0, -0.8, 0, 30], [0.7, 0, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])
"""Axes that are turned and flipped against right, anterior, superior; voxels of 0.7 x 0.8 x 2.5 mm."""


@dataclass(frozen=True)
class World:
    """Where its files lie, and what is in them: id to array, labels 1 (kidney) around 2 (tumour)."""

    folder: Path
    truths: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    table: pd.DataFrame

    @property
    def places(self) -> list[str]:
        """The arguments that score it."""
        return [
            str(self.folder / "predictions"), "--truth", str(self.folder / "labelsTs"),
            "--table", str(self.folder / "patients.csv"),
        ]  # fmt: skip


def table(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """A row a case; the ids have leading zeros, two cases of a patient follow each other."""
    sex = np.resize(["F", "M"], n // 2).repeat(2)
    return pd.DataFrame(
        {
            "case": [f"case_{i:03d}" for i in range(n)],
            "patient": [f"{i // 2:04d}" for i in range(n)],
            "sex": sex,
            "site": rng.choice(["north", "south", ""], n, p=[0.45, 0.45, 0.1]),
            "age": rng.integers(20, 90, n // 2).repeat(2),
        }
    )


def arrays(frame: pd.DataFrame, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[dict, dict]:
    """Truths and predictions: a ball in a ball off the centre; worse for F."""
    truths, predictions = {}, {}
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    for row in frame.itertuples():
        centre = np.array([n * 0.32 for n in shape]) + rng.normal(0, 0.6, len(shape))
        reach = min(shape) * rng.uniform(0.28, 0.36)
        off = rng.normal(0.9 if row.sex == "F" else 0.3, 0.2)
        for found, moved in ((truths, 0.0), (predictions, off)):
            away = np.sqrt(((grid - (centre + moved).reshape(-1, *[1] * len(shape))) ** 2).sum(axis=0))
            found[row.case] = ((away < reach).astype(np.uint8) + (away < reach * 0.6)).astype(np.uint8)
    return truths, predictions


def nnunet(folder: Path, n: int = 48, shape: tuple[int, ...] = (14, 12, 10), seed: int = 0) -> World:
    """A folder as nnU-Net's inference leaves it, beside labelsTs and a table."""
    rng = np.random.default_rng(seed)
    frame = table(n, rng)
    truths, predictions = arrays(frame, shape, rng)
    for name, found in (("labelsTs", truths), ("predictions", predictions)):
        (folder / name).mkdir(parents=True)
        for case, array in found.items():
            save(array, folder / name / f"{case}.nii.gz")
    labels = {"background": 0, "kidney": [1, 2], "tumour": 2}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "predictions" / "dataset.json").write_text(json.dumps(dataset))
    (folder / "predictions" / "plans.json").write_text("{}")
    frame.sample(frac=1, random_state=1).to_csv(folder / "patients.csv", index=False)
    return World(folder, truths, predictions, frame)


def pictures(folder: Path, n: int = 48, side: int = 24, seed: int = 0) -> World:
    """Predictions and truths as PNG."""
    rng = np.random.default_rng(seed)
    frame = table(n, rng)
    truths, predictions = arrays(frame, (side, side + 4), rng)
    for name, found in (("labelsTs", truths), ("predictions", predictions)):
        (folder / name).mkdir(parents=True)
        for case, array in found.items():
            Image.fromarray(array).save(folder / name / f"{case}.png")
    frame.to_csv(folder / "patients.csv", index=False)
    return World(folder, truths, predictions, frame)


def save(array: np.ndarray, file: Path, affine: np.ndarray = AFFINE) -> None:
    """Write NIfTI."""
    nibabel.save(nibabel.Nifti1Image(array, affine), file)
