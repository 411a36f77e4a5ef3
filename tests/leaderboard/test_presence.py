from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from make_records import World, make_store

from harness.equity.presence import ranks_present
from harness.store import formats
from leaderboard.compute import presence, sections
from leaderboard.read.boards import Board, of_store
from leaderboard.write import payload

EMPTY = 5
"""Every so many truths are empty."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Board, pd.DataFrame]:
    """A board on which a fifth of the truths are empty, and all its scores."""
    store = make_store(tmp_path_factory.mktemp("runs"), World(methods=("erm", "adv"), seeds=(0, 1)))
    path = store.board_file("quick", "sizes.parquet")
    sizes = pd.read_parquet(path)
    sizes.loc[::EMPTY, "cup"] = 0
    sizes.to_parquet(path, index=False)
    empty = set(sizes["sample"][::EMPTY])
    for trial in store.ids():
        file = store.path(trial) / "scores.parquet"
        frame = pq.read_table(file).to_pandas()
        none = frame["sample"].isin(empty) & (frame["structure"] == "cup")
        # In every second of them something of 30 pixels is found.
        found = none & (np.arange(len(frame)) % 2 == 0)
        for score in ("dice", "iou", "nsd"):
            frame[score] = np.where(none, np.where(found, 0.0, 1.0), frame[score])
        frame["missed"] = np.where(none, found, frame["missed"])
        frame["false_positive_area"] = np.where(found, 30.0, 0.0)
        file.write_bytes(formats.scores_bytes(frame))
    frame = pd.concat([store.scores(trial).assign(trial=trial) for trial in store.ids()])
    return of_store(store)[0], frame.assign(empty=frame["sample"].isin(empty))


def test_with_many_empty_truths_those_with_the_structure_rank(world):
    board, frame = world
    section = sections.one(board, "race", "cup")
    cup = frame[(frame["structure"] == "cup") & ~frame["empty"]]
    row = section.row("erm")
    ours = {record.id for record in board.entries["erm"].done("race")}
    expected = cup[cup["trial"].isin(ours)]["dice"].mean()
    assert row.number("dice", "overall").value == pytest.approx(expected)
    assert section.counts[""][0] == board.rows("cup").sum() < len(board.test)
    # Where all truths have the structure, nothing is left out.
    assert sections.one(board, "race", "disc").counts[""][0] == len(board.test)


def test_what_is_hidden_by_the_mean_stands_beside_it(world):
    board, frame = world
    found = presence.of_section(board, sections.one(board, "race", "cup"))
    assert found is not None
    assert found.ranks
    assert found.of - found.there == -(-len(board.test) // EMPTY)
    (row,) = (row for row in found.rows if row.method == "erm")
    ours = {record.id for record in board.entries["erm"].done("race")}
    cup = frame[(frame["structure"] == "cup") & frame["trial"].isin(ours)]
    assert row.whole.value == pytest.approx(cup["dice"].mean())
    assert row.present.value == pytest.approx(cup["dice"][~cup["empty"]].mean())
    assert row.sensitivity.value == pytest.approx(1 - cup["missed"][~cup["empty"]].mean())
    assert row.specificity.value == pytest.approx(1 - cup["missed"][cup["empty"]].mean())
    assert row.area.value == pytest.approx(cup["false_positive_area"][cup["empty"]].mean())
    assert row.sensitivity.low <= row.sensitivity.value <= row.sensitivity.high
    assert presence.of_section(board, sections.one(board, "race", "disc")) is None


def test_the_page_recomputes_from_the_samples_that_rank(world):
    board, _ = world
    packed = payload.pack(board, sections.one(board, "race", "cup"))
    assert packed["units"] == int(board.rows("cup").sum())


@pytest.mark.parametrize(
    ("rank", "empty", "present"),
    [
        ("auto", 0, False), ("auto", 10, False), ("auto", 11, True), ("all", 90, False), ("present", 1, True),
        ("present", 100, False),
    ],
)  # fmt: skip
def test_the_default_changes_above_a_tenth(rank: str, empty: int, present: bool):
    assert ranks_present(rank, np.r_[np.zeros(empty), np.ones(100 - empty)]) is present
