"""The protocol's own record: what a board's cells are, on which cohort, made by which command."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd

from harness.cohorts.cohort import Cohort
from harness.identity import trial_id
from harness.protocol import Protocol
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.store import BrokenPlugin, PlanRow, ProtocolRecord, Tuned, files, formats, names


def write_protocol(prepared: Prepared, command: str) -> None:
    """Write the protocol's own record; cells of methods that are not in this plan stay."""
    with prepared.store.locked(prepared.protocol.name):
        _write_protocol(prepared, command)


def _write_protocol(prepared: Prepared, command: str) -> None:
    store, protocol, cohort = prepared.store, prepared.protocol, prepared.cohort
    digest = protocol_digest(protocol, cohort)
    old = store.spared(store.protocol, protocol.name) if protocol.name in store.protocols() else None
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    if old is not None and old.digest == digest:
        rows, tuned = _merged(old, prepared)
    seeds = sorted({row.seed for row in rows} | set(protocol.seeds))
    record = ProtocolRecord(
        name=protocol.name,
        digest=digest,
        protocol=protocol.model_dump(mode="json") | {"seeds": seeds},
        cohort={
            "title": cohort.title,
            "licence": cohort.licence,
            "citation": cohort.citation,
            "digest": cohort.digest,
            "publish_images": cohort.publish_images,
            "n_samples": len(cohort.subjects),
            "n_patients": int(cohort.subjects["patient"].nunique()),
        },
        groups=cohort.groups,
        command=command,
        plan=rows,
        broken=tuple(
            BrokenPlugin(name=b.plugin.name, file=b.plugin.file.name, error=b.error) for b in prepared.broken
        ),
        tuned=tuned,
    )
    place = store.protocol_file(protocol.name)
    unread = place if old is None else place.with_name(names.DAMAGED_PROTOCOL)
    with files.writing(place.parent) as folder:
        files.write_json(folder / names.PROTOCOL, record)
        files.put(folder / names.SUBJECTS, formats.frame_bytes(cohort.subjects))
        files.put(folder / names.SIZES, formats.frame_bytes(_sizes(protocol, cohort)))
        if cohort.publish_images:
            files.put(folder / names.CASES, _cases(cohort))
        if unread.is_file():  # it names what others ran or submitted: a person may yet find them there
            files.put(folder / names.DAMAGED_PROTOCOL, unread.read_bytes())


def protocol_digest(protocol: Protocol, cohort: Cohort) -> str:
    """Return the SHA-256 over all that makes two boards one: what is fixed but for names and seeds."""
    fixed = protocol.model_dump(mode="json", exclude={"name", "title", "description", "seeds"})
    text = json.dumps([fixed, cohort.digest, cohort.groups], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _merged(old: ProtocolRecord, prepared: Prepared) -> tuple[tuple[PlanRow, ...], dict[str, Tuned]]:
    """Return the plan's rows and tunings with those that are already there of other cells.

    Cells of a method that was tuned otherwise, or not at all, go: they would be averaged with these. Those
    that were made with other code become what is to run now; controls that are not in this plan go then.
    """
    rows, tuned = prepared.plan.rows, dict(prepared.tuned)
    fresh = {(row.method, row.attribute, row.seed) for row in rows}
    again = {row.control_of or row.method for row in rows}
    retuned = {method for method in again if old.tuned.get(method) != tuned.get(method)}
    now = [_as_of_now(row, prepared.plan) for row in old.plan]
    recoded = {row.method for row, one in zip(old.plan, now, strict=True) if one not in (None, row)}
    kept = tuple(
        one or row
        for row, one in zip(old.plan, now, strict=True)
        if (row.method, row.attribute, row.seed) not in fresh
        and (row.control_of or row.method) not in retuned
        and not (one is None and row.control_of in recoded)
    )
    return kept + rows, {method: one for method, one in old.tuned.items() if method not in again} | tuned


def _as_of_now(row: PlanRow, current: Plan) -> PlanRow | None:
    """Return a cell as the plan would fill it under the cell's seed; None for what is not in the plan."""
    for one in current.rows:
        same = (one.method, one.attribute) == (row.method, row.attribute)
        if same and one.trial in current.trials:  # a submission's trials are on the board alone
            return row.model_copy(update={"trial": _reseeded(one.trial, row.seed, current)})
    return None


def _reseeded(trial: str, seed: int, current: Plan) -> str:
    """Return the id that a trial of the plan has under another seed."""
    identity = current.trials[trial].identity
    origin = identity["starts_from"]
    before = None if origin is None else _reseeded(origin, seed, current)
    return trial_id(identity | {"seed": seed, "starts_from": before})


def _sizes(protocol: Protocol, cohort: Cohort) -> pd.DataFrame:
    rows = cohort.rows("test")
    masks = np.asarray(cohort.masks[rows])
    columns = {name: np.isin(masks, protocol.classes(name)).sum(axis=(1, 2)) for name in protocol.structures}
    return pd.DataFrame({"sample": cohort.subjects["sample"].to_numpy()[rows].astype(str)} | columns)


def _cases(cohort: Cohort) -> bytes:
    rows = cohort.rows("test")
    samples = cohort.subjects["sample"].to_numpy()[rows].astype(str)
    images, masks = np.asarray(cohort.images[rows]), np.asarray(cohort.masks[rows])
    return formats.arrays_bytes(samples=samples, images=images, masks=masks)
