"""Predictions alone, as a submission: what can be said of them, and their scores on this machine's masks."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from harness.cohorts.source import Progress, silent
from harness.errors import HarnessError
from harness.identity import trial_id
from harness.store import CURVE, MethodInfo, PlanRow, Record
from harness.submission import archive
from harness.submission.agreement import recompute
from harness.submission.archive import digests
from harness.submission.contents import parse_predictions
from harness.submission.findings import Finding, Parsed, Report
from harness.submission.predicted import Manifest, Predictions, check_distinct, member
from harness.submission.yardstick import Yardstick

KIND = "predictions only"


def verify(
    given: Predictions, yardstick: Yardstick, progress: Progress = silent
) -> tuple[archive.Manifest, Report]:
    """Return what can be said of predictions, and the manifest under which their records are added.

    Every test sample must be predicted, and scores are computed here: nothing that is in the file is one.
    """
    report = Report()
    manifest = given.manifest
    report.findings += _file(given, yardstick)
    rows = []
    for seed, name in enumerate(sorted(given.members, key=lambda one: int(one[12:-4]))):
        if report.failed:
            break
        progress("Computing the scores, trainings", seed, len(given.members))
        try:
            labels = parse_predictions(
                given.members[name],
                yardstick.samples,
                yardstick.protocol.cohort.size,
                yardstick.protocol.n_classes,
            )
        except HarnessError as error:
            report.findings.append(Finding("coverage", "failed", f"{name}: {error}"))
            break
        parsed = _parsed(manifest, yardstick, labels, seed)
        report.parsed[parsed.record.id] = parsed
        rows += [
            PlanRow(method=manifest.method, attribute=attribute, seed=seed, trial=parsed.record.id)
            for attribute in yardstick.groups
        ]
    if not report.failed:
        report.findings += _said(len(given.members), yardstick)
    return _as_submission(manifest, rows), report


def _file(given: Predictions, yardstick: Yardstick) -> list[Finding]:
    if digests(given.members) != dict(sorted(given.manifest.members.items())):
        return [Finding("hashes", "failed", "its members are not those that its manifest lists")]
    if set(given.members) != {member(seed) for seed in range(len(given.members))}:
        return [Finding("hashes", "failed", "its trainings are not numbered from 0")]
    if given.manifest.protocol_digest != yardstick.digest:
        why = f"they are of another protocol or cohort than '{yardstick.protocol.name}' here"
        return [Finding("protocol", "failed", why)]
    try:
        check_distinct(given.members)
    except HarnessError as error:
        return [Finding("trainings", "failed", str(error).rstrip("."))]
    return [Finding("protocol", "confirmed", "protocol, cohort and test samples are those that are here")]


def _said(trainings: int, yardstick: Yardstick) -> list[Finding]:
    count = f"{len(yardstick.samples)} test samples of {trainings} training{'s' if trainings > 1 else ''}"
    return [
        Finding("coverage", "confirmed", f"all {count} are predicted, with the protocol's classes"),
        Finding("scores", "confirmed", "computed here, on this machine's masks"),
        Finding(
            "training", "could not confirm", "how they were made, and on which data, nobody here can tell"
        ),
    ]


def _parsed(manifest: Manifest, yardstick: Yardstick, labels: np.ndarray, seed: int) -> Parsed:
    told = {"name": manifest.method, "namespace": manifest.namespace, "title": manifest.title}
    identity = {
        "kind": KIND,
        "protocol": yardstick.digest,
        "method": told,
        "seed": seed,
        "predictions": hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest(),
    }
    record = Record(
        id=trial_id(identity), status="done", protocol=yardstick.protocol.name,
        method=MethodInfo(name=manifest.method, title=manifest.title, reads_attribute=False),
        attribute=None, groups=(), seed=seed, identity=identity,
    )  # fmt: skip
    return Parsed(record, labels, recompute(labels, yardstick), pd.DataFrame(columns=list(CURVE)), "")


def _as_submission(manifest: Manifest, rows: list[PlanRow]) -> archive.Manifest:
    return archive.Manifest(
        method=manifest.method, namespace=manifest.namespace, plugin="", protocol=manifest.protocol,
        protocol_digest=manifest.protocol_digest, harness=manifest.harness, plan=tuple(rows),
        members=manifest.members,
    )  # fmt: skip
