"""`harness plan --power`: how many seeds and patients it takes to tell two methods apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.as_json import JSON
from harness.commands.as_json import echo as echo_json
from harness.commands.options import RUNS
from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from harness.store import Store

DIFFERENCES = (0.01, 0.02, 0.05)


@click.command("plan", cls=Verb)
@click.argument("protocol", default="quick")
@click.option(
    "--power", is_flag=True, required=True, help="Seeds and patients it takes to tell 0.01, 0.02, 0.05."
)
@JSON
@RUNS
def plan_command(protocol: str, power: bool, as_json: bool, runs: Path) -> None:
    """Say how much is enough, from the records that a protocol has so far."""
    from harness.store import Store

    with waiting("Reading the records ..."):
        frame, without = needed(Store(runs), protocol)
    if as_json:
        # None, which JSON has, instead of what is no number.
        rows = [
            {name: None if value != value else value for name, value in row.items()}
            for row in frame.to_dict("records")
        ]
        echo_json({"needed": rows, "nothing_said_by": without})
        return
    for column in ("seeds_needed", "patients_needed"):
        frame[column] = ["none" if value != value else f"{value:.0f}" for value in frame[column]]
    click.echo(frame.round(3).to_string(index=False))
    if without:
        click.echo(
            f"Nothing is said by {', '.join(without)}: it takes two methods with two finished seeds.",
            err=True,
        )


def needed(store: Store, protocol: str) -> tuple[pd.DataFrame, list[str]]:
    """Return `enough` of ES-Dice for each attribute of a protocol that has run, and the attributes without.

    Of the structure that ranks; columns are attribute and `POWER`. Raises HarnessError where the store has no
    plan of that name, and where by no attribute two methods have two finished seeds in common.
    """
    if protocol not in store.protocols():
        raise HarnessError(
            f"{store.root} has no records of protocol '{protocol}'."
            f"{did_you_mean(protocol, store.protocols())} Run a pilot first: its variances by seeds and by "
            "patients say how much is enough."
        )
    import pandas as pd

    from harness.equity import POWER, Scores, enough

    record = store.protocol(protocol)
    subjects = store.subjects(protocol)
    test = subjects[subjects["split"] == "test"].sort_values("sample")
    tables, without = [], []
    for attribute in record.groups:
        dice = _dice(store, protocol, attribute, test["sample"].to_numpy())
        if len(dice) < 2:
            without.append(attribute)
            continue
        scores = Scores(dice, test[attribute].to_numpy(object), test["patient"].to_numpy())
        tables.append(enough(scores, differences=DIFFERENCES).assign(attribute=attribute))
    if not tables:
        raise HarnessError(
            f"{store.root}: protocol '{protocol}' has no two methods with two finished seeds; run two "
            "methods with two seeds or more, then ask again."
        )
    return pd.concat(tables, ignore_index=True)[["attribute", *POWER]], without


def _dice(store: Store, protocol: str, attribute: str, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return the ranking structure's Dice of every method with two finished seeds: float [S, N]."""
    import numpy as np

    record = store.protocol(protocol)
    rows = [row for row in record.plan if row.attribute == attribute and not row.control_of]
    seeds = sorted({row.seed for row in rows})
    found: dict[str, np.ndarray] = {}
    for row in rows:
        if store.is_done(row.trial):
            frame = store.scores(row.trial)
            frame = frame[frame["structure"] == record.protocol["ranked_by"]].set_index("sample")
            own = found.setdefault(row.method, np.full((len(seeds), len(samples)), np.nan))
            dice = frame["dice"].reindex(samples).to_numpy(float)
            # A fold has some of the samples, and the others have the rest.
            np.copyto(own[seeds.index(row.seed)], dice, where=~np.isnan(dice))
    return {name: own for name, own in found.items() if (~np.isnan(own).any(axis=1)).sum() > 1}
