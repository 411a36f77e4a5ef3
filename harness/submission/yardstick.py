"""What this machine itself knows of a protocol: what a submission is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import cohorts, protocol
from harness.backbones import weights
from harness.cohorts.cohort import Cohort
from harness.cohorts.source import Progress, silent
from harness.errors import HarnessError
from harness.protocol import Protocol
from harness.running import scoring
from harness.running.basis import Basis
from harness.running.board import protocol_digest
from harness.store import Store


@dataclass(frozen=True)
class Yardstick:
    """A protocol with this machine's cohort, or, without one, with what the board says of it.

    samples: the test samples in their order; groups: attribute to its groups; cohort: None where no
    score can be recomputed.
    """

    protocol: Protocol
    digest: str
    samples: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    cohort: Cohort | None
    cache: Path = Path()
    units: tuple[str, ...] = ()
    """What the scores have a row for, where that is patients and not samples."""

    @property
    def scored(self) -> tuple[str, ...]:
        """The names of what is scored, in order."""
        return self.units or self.samples

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the backbone's pretrained weights, "" for none."""
        name = weights.required(self.protocol.backbone)
        return "" if name is None else weights.CHECKPOINTS[name].sha256

    def basis(self, device: str) -> Basis:
        """Return what trials on a kind of device stand on here; needs the cohort."""
        if self.cohort is None:
            raise ValueError("a yardstick without a cohort has no masks")
        return Basis.of(self.protocol, self.cohort, self.cache, self.weights_digest, device)


def from_cohort(name_or_file: str, data: Path | None, cache: Path, progress: Progress = silent) -> Yardstick:
    """Return the yardstick of a protocol whose cohort is here. Raises HarnessError where it is not."""
    chosen = protocol.load(name_or_file)
    if chosen.split.folds > 1:
        raise HarnessError(
            f"{name_or_file}: tests in folds, and a submission has one test set; give another."
        )
    cohort = cohorts.load(chosen, data, cache, progress)
    samples = cohort.subjects["sample"].to_numpy()[cohort.rows("test")]
    return Yardstick(
        chosen,
        protocol_digest(chosen, cohort),
        tuple(map(str, samples)),
        dict(cohort.groups),
        cohort,
        cache,
        scoring.units(chosen, cohort) if chosen.scoring.unit == "patient" else (),
    )


def from_board(store: Store, name: str) -> Yardstick:
    """Return the yardstick of a board, without images or masks. Raises HarnessError where there is none."""
    if name not in store.protocols():
        raise HarnessError(
            f"{store.root}: there is no board of protocol '{name}' to add to; run one of its methods first."
        )
    record, subjects = store.protocol(name), store.subjects(name)
    samples = subjects.loc[subjects["split"] == "test", "sample"]
    chosen = protocol.parse(record.protocol, str(store.board_file(name)))
    if chosen.scoring.unit == "patient":
        raise HarnessError(
            f"{store.board_file(name)}: scores are by patient, and the board does not say of which "
            "samples; give "
            "the cohort with --data."
        )
    return Yardstick(chosen, record.digest, tuple(map(str, samples)), dict(record.groups), None)
