"""How long scoring volumes of 512 x 512 x 40 takes, and what memory, beside medpy and MONAI on some.

    python tests/benchmarks/predictions.py [VOLUMES] [BESIDE]

The volumes are made a few at a time, scored from their files and removed: two structures, an organ of some
180 x 140 x 28 voxels and a lesion in it, in compressed NIfTI.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from medpy.metric import binary

from harness.predictions import files
from harness.predictions.coding import Coding
from harness.predictions.scored import Options, score_all

SHAPE, SPACING = (512, 512, 40), (0.8, 0.8, 5.0)
CODING = Coding({"organ": (1, 2), "lesion": (2,)})
AT_ONCE = 8


def volume(rng: np.random.Generator) -> np.ndarray:
    """An ellipsoid with another in it, off their places."""
    centre, made = np.array([250, 260, 20]) + rng.normal(0, 2, 3), np.zeros(SHAPE, np.uint8)
    for off, radii in (((0, 0, 0), (90, 70, 14)), ((20, 0, 0), (25, 20, 5))):
        # In the box around it alone: 2,000 volumes have to be made too.
        middle = centre + off
        box = tuple(
            slice(max(int(c - r), 0), min(int(c + r) + 2, n))
            for c, r, n in zip(middle, radii, SHAPE, strict=True)
        )
        x, y, z = np.ogrid[box]
        made[box] += sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), middle, radii, strict=True)) < 1
    return made


def write(folder: Path, rng: np.random.Generator, count: int) -> dict[str, tuple[files.Case, files.Case]]:
    """Write pairs; return them by id."""
    affine, cases = np.diag([*SPACING, 1.0]), {}
    for i in range(count):
        paths = [folder / f"{name}{i}.nii.gz" for name in ("p", "t")]
        for path in paths:
            nibabel.save(nibabel.Nifti1Image(volume(rng), affine), path)
        cases[f"c{i}"] = tuple(files.Case(f"c{i}", {"": path}) for path in paths)
    return cases


def medpys(cases: dict) -> float:
    """Seconds of medpy for Dice, HD95 and ASSD, reading included."""
    began = time.perf_counter()
    for prediction, truth in cases.values():
        p, t = (np.asarray(nibabel.load(case.maps[""]).dataobj) for case in (prediction, truth))
        for least in (1, 2):
            one, other = p >= least, t >= least
            binary.dc(one, other)
            binary.hd95(one, other, voxelspacing=SPACING)
            binary.assd(one, other, voxelspacing=SPACING)
    return time.perf_counter() - began


def monais(cases: dict) -> float:
    """Seconds of MONAI for Dice, HD95, average distance and surface Dice, reading included."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    began = time.perf_counter()
    for prediction, truth in cases.values():
        both = []
        for case in (prediction, truth):
            labels = np.asarray(nibabel.load(case.maps[""]).dataobj)
            both.append(torch.from_numpy(np.stack([labels >= 1, labels >= 2])[None].astype(np.uint8)))
        compute_dice(*both)
        compute_hausdorff_distance(*both, percentile=95, include_background=True, spacing=SPACING)
        compute_average_surface_distance(*both, symmetric=True, include_background=True, spacing=SPACING)
        compute_surface_dice(*both, [2.0, 2.0], include_background=True, spacing=SPACING)
    return time.perf_counter() - began


def main() -> None:
    """Print seconds a volume and the most memory that was held."""
    count, beside = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 2000), (2, 4)))
    rng, seconds, spent, done = np.random.default_rng(0), 0.0, 0.0, 0
    while done < count:
        with tempfile.TemporaryDirectory() as folder:
            cases = write(Path(folder), rng, min(AT_ONCE, count - done))
            began, cpu = time.perf_counter(), time.process_time()
            score_all(cases, Options(CODING))
            seconds += time.perf_counter() - began
            used = time.process_time() - cpu
            done += len(cases)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            spent += used
            print(
                f"{done} volumes: {seconds:.0f} s ({seconds / done:.2f} s each), {spent:.0f} CPU seconds "
                f"({spent / done:.2f} each), {most:.2f} GiB at most, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    with tempfile.TemporaryDirectory() as folder:
        cases = write(Path(folder), rng, beside)
        for name, run in (("medpy", medpys), ("MONAI", monais)):
            cpu = time.process_time()
            took = run(cases)
            used = time.process_time() - cpu
            print(f"{name}: {took / beside:.2f} s each ({used / beside:.2f} CPU) of {beside}", flush=True)


if __name__ == "__main__":
    main()
