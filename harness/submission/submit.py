"""Add a submission's records to a board, marked with how they were obtained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from harness import provenance, run
from harness.errors import HarnessError
from harness.plan import Plan
from harness.records import CURVE, Obtained, ProtocolRecord, Store, write_json
from harness.run import Prepared
from harness.score import write_scores
from harness.submission.agreement import recompute
from harness.submission.archive import Manifest
from harness.submission.findings import Parsed, Report
from harness.submission.yardstick import Yardstick
from harness.trial import Paths


def submit(manifest: Manifest, report: Report, yardstick: Yardstick, paths: Paths) -> Obtained:
    """Write the records of a report without failures and their cells in the plan; return the mark.

    Written anew from what was parsed: no byte of a stranger's file is copied, the scores are this
    machine's own where it has the cohort, and the method's source is text in its record, nothing more.
    Raises HarnessError, before anything is written, where a cell or record is already on the board.
    """
    if report.failed:
        raise HarnessError(f"The submission failed verification: {report.failed[0].why}.")
    store = Store(paths.runs)
    _check_free(store, manifest, yardstick)
    obtained: Obtained = "reported" if yardstick.cohort is None else "verified"
    for trial, parsed in report.parsed.items():
        _write(store, trial, parsed, yardstick, obtained)
    _add_cells(store, manifest, yardstick, paths)
    return obtained


def _check_free(store: Store, manifest: Manifest, yardstick: Yardstick) -> None:
    for row in manifest.plan:
        if store.has(row.trial):
            raise HarnessError(
                f"{store.path(row.trial)}: this trial has a record, and a submission overwrites none; "
                "delete that folder first if the submission is to replace it."
            )
    if manifest.protocol not in store.protocols():
        return
    board = store.protocol(manifest.protocol)
    if board.digest != yardstick.digest:
        raise HarnessError(
            f"{store.root}: its board '{manifest.protocol}' is of another protocol or cohort; "
            "submit to another --runs folder."
        )
    if any(row.method == manifest.method for row in board.plan):
        raise HarnessError(
            f"{store.root}: the board has a method '{manifest.method}', and a submission overwrites none; "
            "the submitter may rename the file and run it again."
        )


def _write(store: Store, trial: str, parsed: Parsed, yardstick: Yardstick, obtained: Obtained) -> None:
    scores = parsed.scores if yardstick.cohort is None else recompute(parsed.labels, yardstick)
    with store.writing(store.path(trial)) as folder:
        write_scores(scores, folder / "scores.parquet")
        np.savez_compressed(
            folder / "predictions.npz", samples=np.array(yardstick.samples), labels=parsed.labels
        )
        pd.DataFrame(parsed.curve, columns=list(CURVE)).to_csv(folder / "curve.csv", index=False)
        (folder / "log.txt").write_text(parsed.log, encoding="utf-8")
        update = {"obtained": obtained, "files": provenance.digests(folder)}
        write_json(folder / "record.json", parsed.record.model_copy(update=update))


def _add_cells(store: Store, manifest: Manifest, yardstick: Yardstick, paths: Paths) -> None:
    if manifest.protocol in store.protocols():
        board = store.protocol(manifest.protocol)
        seeds = sorted({row.seed for row in (*board.plan, *manifest.plan)} | set(board.protocol["seeds"]))
        changed = {"plan": board.plan + manifest.plan, "protocol": board.protocol | {"seeds": seeds}}
        _replace(
            store.root / "protocols" / manifest.protocol / "protocol.json", board.model_copy(update=changed)
        )
        return
    if yardstick.cohort is None:
        raise HarnessError(f"{store.root}: there is no board '{manifest.protocol}' to add to.")
    prepared = Prepared(yardstick.protocol, yardstick.cohort, Plan({}, manifest.plan), (), paths)
    run.write_protocol(prepared, f"harness run --all --protocol {manifest.protocol}")


def _replace(path: Path, board: ProtocolRecord) -> None:
    aside = path.with_suffix(".part")
    write_json(aside, board)
    os.replace(aside, path)
