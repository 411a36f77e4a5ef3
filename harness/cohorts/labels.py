"""Turn a mask's labels, values or colours, into the classes of a protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.cohorts.pixels import undeclared
from harness.cohorts.source import Sample
from harness.protocol import IGNORED, Protocol, label_text


@dataclass(frozen=True)
class Codes:
    """Label to class: of the structures from 1, of the background 0, of what is not annotated IGNORED."""

    labels: np.ndarray
    classes: np.ndarray
    declared: str

    @staticmethod
    def of(protocol: Protocol) -> Codes:
        """Return the codes of a protocol."""
        table = dict.fromkeys(protocol.background, 0) | dict.fromkeys(protocol.ignored, IGNORED)
        table |= {label: index for index, label in enumerate(protocol.label_values, start=1)}
        labels = sorted(table)
        said = [*protocol.label_values, *(protocol.background if "background" in protocol.labels else ())]
        declared = ", ".join(map(label_text, [*said, *protocol.ignored]))
        return Codes(np.array(labels), np.array([table[one] for one in labels], np.uint8), declared)

    def classes_of(self, sample: Sample) -> np.ndarray:
        """Return a sample's mask as class indices, uint8 [H, W]. Raises HarnessError for other labels."""
        present, inverse = np.unique(sample.mask, return_inverse=True)
        at = np.searchsorted(self.labels, present).clip(max=len(self.labels) - 1)
        unknown = present[self.labels[at] != present]
        if len(unknown):
            colours = [f'"#{_rgb(int(label)):06x}"' for label in present]
            raise undeclared(
                label_text(int(unknown[0])), self.declared, sample.mask_kind, colours, sample.mask_file
            )
        classes: np.ndarray = self.classes[at][inverse].reshape(sample.mask.shape)
        return classes


def _rgb(label: int) -> int:
    return label & 0xFFFFFF if label > 0xFFFF else min(label, 255) * 0x010101
