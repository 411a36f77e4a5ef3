"""The shipped protocols on the real MobileSAM: a gap where one was planted, none where none was."""

from __future__ import annotations

import os
import re
from pathlib import Path

import needs
import numpy as np
import pandas as pd
import pytest
from platformdirs import user_cache_path
from test_trial import Silent
from tiny import CPU

import leaderboard
from harness import equity, protocol
from harness.backbones import weights
from harness.errors import HarnessError
from harness.multiplicity import holm
from harness.running.board import write_protocol
from harness.running.executors.local import LocalExecutor, slots
from harness.running.prepare import prepare
from harness.running.schedule import embed_cohort, execute
from harness.running.trial import Paths
from leaderboard.compute import sections, verdicts
from leaderboard.compute.sections import Section
from leaderboard.read import boards

CACHE = Path(os.environ.get("HARNESS_CACHE") or user_cache_path("equity-leaderboard"))


@pytest.fixture(scope="module")
def fetched():
    try:
        weights.fetch("mobile-sam", CACHE)
    except HarnessError as error:
        needs.missing(f"no source answers: {error}", "`harness weights fetch mobile-sam`")


def noise_of_cup(name: str, runs: Path) -> pd.Series:
    """The noise-floor row of ERM's gap in cup Dice over race, one seed."""
    one_seed = protocol.load(name).model_copy(update={"seeds": (0,)})
    prepared = prepare(one_seed, ["erm"], Paths(runs, None, CACHE), name)
    workers = slots(CPU, None, one_seed.recipe.threads)
    with LocalExecutor(workers, preload=["harness.running.trial"]) as executor:
        embed_cohort(prepared, executor, len(workers), CPU)
        outcome = execute(prepared, executor, Silent(), len(workers), CPU)
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


@pytest.fixture(scope="module")
def null_site(fetched, tmp_path_factory) -> tuple[Path, list[Section]]:
    """The site of the null protocol as it ships, trained and scored here: two methods, its three seeds."""
    folder = tmp_path_factory.mktemp("null")
    null = protocol.load("null")
    prepared = prepare(null, ["erm", "groupdro"], Paths(folder / "runs", None, CACHE), "null")
    write_protocol(prepared, "harness run erm groupdro --protocol null")
    workers = slots(CPU, None, null.recipe.threads)
    with LocalExecutor(workers, preload=["harness.running.trial"]) as executor:
        embed_cohort(prepared, executor, len(workers), CPU)
        outcome = execute(prepared, executor, Silent(), len(workers), CPU)
    assert outcome.count("done") == len(prepared.plan.trials) == 9
    leaderboard.build(folder / "runs", folder / "site")
    (board,) = boards.of_store(prepared.store)
    return folder / "site", sections.of_board(board)


@pytest.mark.slow
def test_no_gap_of_the_null_protocol_is_above_its_noise_floor(null_site):
    _, sections = null_site
    ranking = [section for section in sections if section.structure == "cup"]
    assert [(section.attribute, len(section.ranked)) for section in ranking] == [("race", 2), ("gender", 2)]
    for row in (row for section in ranking for row in section.ranked):
        assert row.number("dice", "gap").value <= row.noise["dice"].floor_95
        assert row.noise["dice"].p > 0.05
    # Every structure, attribute and method: twelve looks, so with Holm's correction.
    p = np.array([row.noise["dice"].p for section in sections for row in section.ranked])
    assert len(p) == 12
    assert holm(p).min() > 0.05


@pytest.mark.slow
def test_nothing_is_starred_on_the_board_of_the_null_protocol(null_site):
    site, sections = null_site
    for row in (row for section in sections for row in section.ranked):
        assert not row.best
        assert (row.rank_low, row.rank_high) == (1, 2)
        assert row.versus is None or row.versus.better is None
    page = (site / "index.html").read_text(encoding="utf-8")
    assert {verdicts.verdict(section) for section in sections} == {"No difference can be told yet"}
    assert "No difference can be told yet" in page
    for claim in ('<span class="tag good">', "is best", "above chance", "better than ERM", "worse than ERM"):
        assert claim not in re.sub(r"<caption.*?</caption>", "", page, flags=re.DOTALL)  # what marks mean
