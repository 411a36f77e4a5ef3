"""Scores by an identity of their own: where a metric changed, kept predictions are scored again."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from harness import identity
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.metrics import score as scorer
from harness.protocol import Protocol
from harness.running import provenance
from harness.running.basis import Basis, scored_as
from harness.store import Record, Store, files, formats, names


def scoring_identity(basis: Basis) -> dict[str, Any]:
    """Return all that scores depend on beside the predictions: true masks, structures, the metrics' code."""
    protocol, cohort = basis.protocol, basis.cohort
    rows = cohort.rows("test")
    reached = identity.reached([Path(scorer.__file__)])
    made: dict[str, Any] = {
        "masks": identity.data_digest(basis.masks[rows]),
        "samples": identity.data_digest(_samples(cohort).tolist()),
        "structures": structures(protocol),
        "code": identity.code(reached),
        "libraries": identity.libraries(reached),
    }
    told = scored_as(protocol, cohort)
    if told:
        made["layout"] = told
    # As a record has it: a record is read from JSON, where a tuple is a list.
    as_read: dict[str, Any] = json.loads(json.dumps(made))
    return as_read


def structures(protocol: Protocol) -> dict[str, tuple[int, ...]]:
    """Return structure to the class indices that make it up."""
    return {name: protocol.classes(name) for name in protocol.structures}


class _Told(Mapping[str, tuple[int, ...]]):
    """Structures that tell each time they are gone through: once for each sample that is scored.

    The code of the metrics is a part of every score's identity, so that it is not to know of this.
    """

    def __init__(self, structures: Mapping[str, tuple[int, ...]], seen: Callable[[], None]) -> None:
        self._structures, self._seen = structures, seen

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._structures[name]

    def __len__(self) -> int:
        return len(self._structures)

    def __iter__(self) -> Iterator[str]:
        self._seen()
        return iter(self._structures)


def score(
    protocol: Protocol,
    cohort: Cohort,
    labels: np.ndarray,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Return the scores of the test samples' predictions: uint8 class indices [n, S, S].

    A row a sample and structure, or with `[scoring] unit = "patient"` a patient and structure; distances in
    mm where the cohort knows how large its pixels are. `progress` is told how many of how many are done.
    """
    rows = cohort.rows("test")
    truth, samples = np.asarray(cohort.masks[rows]), _samples(cohort).tolist()
    places = None if cohort.places is None else cohort.places.iloc[rows]
    by_patient = protocol.scoring.unit == "patient"
    layout = scorer.Layout(
        units=cohort.subjects["patient"].to_numpy()[rows].astype(str).tolist() if by_patient else samples,
        volumes=[""] * len(rows) if places is None else places["volume"].astype(str).tolist(),
        slices=[0] * len(rows) if places is None else places["slice"].astype(int).tolist(),
        spacing=None if cohort.spacing is None or places is None else places[["z", "y", "x"]].to_numpy(float),
    )
    # The first time that they are gone through they are checked.
    seen, total = itertools.count(-1), len(set(layout.units))
    told = _Told(structures(protocol), lambda: progress(max(0, next(seen)), total))
    # Products this small are faster by one thread; of several workers each would wait for all cores.
    with threadpool_limits(1, "blas"):
        found = scorer.score(labels, truth, samples, told, layout, protocol.scoring.tolerance)
    progress(total, total)
    return found


def subjects(protocol: Protocol, cohort: Cohort) -> pd.DataFrame:
    """Return who is scored: the cohort's subjects, or one row a patient where the protocol says so.

    Raises HarnessError for a patient whose test samples are of two groups.
    """
    if protocol.scoring.unit == "sample":
        return cohort.subjects
    table = cohort.subjects.assign(sample=cohort.subjects["patient"].astype(str))
    for attribute in protocol.attributes:
        groups = table[table["split"] == "test"].groupby("patient")[attribute].nunique(dropna=False)
        if (groups > 1).any():
            raise HarnessError(
                f"[scoring] unit = \"patient\": the patient '{groups[groups > 1].index[0]}' is in several "
                "groups of "
                f"'{attribute}'; give all samples of a patient one value, or score by sample."
            )
    return table.drop_duplicates(["sample", "split"]).reset_index(drop=True)


def sizes(protocol: Protocol, cohort: Cohort) -> pd.DataFrame:
    """Return `sample` and a column for each structure, its true size in pixels, of what is scored."""
    rows = cohort.rows("test")
    masks = np.asarray(cohort.masks[rows])
    columns = {name: np.isin(masks, protocol.classes(name)).sum(axis=(1, 2)) for name in protocol.structures}
    table = pd.DataFrame({"sample": _samples(cohort)} | columns)
    if protocol.scoring.unit == "patient":
        table["sample"] = cohort.subjects["patient"].to_numpy()[rows].astype(str)
        table = table.groupby("sample", sort=False, as_index=False).sum()
    return table


def ranks(protocol: Protocol, true_sizes: pd.Series) -> pd.Series:
    """Return which of the true sizes' rows the protocol ranks by: all, or where the structure is present."""
    # The statistics import scipy, which what is refused before needs not.
    from harness.equity.presence import ranks_present

    present = ranks_present(protocol.scoring.rank, true_sizes.to_numpy(float))
    return true_sizes > 0 if present else true_sizes >= 0


def units(protocol: Protocol, cohort: Cohort) -> tuple[str, ...]:
    """Return the names of what is scored, in the order of the scores' rows."""
    scored = subjects(protocol, cohort)
    return tuple(scored.loc[scored["split"] == "test", "sample"].astype(str))


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
