"""The shipped protocols on the real MobileSAM: a gap where one was planted, none where none was."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from platformdirs import user_cache_path
from test_trial import Silent

from harness import equity, protocol, run, weights
from harness.errors import HarnessError
from harness.executors.local import LocalExecutor, slots
from harness.trial import Paths

CACHE = Path(os.environ.get("HARNESS_CACHE") or user_cache_path("equity-leaderboard"))


@pytest.fixture(scope="module")
def fetched():
    try:
        weights.fetch("mobile-sam", CACHE)
    except HarnessError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no source answers: {error}")


def noise_of_cup(name: str, runs: Path) -> pd.Series:
    """The noise-floor row of ERM's gap in cup Dice over race, one seed."""
    one_seed = protocol.load(name).model_copy(update={"seeds": (0,)})
    prepared = run.prepare(one_seed, ["erm"], Paths(runs, None, CACHE), name)
    workers = slots("cpu", None, one_seed.recipe.threads)
    with LocalExecutor(workers, preload=["harness.trial"]) as executor:
        run.embed_cohort(prepared, executor, len(workers), "cpu")
        outcome = run.execute(prepared, executor, Silent(), len(workers), "cpu")
    assert outcome.count("done") == 1
    scores = prepared.store.scores(outcome.by_status["done"][0].id)
    test = prepared.cohort.subjects.iloc[prepared.cohort.rows("test")]
    cup = scores[scores.structure == "cup"].set_index("sample").dice.reindex(test["sample"])
    given = equity.Scores(
        {"erm": cup.to_numpy()[np.newaxis]}, test["race"].to_numpy(object), test["patient"].to_numpy()
    )
    table = equity.noise_floor(equity.resample(given, seed=0))
    return table[(table.quantity == "sum_gap") & (table.group == "")].iloc[0]


@pytest.mark.slow
def test_erms_race_gap_is_above_its_noise_floor_on_the_quick_protocol(fetched, tmp_path):
    row = noise_of_cup("quick", tmp_path)
    assert row.observed > row.floor_95
    assert row.p < 0.05


@pytest.mark.slow
def test_no_race_gap_is_above_its_noise_floor_on_the_null_protocol(fetched, tmp_path):
    row = noise_of_cup("null", tmp_path)
    assert row.observed < row.floor_95
    assert row.p > 0.05
