import pandas as pd
import pytest
from make_records import World, make_store

import leaderboard
from leaderboard.compute import anatomy, sections
from leaderboard.read import boards


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    world = World(methods=("erm",), attributes=("gender",), structures=("cup",), gaps={"erm": 0.1})
    return make_store(tmp_path_factory.mktemp("anatomy") / "runs", world)


def test_strata_hold_a_third_each_and_their_means_are_those_of_their_samples(store):
    (board,) = boards.of_store(store)
    found = anatomy.of_method(board, sections.one(board, "gender", "cup"), "erm")
    assert [stratum.name for stratum in found.strata] == ["small", "medium", "large"]
    assert sum(stratum.samples for stratum in found.strata) == 240
    small = found.strata[0]
    sizes = store.sizes("quick").set_index("sample")["cup"].reindex(board.test["sample"]).to_numpy()
    mine = (sizes <= small.high) & (board.test["gender"] == "Female").to_numpy()
    dice = board.matrix("erm", "gender", "cup", "dice").mean(axis=0)
    assert small.groups[0] == pytest.approx(dice[mine].mean())


def test_a_gap_where_sizes_are_alike_is_more_than_anatomy(store, tmp_path):
    (board,) = boards.of_store(store)
    found = anatomy.of_method(board, sections.one(board, "gender", "cup"), "erm")
    assert found.at_equal_sizes.value == pytest.approx(found.gap.value, abs=0.02)
    assert "The gap remains when sizes are adjusted for in thirds" in found.finding
    leaderboard.build(store.root, tmp_path / "site")
    page = (tmp_path / "site" / "quick" / "erm.html").read_text()
    assert "By size, cup" in page
    assert "size explains no more than a part" in page


def test_a_protocol_recorded_without_sizes_says_nothing_of_them(store, tmp_path):
    other = make_store(
        tmp_path / "runs", World(methods=("erm",), attributes=("gender",), structures=("cup",))
    )
    (other.root / "protocols" / "quick" / "sizes.parquet").unlink()
    (board,) = boards.of_store(other)
    assert anatomy.of_method(board, sections.one(board, "gender", "cup"), "erm") is None
    assert isinstance(store.sizes("quick"), pd.DataFrame)
