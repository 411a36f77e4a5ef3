"""Alter a submission: as an accident would, or as someone who recomputes every hash."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.identity import trial_id
from harness.store import formats
from harness.submission import archive
from harness.submission.archive import Submission


def rewritten(submission: Submission, members: dict[str, bytes], /, **manifest: Any) -> Submission:
    """The same manifest but for `manifest`, over other members, in a well-formed file."""
    stated = submission.manifest.model_copy(update=manifest)
    return replace(submission, manifest=stated, members=members, raw=archive.encode(stated, members))


def flipped(data: bytes, at: int | None = None) -> bytes:
    """One bit of `data` is another, in its middle unless said otherwise."""
    at = 4 * len(data) if at is None else at
    return data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]


def forged(submission: Submission, **files: Callable[[bytes], bytes]) -> Submission:
    """Change files of the first record (`scores=...`) and recompute every hash that is of them."""
    names = {"scores": "scores.parquet", "predictions": "predictions.npz", "curve": "curve.csv"}
    trial = min(submission.records)
    members = dict(submission.members)
    record = json.loads(members[f"records/{trial}/record.json"])
    for key, change in files.items():
        name = f"records/{trial}/{names[key]}"
        members[name] = change(members[name])
        record["files"][names[key]] = hashlib.sha256(members[name]).hexdigest()
    members[f"records/{trial}/record.json"] = json.dumps(record).encode()
    return rewritten(submission, members, members=archive.digests(members))


def with_records(submission: Submission, change: Callable[[dict[str, Any]], object]) -> Submission:
    """Change each record.json, give the trials the ids of what they then say, recompute every hash."""
    members = {n: d for n, d in submission.members.items() if not n.startswith("records/")}
    renamed = {}
    for trial, files in submission.records.items():
        record = json.loads(files["record.json"])
        change(record)
        renamed[trial] = record["id"] = trial_id(record["identity"])
        told = files | {"record.json": json.dumps(record).encode()}
        members |= {f"records/{renamed[trial]}/{name}": data for name, data in told.items()}
    plan = tuple(row.model_copy(update={"trial": renamed[row.trial]}) for row in submission.manifest.plan)
    return rewritten(submission, members, plan=plan, members=archive.digests(members))


def better(data: bytes) -> bytes:
    """Scores whose cup is a millionth better than it was."""
    frame = pd.read_parquet(io.BytesIO(data))
    frame.loc[frame["structure"] == "cup", "dice"] += 1e-6
    return parquet(frame)


def parquet(frame: pd.DataFrame) -> bytes:
    return formats.scores_bytes(frame)


def one_pixel(data: bytes) -> bytes:
    """Predictions with the lowest bit of one pixel's label turned, the label still a class."""
    arrays = dict(np.load(io.BytesIO(data)))
    row, y, x = np.argwhere(arrays["labels"] < 2)[0]
    arrays["labels"][row, y, x] ^= 1
    return npz(**arrays)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
