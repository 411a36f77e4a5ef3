"""Verify a stranger's submission: what this machine confirms of it, what it cannot, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.cohorts.source import Progress, silent
from harness.submission import agreement, integrity, origin
from harness.submission.archive import Submission
from harness.submission.ceiling import ceiling
from harness.submission.findings import Case, Finding, Report
from harness.submission.yardstick import Yardstick

Check = Callable[[Case], Iterator[Finding]]

STAGES: tuple[tuple[Check, ...], ...] = (
    (integrity.whole_file, integrity.hashes),
    (integrity.protocol, integrity.coverage),
    (integrity.schema,),
    (integrity.files, integrity.source, integrity.ids),
    (integrity.naming, agreement.records),
    (agreement.stated_identity, origin.origin, agreement.curves, agreement.scores, agreement.provenance),
)
"""Checks in the order in which each may build on those of the stages before it."""


def verify(submission: Submission, yardstick: Yardstick, progress: Progress = silent) -> Report:
    """Return what can and cannot be confirmed of a submission, one finding a check.

    Executes nothing of it. Checks that build on one that failed are left out: a submission whose
    hashes do not hold is not read further. `progress` is told how many trials were scored again.
    """
    report = Report()
    case = Case(submission, yardstick, report.parsed, progress)
    most = _most_memory(case)
    try:
        with ceiling(most):
            _in_stages(case, report)
    except MemoryError:
        why = f"reading it takes more memory than any such submission: over {most >> 20} MiB"
        report.findings.append(Finding("file", "failed", why))
    return report


def _in_stages(case: Case, report: Report) -> None:
    for stage in STAGES:
        for check in stage:
            report.findings += check(case)
        if report.failed:
            return


def _most_memory(case: Case) -> int:
    """Return the bytes that verifying may take: what an honest submission of this protocol may, twice."""
    protocol = case.yardstick.protocol
    trials = len(protocol.attributes) * len(protocol.seeds)
    labels = len(case.yardstick.samples) * protocol.cohort.size**2
    return (512 << 20) + 2 * len(case.submission.raw) + 2 * (trials + 4) * labels
