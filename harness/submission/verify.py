"""Verify a stranger's submission: what this machine confirms of it, what it cannot, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.submission import agreement, integrity, origin
from harness.submission.archive import Submission
from harness.submission.findings import Case, Finding, Report
from harness.submission.yardstick import Yardstick

Check = Callable[[Case], Iterator[Finding]]

STAGES: tuple[tuple[Check, ...], ...] = (
    (integrity.whole_file, integrity.hashes),
    (integrity.protocol, integrity.coverage),
    (integrity.schema,),
    (integrity.files, integrity.source, integrity.ids),
    (agreement.records,),
    (agreement.stated_identity, origin.origin, agreement.curves, agreement.scores, agreement.provenance),
)
"""Checks in the order in which each may build on those of the stages before it."""


def verify(submission: Submission, yardstick: Yardstick) -> Report:
    """Return what can and cannot be confirmed of a submission, one finding a check.

    Executes nothing of it. Checks that build on one that failed are left out: a submission whose
    hashes do not hold is not read further.
    """
    report = Report()
    case = Case(submission, yardstick, report.parsed)
    for stage in STAGES:
        for check in stage:
            report.findings += check(case)
        if report.failed:
            return report
    return report
