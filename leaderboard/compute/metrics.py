"""What is measured of a sample: each metric's name, definition, unit and digits, declared once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """A row of the protocol page's table of definitions. The texts are HTML of our own.

    place: where in the table, ascending; reading: how to read it; source: who defined it; name: where it is
    not that of what is defined.
    """

    place: int
    formula: str
    reading: str
    source: str = "ours"
    name: str = ""


@dataclass(frozen=True)
class Metric:
    """A score by sample as `harness.metrics` computes it; `key` is its column in a record's scores.

    higher_is_better: a fraction in [0, 1], else a distance; short: its name where there is little room.
    """

    key: str
    name: str
    definition: Definition
    unit: str = ""
    digits: int = 3
    higher_is_better: bool = True
    short: str = ""

    @property
    def title(self) -> str:
        """The name with the unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


DICE = Metric(
    "dice",
    "Dice",
    Definition(
        10,
        "2 |P ∩ T| / (|P| + |T|)",
        "Overlap of prediction P and truth T of one sample, then the mean over the test samples. Both empty "
        "is 1, one empty is 0. FairSeg's scripts score a prediction on an empty truth as 1 and both empty as "
        "0.",
        "Dice 1945",
    ),
)
IOU = Metric(
    "iou",
    "IoU",
    Definition(20, "|P ∩ T| / |P ∪ T|", "As Dice; both empty is 1, one empty is 0.", source="Jaccard 1912"),
)
NSD = Metric(
    "nsd",
    "NSD at 2 px",
    Definition(
        30,
        "share of both boundaries within 2 px of the other",
        "Normalised surface Dice: forgives what is within 2 pixels. Boundary length is counted in pixels, as "
        "MONAI does.",
        "Nikolov et al., JMIR 2021",
        name="NSD",
    ),
)
HD95 = Metric(
    "hd95",
    "HD95 (pooled)",
    Definition(
        40,
        "95th percentile of the boundary distances of both directions together, in pixels",
        "As medpy computes it, and so FairSeg. MONAI takes the larger of the two directed percentiles "
        "instead; the records hold that one as hd95_max. Both empty is 0, one empty is the image diagonal: "
        "FairSeg's scripts give a missed structure 0, MONAI drops it.",
        "Huttenlocher et al., PAMI 1993",
    ),
    unit="px",
    digits=1,
    higher_is_better=False,
    short="HD95",
)
ASD = Metric(
    "asd",
    "ASD",
    Definition(
        50,
        "mean of the boundary distances of both directions together, in pixels",
        "Average symmetric surface distance; medpy calls it assd. Both empty is 0, one empty is the image "
        "diagonal.",
    ),
    unit="px",
    digits=1,
    higher_is_better=False,
)

METRICS = (DICE, IOU, NSD, HD95, ASD)
"""The first ranks, and the others are shown beside it."""
