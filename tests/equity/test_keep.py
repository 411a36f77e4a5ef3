"""Numbers of a method's own draws that are kept: tables made with them are those made anew."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from harness.equity import Scores, Tables, tables


class Kept:
    """Keeps what was made of each input, and counts what had to be made."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes], np.ndarray] = {}
        self.made = 0

    def __call__(self, name, inputs, make):
        keys = [(name, content(one)) for one in inputs]
        left = [i for i, key in enumerate(keys) if key not in self.values]
        self.made += len(left)
        # One by one and the last first: what is made of one must not depend on those beside it.
        for i in reversed(left):
            (self.values[keys[i]],) = make([i])
        return [self.values[key] for key in keys]


def content(value: object) -> bytes:
    """Return all bytes of an input, whatever it is made of."""
    if isinstance(value, np.ndarray):
        return repr((value.dtype, value.shape)).encode() + value.tobytes()
    if isinstance(value, tuple | list):
        return b"(" + b",".join(content(one) for one in value) + b")"
    return repr(value).encode()


def scores(higher: bool, methods: int = 12) -> Scores:
    rng = np.random.default_rng(4)
    groups = np.array(["a", "b", "c", None], object)[rng.integers(0, 4, 160)]
    values = {f"m{i}": np.clip(rng.normal(0.7, 0.1, (3, 160)), 0, 1) for i in range(methods)}
    values["m3"][1] = np.nan
    return Scores(values, groups, np.arange(160) // 2, higher_is_better=higher)


def same(one: Tables, other: Tables) -> None:
    for field in fields(Tables):
        pd.testing.assert_frame_equal(getattr(one, field.name), getattr(other, field.name), check_exact=True)


@pytest.mark.parametrize(("higher", "ranked"), [(True, True), (True, False), (False, False)])
def test_tables_from_what_is_kept_are_those_made_anew(higher, ranked):
    given, keep = scores(higher), Kept()
    options = {"baseline": "m0", "ranked": ranked}
    same(tables(given, **options, keep=keep), tables(given, **options))
    first = keep.made
    same(tables(given, **options, keep=keep), tables(given, **options))
    assert keep.made == first == 2 * len(given.methods)
    rows = given.by_method["m5"].copy()
    rows[2] = rows[2, ::-1]
    moved = replace(given, by_method={**given.by_method, "m5": rows})
    same(tables(moved, **options, keep=keep), tables(moved, **options))
    # Of each method two things are kept: its intervals and its noise.
    assert keep.made - first == 2
