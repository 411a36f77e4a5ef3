"""What is said of predictions: tidy tables of who is in the data, of the groups, of gaps and their chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness import equity
from harness.equity.adjust import adjusted
from harness.equity.along import smooth
from harness.equity.crossed import crossed
from harness.equity.place import Places, places
from harness.equity.presence import ranks_present
from harness.equity.standardise import strata
from harness.equity.variance import variance
from harness.errors import HarnessError
from harness.predictions.aligned import ErrorMaps
from harness.predictions.people import People
from harness.store import SCORES

MEASURED, REPORTED = "predictions only", "self-reported scores"
"""How scores came about: computed here from predictions, or elsewhere, and taken as they are."""

METRICS = {"dice": True, "iou": True, "nsd": True, "hd95": False, "hd95_max": False, "asd": False}
"""Metric to whether higher is better."""
RANKED = "dice"

Matrices = dict[str, np.ndarray]
"""Model to scores, float [trainings, cases]."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model or several on the same people, and what follows of them; every frame is tidy.

    scores: `model`, `seed`, the columns of `SCORES` that are known, and `size`, the structure's true size,
    where it is; people: see `People`; structures: the one that decides comes first; obtained: MEASURED or
    REPORTED; calibration: `model`, `seed` and the columns of `calibration_of`, where probabilities are
    known. Models are compared with the first.
    """

    scores: pd.DataFrame
    people: People
    structures: tuple[str, ...]
    obtained: str = MEASURED
    calibration: pd.DataFrame | None = None
    rank: str = "auto"
    margin: float = equity.MARGIN
    tolerance: float = 2.0
    unit: str = "pixels"
    notes: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    title: str = ""
    errors: Mapping[str, ErrorMaps] = field(default_factory=dict, repr=False)
    """Model to maps of where it errs, of its last training; none where predictions were not seen."""

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models' names, in the order given."""
        return tuple(dict.fromkeys(self.scores["model"]))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that groups are of."""
        return tuple(self.people.groups)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that every case has a score of, Dice first."""
        return tuple(m for m in METRICS if m in self.scores and self.scores[m].notna().all())

    @cached_property
    def metric(self) -> str:
        """The metric that tables are about: Dice where it is known."""
        if not self.metrics:
            raise HarnessError("No case has a score; give a column of Dice, or predictions.")
        return self.metrics[0]

    @cached_property
    def present_alone(self) -> bool:
        """Whether a structure is scored where it is present alone, as the board does where many are empty."""
        size = self._size(self.structures[0])
        return size is not None and ranks_present(self.rank, size)

    def rows(self, structure: str) -> np.ndarray:
        """Return which cases a structure's scores are over, bool [cases]."""
        size = self._size(structure)
        there = np.ones(len(self.people.table), bool) if size is None else size > 0
        return there if self.present_alone and there.any() else np.ones(len(there), bool)

    def matrices(self, structure: str, metric: str) -> Matrices:
        """Return each model's scores over all cases; a row a training."""
        own = self.scores[self.scores["structure"] == structure]
        names, found = self.people.table["sample"], {}
        seeds = sorted(own["seed"].unique())
        for model in self.models:
            table = own[own["model"] == model].pivot(index="seed", columns="sample", values=metric)
            found[model] = table.reindex(index=seeds, columns=names).to_numpy(float)
        return found

    def equity_scores(self, attribute: str, structure: str, metric: str = RANKED) -> equity.Scores | None:
        """Return what the statistics take; None where no group is known among the cases that count."""
        rows = self.rows(structure)
        table = self.people.table[rows]
        if not table[attribute].notna().any():
            return None
        return equity.Scores(
            {name: values[:, rows] for name, values in self.matrices(structure, metric).items()},
            table[attribute].to_numpy(object),
            table["patient"].to_numpy(),
            order=self.people.groups[attribute],
            higher_is_better=METRICS[metric],
        )

    @cached_property
    def tables(self) -> dict[tuple[str, str, str], equity.Tables]:
        """The board's tables by attribute, structure and metric, as `harness.equity.tables` makes them."""
        views = len(self.attributes) * len(self.structures)
        found = {}
        for attribute in self.attributes:
            for structure in self.structures:
                for metric in self.metrics:
                    scores = self.equity_scores(attribute, structure, metric)
                    if scores is not None:
                        found[attribute, structure, metric] = equity.tables(
                            scores,
                            self.models[0],
                            ranked=metric == self.metric and METRICS[metric],
                            least_seeds=1,
                            margin=self.margin,
                            views=views,
                        )
        return found

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Overall and by group, with intervals: a row a model, quantity and group, for each table."""
        return self._stacked("summary")

    @cached_property
    def noise(self) -> pd.DataFrame:
        """What gap chance makes, the p-value of the one seen, and the smallest that would be seen."""
        return self._stacked("noise")

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """Each model less the first, on the same patients; without rows for one model."""
        return self._stacked("comparison")

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Mean Dice of each group with its 95% interval, the whole of the data first."""
        own = self.summary[self.summary["quantity"].isin(("overall", "group"))]
        return own[own["metric"] == self.metric].drop(columns=["corrected", "metric"]).reset_index(drop=True)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """A row a model, attribute and structure: the gap, between whom, its interval, what chance makes."""
        keys = ["attribute", "structure", "metric", "model"]
        summary = self.summary[self.summary["quantity"] == "gap"]
        noise = self.noise[(self.noise["quantity"] == "gap") & (self.noise["group"] == "")]
        names = ["floor", "floor_95", "p", "p_adjusted", "above", "detectable"]
        shown = summary[[*keys, "estimate", "low", "high", "corrected", "note"]]
        found = shown.merge(noise[[*keys, *names]], on=keys, how="left")
        found = found[found["metric"] == self.metric].reset_index(drop=True)
        return found.merge(self._ends(), on=keys[:2] + keys[3:], how="left")

    def _ends(self) -> pd.DataFrame:
        """Return the groups with the best and the worst mean: `attribute, structure, model, best, worst`."""
        keys = ["attribute", "structure", "model"]
        groups = self.groups[(self.groups["quantity"] == "group") & self.groups["estimate"].notna()]
        order = groups.sort_values("estimate", ascending=not METRICS[self.metric], kind="stable")
        by = order.groupby(keys, sort=False)["group"]
        return pd.DataFrame({"best": by.first(), "worst": by.last()}).reset_index()

    @cached_property
    def who(self) -> pd.DataFrame:
        """Who is in the data: `attribute, group, cases, patients`; those of unknown group stand last."""
        table, rows = self.people.table, []
        for attribute, names in self.people.groups.items():
            column = table[attribute].where(table[attribute].notna(), None)
            for group in [*names, None]:
                own = table[column.isna()] if group is None else table[column == group]
                if len(own) or group is not None:
                    rows.append((attribute, group or "unknown", len(own), int(own["patient"].nunique())))
        return pd.DataFrame(rows, columns=["attribute", "group", "cases", "patients"])

    @cached_property
    def unknown(self) -> pd.DataFrame:
        """Whether people whose group nobody recorded have other scores, and what gap they could hide."""
        return self._each(lambda scores, attribute, structure: equity.unknown(scores))

    @cached_property
    def crossed(self) -> pd.DataFrame:
        """Two attributes at once, small cells drawn to what their groups have on their own."""
        frames, names = [], self.attributes
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                frames.append(self._crossed(first, second))
        return _joined(frames)

    def _crossed(self, first: str, second: str) -> pd.DataFrame:
        structure = self.structures[0]
        rows = self.rows(structure)
        table = self.people.table[rows]
        found = crossed(
            {name: values[:, rows] for name, values in self.matrices(structure, self.metric).items()},
            (table[first].to_numpy(object), table[second].to_numpy(object)),
            (self.people.groups[first], self.people.groups[second]),
            table["patient"].to_numpy(),
            equity.FEWER,
        )
        named = {"structure": structure, "attribute": first, "other": second}
        return _renamed(found).assign(**named) if len(found) else found

    @cached_property
    def along(self) -> pd.DataFrame:
        """Curves of the score along each number, the structure's size among them, with 95% bands."""
        rows = []
        for structure in self.structures:
            own = self.rows(structure)
            patients = self.people.table["patient"].to_numpy().astype(str)[own]
            for model, values in self.matrices(structure, self.metric).items():
                mean = np.nanmean(values, axis=0)[own]
                for name, numbers in self.numbers(structure).items():
                    known = np.isfinite(numbers[own])
                    points = smooth(numbers[own][known], mean[known], patients[known]) if known.any() else []
                    rows += [(structure, model, name, *point) for point in points]
        return pd.DataFrame(rows, columns=["structure", "model", "along", "value", "estimate", "low", "high"])

    def numbers(self, structure: str) -> dict[str, np.ndarray]:
        """Return what curves are along: the structure's size, and the table's numbers."""
        size = self._size(structure)
        if size is None:
            return dict(self.people.numbers)
        return {f"size of {structure}": np.where(size > 0, size, np.nan)} | self.people.numbers

    @cached_property
    def by_size(self) -> pd.DataFrame:
        """Mean score of each group among the small, middle and large structures, thirds of all cases."""
        return _joined([self._by_size(a, s) for a in self.attributes for s in self.structures])

    def _by_size(self, attribute: str, structure: str) -> pd.DataFrame:
        size, rows = self._size(structure), self.rows(structure)
        if size is None or not (size[rows] > 0).any():
            return pd.DataFrame()
        third = strata(size[rows])
        names = ("small", "middle", "large") if third.max() == 2 else tuple(map(str, range(third.max() + 1)))
        labels = np.array([names[one] for one in third], dtype=object)
        table = self.people.table[rows]
        found = crossed(
            {name: values[:, rows] for name, values in self.matrices(structure, self.metric).items()},
            (labels, table[attribute].to_numpy(object)),
            (names, self.people.groups[attribute]),
            table["patient"].to_numpy(),
            equity.FEWER,
        )
        if not len(found):
            return found
        found = _renamed(found).rename(columns={"first": "third", "second": "group"}).drop(columns="shrunk")
        return found.assign(structure=structure, attribute=attribute)

    @cached_property
    def calibrated(self) -> pd.DataFrame:
        """Brier score and calibration error, overall and by group, where probabilities are known."""
        if self.calibration is None or not len(self.calibration):
            return pd.DataFrame()
        return _joined(
            [
                self._calibrated(a, s, m)
                for a in self.attributes
                for s in self.structures
                for m in ("brier", "ece")
            ]
        )

    def _calibrated(self, attribute: str, structure: str, measure: str) -> pd.DataFrame:
        assert self.calibration is not None
        own = self.calibration[self.calibration["structure"] == structure]
        by_case = own.pivot_table(index=["model", "seed"], columns="sample", values=measure)
        names = self.people.table["sample"]
        by_case = by_case.reindex(columns=names)
        rows = by_case.notna().all(axis=0).to_numpy()
        table = self.people.table[rows]
        if not table[attribute].notna().any():
            return pd.DataFrame()
        values = {m: by_case.loc[[m]].to_numpy(float)[:, rows] for m in self.models if m in by_case.index}
        scores = equity.Scores(
            values, table[attribute].to_numpy(object), table["patient"].to_numpy(),
            order=self.people.groups[attribute], higher_is_better=False,
        )  # fmt: skip
        found = equity.summarise(equity.resample(scores, resamples=equity.FEWER))
        found = found[found["quantity"].isin(("overall", "group", "gap"))].drop(columns="corrected")
        return _renamed(found).assign(attribute=attribute, structure=structure, metric=measure)

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The cases with the lowest scores of each group, three each, of each model's first training."""
        frames = []
        first = self.scores[self.scores["seed"] == self.scores["seed"].min()]
        own = first[first["structure"] == self.structures[0]].merge(self.people.table, on="sample")
        own = own[own["sample"].isin(self.people.table["sample"][self.rows(self.structures[0])])]
        for attribute in self.attributes:
            ordered = own.sort_values([self.metric, "sample"])
            picked = ordered.groupby(["model", attribute], sort=False).head(3)
            columns = ["model", "structure", "sample", "patient", self.metric]
            frames.append(picked[columns].assign(attribute=attribute, group=picked[attribute]))
        return _joined(frames)

    @cached_property
    def adjusted(self) -> pd.DataFrame:
        """The gap at equal values of each number, and of all of them together, beside the raw gap."""
        return _joined([self._adjusted(a, s) for a in self.attributes for s in self.structures])

    def _adjusted(self, attribute: str, structure: str) -> pd.DataFrame:
        scores, rows = self.equity_scores(attribute, structure, self.metric), self.rows(structure)
        given = {
            # Sizes are skewed: a regression is on their root.
            name: np.sqrt(values[rows]) if name.startswith("size of ") else values[rows]
            for name, values in self.numbers(structure).items()
            if name != attribute
        }
        if scores is None or not given:
            return pd.DataFrame()
        sets = [{name: values} for name, values in given.items()] + ([given] if len(given) > 1 else [])
        found = pd.concat([adjusted(scores, own) for own in sets], ignore_index=True)
        return _renamed(found).assign(attribute=attribute, structure=structure)

    @cached_property
    def place(self) -> pd.DataFrame:
        """Clusters of places within a structure where groups' errors differ, with p over the whole map."""
        frames = []
        for (attribute, structure, model), found in self.located.items():
            frames.append(found.table.assign(attribute=attribute, structure=structure, model=model))
        return _joined(frames)

    @cached_property
    def located(self) -> dict[tuple[str, str, str], Places]:
        """Where errors lie, by attribute, structure and model."""
        table, every = self.people.table, {}
        for attribute in self.attributes:
            for structure in self.structures:
                for model, errors in self.errors.items():
                    maps, there = errors.of(structure, table["sample"].tolist())
                    if len(maps):
                        own = table[there]
                        groups, patients = own[attribute].to_numpy(object), own["patient"].to_numpy()
                        found = places(maps, groups, patients, least=equity.MIN_PATIENTS)
                        every[attribute, structure, model] = found
        return every

    @cached_property
    def variance(self) -> pd.DataFrame:
        """How much of the spread of scores is the group, the patient, the model, the training."""
        return self._each(lambda scores, attribute, structure: variance(scores))

    def _size(self, structure: str) -> np.ndarray | None:
        if "size" not in self.scores:
            return None
        own = self.scores[(self.scores["structure"] == structure) & (self.scores["model"] == self.models[0])]
        first = own[own["seed"] == own["seed"].min()].set_index("sample")["size"]
        found = first.reindex(self.people.table["sample"]).to_numpy(float)
        return None if np.isnan(found).any() else found

    def _stacked(self, name: str) -> pd.DataFrame:
        frames = []
        for (attribute, structure, metric), tables in self.tables.items():
            named = {"attribute": attribute, "structure": structure, "metric": metric}
            own = getattr(tables, name)
            if len(own):
                frames.append(_renamed(own).assign(**named))
        return _joined(frames)

    def _each(self, make: Any) -> pd.DataFrame:
        frames = []
        for attribute in self.attributes:
            for structure in self.structures:
                scores = self.equity_scores(attribute, structure, self.metric)
                if scores is not None:
                    found = _renamed(make(scores, attribute, structure))
                    frames.append(found.assign(attribute=attribute, structure=structure))
        return _joined(frames)

    def _repr_html_(self) -> str:
        from harness.predictions.page import glance

        return glance(self)


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"method": "model"})


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return frames as one, with the columns that say what a row is of in front."""
    there = [frame for frame in frames if len(frame)]
    if not there:
        return pd.DataFrame()
    found = pd.concat(there, ignore_index=True)
    first = [c for c in ("attribute", "other", "structure", "metric", "model") if c in found]
    return found[[*first, *(c for c in found.columns if c not in first)]]


def checked(scores: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return scores in which each case has one of each structure. Raises HarnessError for others."""
    keys = ["model", "seed", "sample", "structure"]
    twice = scores.duplicated(keys)
    if twice.any():
        row = scores[twice].iloc[0]
        raise HarnessError(f"{where}: '{row['sample']}' is scored twice for '{row['structure']}'.")
    counts = scores.groupby(["model", "seed"])["sample"].nunique()
    if counts.nunique() > 1:
        raise HarnessError(
            f"{where}: models are scored on different cases ({counts.min()} and {counts.max()}); give the "
            f"same."
        )
    known = [name for name in (*SCORES, "size") if name in scores]
    return scores[["model", "seed", *known, *(c for c in scores if c not in (*known, "model", "seed"))]]
