"""What a verification says, and what its checks work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from harness.cohorts.source import Progress, silent
from harness.store import Record
from harness.submission.archive import Submission
from harness.submission.yardstick import Yardstick

Verdict = Literal["confirmed", "could not confirm", "failed"]


@dataclass(frozen=True)
class Finding:
    """One line of a verification: what was looked at, the verdict, and in a sentence why."""

    what: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Parsed:
    """A record of the submission, every file of it understood."""

    record: Record
    labels: np.ndarray
    scores: pd.DataFrame
    curve: pd.DataFrame
    log: str


@dataclass
class Report:
    """All findings, and the records that could be read."""

    findings: list[Finding] = field(default_factory=list)
    parsed: dict[str, Parsed] = field(default_factory=dict)

    @property
    def failed(self) -> list[Finding]:
        """The findings that speak against the submission."""
        return [finding for finding in self.findings if finding.verdict == "failed"]


@dataclass(frozen=True)
class Case:
    """A submission, what it is measured against, and its records once `schema` has read them."""

    submission: Submission
    yardstick: Yardstick
    parsed: dict[str, Parsed]
    progress: Progress = silent
