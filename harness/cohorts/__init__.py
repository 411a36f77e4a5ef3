"""Where samples come from: one file a source, one cached form, one split and grouping for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from pydantic import ValidationError

from harness.cohorts import columns, fairseg, folder, planted, synthetic
from harness.cohorts.cache import stored
from harness.cohorts.cohort import SPLITS, Cohort, Remark
from harness.cohorts.groups import known, make_groups
from harness.cohorts.source import Progress, Source, silent
from harness.cohorts.split import LEFT_OUT, make_split
from harness.cohorts.thumbnails import write_thumbnails
from harness.errors import HarnessError, did_you_mean
from harness.protocol import Protocol, explain

__all__ = [
    "SOURCES",
    "SPLITS",
    "Cohort",
    "Remark",
    "check",
    "describe",
    "load",
    "of_fold",
    "write_thumbnails",
]

SOURCES: dict[str, ModuleType] = {
    "fairseg": fairseg,
    "folder": folder,
    "planted": planted,
    "synthetic": synthetic,
}
"""Name in `[cohort] source` to the module with its `Options` and `open_source`."""


def load(protocol: Protocol, data: Path | None, cache: Path, progress: Progress = silent) -> Cohort:
    """Return the protocol's cohort, decoded once under `cache` and memory-mapped after that.

    `data` is the folder that a file-based source reads, instead of the one the protocol names; `progress` is
    told how far reading is. Raises HarnessError, one sentence, for anything about protocol, files or split
    that does not fit.
    """
    source = _open(protocol, data)
    entry = stored(source, protocol, cache, progress)
    place = _places(source, entry.table)
    attributes, groups = make_groups(entry.table, protocol.attributes, source.values, place)
    subjects = pd.concat([entry.table[["sample", "patient", "split"]], attributes], axis=1)
    subjects["split"] = _split(subjects, groups, protocol, entry.table, place)
    whole = Cohort(
        title=source.title,
        licence=source.licence,
        citation=source.citation,
        publish_images=source.publish_images,
        images=entry.images,
        masks=entry.masks,
        subjects=subjects,
        groups=groups,
        digest="",
        stored=entry.digest,
        areas=entry.areas,
        places=entry.places,
        remarks=(*entry.remarks, *columns.remarks(entry.table, protocol.attributes, place)),
        training=source.training,
    )
    return _sealed(whole)


def of_fold(cohort: Cohort, protocol: Protocol) -> Cohort:
    """Return a cohort in folds, read before, under the split of one of them: `protocol.split.fold`."""
    bare = cohort.subjects.assign(split=None)
    # As `load` does: patients whose ids are spellings of one stay together.
    spelt = bare.assign(patient=columns.one_spelling(bare["patient"]))
    split = make_split(spelt, cohort.groups, protocol.split)
    return _sealed(replace(cohort, subjects=bare.assign(split=split)))


def _sealed(cohort: Cohort) -> Cohort:
    """Return a cohort without the slices that are not trained on, and with the digest of what is in it."""
    split = cohort.subjects["split"].to_numpy(dtype=object)
    if cohort.training == "with-structure" and cohort.areas is not None:
        split[(split == "train") & (cohort.areas[:, 1:].sum(axis=1) == 0)] = LEFT_OUT
    digest = hashlib.sha256("\0".join([cohort.stored, *split]).encode()).hexdigest()
    return replace(cohort, subjects=cohort.subjects.assign(split=split), digest=digest)


def check(protocol: Protocol, data: Path | None) -> None:
    """Open the protocol's source without reading a sample. Raises HarnessError as `load` does."""
    _open(protocol, data)


def describe(cohort: Cohort, protocol: Protocol) -> pd.DataFrame:
    """Return who is in a cohort: `attribute, group, split, samples, patients`, one row per combination.

    Attributes stand in the protocol's order, groups in theirs and then "unknown" where there are
    any, splits in the order of SPLITS, those that are empty for everyone left out.
    """
    rows = []
    for attribute in protocol.attributes:
        names = cohort.groups[attribute]
        column = cohort.subjects[attribute].where(cohort.subjects[attribute].notna(), "unknown")
        for group in [*names, *(["unknown"] if (column == "unknown").any() else [])]:
            for split in [split for split in SPLITS if len(cohort.rows(split))]:
                inside = cohort.subjects[(column == group) & (cohort.subjects["split"] == split)]
                rows.append((attribute, group, split, len(inside), inside["patient"].nunique()))
    return pd.DataFrame(rows, columns=["attribute", "group", "split", "samples", "patients"])


def _split(
    subjects: pd.DataFrame,
    groups: dict[str, tuple[str, ...]],
    protocol: Protocol,
    table: pd.DataFrame,
    place: Callable[[int], str],
) -> np.ndarray:
    """Return the split; where the harness makes it, patients whose ids are spellings of one stay together."""
    if not subjects["split"].notna().any():
        subjects = subjects.assign(patient=columns.one_spelling(subjects["patient"]))
    spelt = {}
    for name, spec in protocol.attributes.items():
        values = table[spec.column or name].map(lambda value, spec=spec: known(value, spec)).astype(object)
        spelt[name] = (
            set() if spec.bins else {one for group in columns.variants(values, spec) for one in group}
        )
    return make_split(subjects, groups, protocol.split, place, spelt)


def _places(source: Source, table: pd.DataFrame) -> Callable[[int], str]:
    """Return what says where a row of the cached table is to be mended: the source has its own order."""
    rows = {sample: row for row, sample in enumerate(source.samples)}
    return lambda row: source.place(rows[table["sample"].iloc[row]])


def _open(protocol: Protocol, data: Path | None) -> Source:
    name = protocol.cohort.source
    if name not in SOURCES:
        raise HarnessError(
            f"Protocol '{protocol.name}': no cohort source '{name}'.{did_you_mean(name, SOURCES)}"
        )
    module = SOURCES[name]
    try:
        options = module.Options.model_validate(protocol.cohort.options)
    except ValidationError as error:
        raise HarnessError(
            f"Protocol '{protocol.name}', [cohort]: {explain(error, module.Options)}"
        ) from None
    source: Source = module.open_source(options, protocol.cohort.size, data)
    return source
