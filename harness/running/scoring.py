"""Scores by an identity of their own: where a metric changed, kept predictions are scored again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import identity
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.metrics import score as scorer
from harness.protocol import Protocol
from harness.running import provenance
from harness.running.plan import Basis
from harness.store import Record, Store, files, formats, names


def scoring_identity(basis: Basis) -> dict[str, Any]:
    """Return all that scores depend on beside the predictions: true masks, structures, the metrics' code."""
    protocol, cohort = basis.protocol, basis.cohort
    rows = cohort.rows("test")
    reached = identity.reached([Path(scorer.__file__)])
    made = {
        "masks": identity.data_digest(basis.masks[rows]),
        "samples": identity.data_digest(_samples(cohort).tolist()),
        "structures": structures(protocol),
        "code": identity.code(reached),
        "libraries": identity.libraries(reached),
    }
    # As a record has it: a record is read from JSON, where a tuple is a list.
    as_read: dict[str, Any] = json.loads(json.dumps(made))
    return as_read


def structures(protocol: Protocol) -> dict[str, tuple[int, ...]]:
    """Return structure to the class indices that make it up."""
    return {name: protocol.classes(name) for name in protocol.structures}


def score(protocol: Protocol, cohort: Cohort, labels: np.ndarray) -> pd.DataFrame:
    """Return the scores of the test samples' predictions: uint8 class indices [n, S, S]."""
    truth = np.asarray(cohort.masks[cohort.rows("test")])
    return scorer.score(labels, truth, _samples(cohort).tolist(), structures(protocol))


def is_stale(record: Record, scoring: Mapping[str, Any]) -> bool:
    """Tell whether a record's scores are of other masks, structures or metrics, and can be made anew."""
    return (
        bool(scoring)
        and record.status == "done"
        and record.obtained != "reported"
        and (record.scoring != scoring)
    )


def rescore(store: Store, trial: str, protocol: Protocol, cohort: Cohort, scoring: Mapping[str, Any]) -> None:
    """Score a record's kept predictions again; whatever else it holds stays to the byte.

    Raises HarnessError where its predictions are gone, damaged, or of other samples.
    """
    samples, labels = store.predictions(trial)
    if samples.tolist() != _samples(cohort).tolist():
        raise HarnessError(
            f"{store.path(trial)}: its predictions are of other samples than the cohort's; delete this "
            "folder and run the trial again."
        )
    began = time.monotonic()
    scores = score(protocol, cohort, labels)
    seconds = round(time.monotonic() - began, 3)
    record = store.record(trial)
    with files.writing(store.path(trial)) as folder:
        for file in store.path(trial).iterdir():
            if file.name not in (names.RECORD, names.SCORES):
                files.put(folder / file.name, file.read_bytes())
        files.put(folder / names.SCORES, formats.scores_bytes(scores))
        update = {
            "scoring": dict(scoring),
            "cost": record.cost.model_copy(update={"score_seconds": seconds}),
            "files": provenance.digests(folder),
        }
        files.write_json(folder / names.RECORD, record.model_copy(update=update))


def _samples(cohort: Cohort) -> np.ndarray:
    return np.asarray(cohort.subjects["sample"].to_numpy()[cohort.rows("test")].astype(str))
