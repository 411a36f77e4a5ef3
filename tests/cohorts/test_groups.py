from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.cohorts.groups import make_groups
from harness.errors import HarnessError
from harness.protocol import AttributeSpec


def grouped(
    values: list[Any], known: tuple[str, ...] = (), **spec: Any
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    table = pd.DataFrame({"column": pd.Series(values, dtype=object)})
    coding = {"column": known} if known else {}
    frame, groups = make_groups(table, {"a": AttributeSpec(column="column", **spec)}, coding)
    return frame, groups["a"]


def message(values: list[Any], **spec: Any) -> str:
    with pytest.raises(HarnessError) as error:
        grouped(values, **spec)
    return str(error.value)


def test_groups_stand_by_name():
    assert grouped(["White", "Asian", "Black"])[1] == ("Asian", "Black", "White")


def test_what_means_unknown_is_missing_and_no_group():
    frame, groups = grouped(["x", "", "NA", "n/a", "nan", "null", "Unknown", None, "y"])
    assert groups == ("x", "y")
    assert frame["a"].tolist() == ["x", *[None] * 7, "y"]


def test_an_edge_belongs_to_the_bin_above_it():
    frame, groups = grouped(["59.9", "60", "60.1", None, "80", "12"], bins=(60, 80))
    assert groups == ("<60", "60 to <80", ">=80")
    assert frame["a"].tolist() == ["<60", "60 to <80", "60 to <80", None, ">=80", "<60"]


def test_a_binned_attribute_keeps_its_number():
    frame, _ = grouped(["59.5", None, "60"], bins=(60,))
    assert frame["a_value"].dtype == "float64"
    assert frame["a_value"].fillna(-1).tolist() == [59.5, -1, 60]


def test_bins_stand_by_their_edges_not_by_name():
    assert grouped(["5", "50", "500"], bins=(9, 100))[1] == ("<9", "9 to <100", ">=100")


def test_merged_values_share_a_group_and_the_others_keep_theirs():
    frame, groups = grouped(["a", "b", "c", None], merge={"either": ("a", "b")})
    assert groups == ("c", "either")
    assert frame["a"].tolist() == ["either", "either", "c", None]


def test_bins_can_be_merged():
    frame, groups = grouped(["1", "5", "9"], bins=(3, 7), merge={"outside": ("<3", ">=7")})
    assert groups == ("outside", "3 to <7")
    assert frame["a"].tolist() == ["outside", "3 to <7", "outside"]


def test_a_merge_may_name_a_value_of_a_fixed_coding_that_does_not_occur():
    assert grouped(["a", "b"], known=("a", "b", "rare"), merge={"z": ("b", "rare")})[1] == ("a", "z")


def test_a_merge_of_a_value_that_does_not_occur_suggests_one():
    assert message(["single", "married"], merge={"other": ("singel",)}) == (
        "[attributes.a] merge: no sample has the value 'singel'. Did you mean 'single'?"
    )


def test_a_value_merged_into_two_groups_is_refused():
    assert "'x' goes to both 'one' and 'two'" in message(["x", "y"], merge={"one": ("x",), "two": ("x",)})


def test_an_attribute_unknown_for_everyone_is_refused():
    assert message(["", None, "unknown"]) == (
        "The attribute 'a' is unknown for every sample: the column 'column' is empty; "
        "fill it or leave [attributes.a] out."
    )


def test_an_attribute_with_one_group_is_refused():
    assert "has one group only, 'x'" in message(["x", "x", None])


def test_bins_of_words_are_refused():
    assert "bins need numbers, but the cohort has 'old'" in message(["12", "old"], bins=(60,))


def test_bins_out_of_order_are_refused():
    assert "bins must rise, got [60.0, 20.0]" in message(["12", "70"], bins=(60, 20))


def test_a_missing_column_is_named_with_a_suggestion():
    table = pd.DataFrame({"gender": ["x", "y"]})
    with pytest.raises(HarnessError, match=r"no column 'gendre'\. Did you mean 'gender'\?"):
        make_groups(table, {"gendre": AttributeSpec()}, {})


def test_an_attribute_cannot_take_the_name_of_a_column_of_ours():
    with pytest.raises(HarnessError, match="'split' is taken"):
        make_groups(pd.DataFrame({"split": ["x", "y"]}), {"split": AttributeSpec()}, {})
