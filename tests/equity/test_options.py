"""Whatever is given for an option, the answer is a table or one sentence that names option and value."""

import math
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import evaluate
from harness.equity import (
    Scores,
    across,
    compare,
    enough,
    from_frame,
    many,
    noise_floor,
    pairwise,
    rank,
    resample,
    summarise,
    tables,
    unknown,
)
from harness.equity.adjust import adjusted
from harness.equity.foresight import foresee
from harness.equity.place import places
from harness.equity.standardise import strata
from harness.equity.variance import variance
from harness.errors import HarnessError
from harness.protocol import ClaimsSpec, ScoringSpec, explain

ROWS = {name: np.random.default_rng(i).uniform(0.5, 0.9, (3, 40)) for i, name in enumerate(("erm", "a"))}
GROUPS, PATIENTS = np.repeat(["x", "y"], 20), np.arange(40)
SCORES = Scores(ROWS, GROUPS, PATIENTS)
DRAWS, SOURCE = resample(SCORES, resamples=40), many.errors(SCORES)
FRAME = pd.DataFrame({"sample": PATIENTS, "race": GROUPS, "dice": ROWS["erm"][0]})

WHOLE = {
    "least_seeds": [
        lambda v: compare(DRAWS, least_seeds=v),
        lambda v: pairwise(DRAWS, least_seeds=v),
        lambda v: across([SCORES], least_seeds=v),
        lambda v: tables(SCORES, "erm", least_seeds=v),
        lambda v: many.pairwise(SOURCE, least_seeds=v),
        lambda v: many.compare(SOURCE, "erm", least_seeds=v),
    ],
    "views": [lambda v: tables(SCORES, "erm", views=v)],
    "methods": [lambda v: enough(SCORES, methods=v)],
    "min_patients": [lambda v: Scores(ROWS, GROUPS, PATIENTS, min_patients=v)],
    "resamples": [lambda v: resample(SCORES, resamples=v)],
    "seed": [
        lambda v: resample(SCORES, resamples=40, seed=v),
        lambda v: variance(SCORES, draws=1, seed=v),
        lambda v: adjusted(SCORES, {"age": PATIENTS + 0.0}, draws=1, seed=v),
        lambda v: places(np.zeros((40, 2, 2)), GROUPS, PATIENTS, draws=1, seed=v),
    ],
    "draws": [
        lambda v: variance(SCORES, draws=v),
        lambda v: adjusted(SCORES, {"age": PATIENTS + 0.0}, draws=v),
        lambda v: places(np.zeros((40, 2, 2)), GROUPS, PATIENTS, draws=v),
    ],
    "least": [lambda v: places(np.zeros((40, 2, 2)), GROUPS, PATIENTS, least=v)],
    "count": [lambda v: strata(np.arange(40.0), v)],
}
NUMBERS = {
    "margin": [
        lambda v: compare(DRAWS, margin=v),
        lambda v: pairwise(DRAWS, margin=v),
        lambda v: tables(SCORES, "erm", margin=v),
        lambda v: many.compare(SOURCE, "erm", margin=v),
    ],
    "differences": [lambda v: enough(SCORES, differences=(v,))],
    "tolerance": [lambda v: evaluate(MAPS, MAPS, tolerance=v)],
    "spacing": [lambda v: evaluate(MAPS, MAPS, spacing=(1, v))],
    "spread": [lambda v: foresee(GROUPS, PATIENTS, spread=v)],
}
FLAGS = {
    "ranked": [lambda v: tables(SCORES, "erm", ranked=v)],
    "higher_is_better": [lambda v: Scores(ROWS, GROUPS, PATIENTS, higher_is_better=v)],
}
TEXTS = {
    "baseline": [
        lambda v: compare(DRAWS, baseline=v),
        lambda v: tables(SCORES, v),
        lambda v: across([SCORES], baseline=v),
        lambda v: many.compare(SOURCE, v),
    ],
    "by": [
        lambda v: pairwise(DRAWS, by=v),
        lambda v: rank(DRAWS, by=v),
        lambda v: across([SCORES], by=v),
        lambda v: enough(SCORES, by=v),
    ],
    "score": [lambda v: from_frame(FRAME, score=v, group="race")],
    "patient": [lambda v: from_frame(FRAME, score="dice", group="race", patient=v)],
    "method's name": [lambda v: Scores({_key(v): ROWS["erm"]}, GROUPS, PATIENTS)],
}
SEVERAL = {
    "order": [lambda v: Scores(ROWS, GROUPS, PATIENTS, order=v)],
    "differences": [lambda v: enough(SCORES, differences=v)],
    "views": [lambda v: across(v)],
    "attributes": [lambda v: evaluate(MAPS, MAPS, attributes=v)],
    "numbers": [lambda v: evaluate(MAPS, MAPS, numbers=v)],
}
THINGS = {
    "draws": [summarise, noise_floor, compare, pairwise, rank],
    "scores": [resample, unknown, enough, variance, lambda v: tables(v, "erm"), lambda v: adjusted(v, {})],
    "twins": [lambda v: tables(SCORES, "erm", twins=v), lambda v: across([SCORES], twins=v)],
    "tested": [lambda v: rank(DRAWS, tested=v)],
    "by_method": [lambda v: Scores(v, GROUPS, PATIENTS)],
    "given": [lambda v: adjusted(SCORES, v)],
}


MAPS = np.zeros((2, 4, 4), int)


def _key(value):
    return value if value.__hash__ else ("no", "text")


def calls(table):
    """Strategy of an option's name and of a function that takes it."""
    return st.sampled_from([(name, ask) for name, asks in table.items() for ask in asks])


texts = st.text(max_size=80) | st.sampled_from(["3", "0.01", "erm", "es_sum", "True"])
odd = st.none() | st.binary(max_size=5) | st.complex_numbers() | st.just({}) | st.just(object())
odd |= st.sampled_from([Decimal("0.01"), Decimal(3), pd.NA, pd.NaT, np.datetime64("nat"), np.array(3)])
not_finite = st.sampled_from([math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
below = st.integers(max_value=-1) | st.sampled_from([np.int64(-1), np.int8(-3), -(10**5000)])
flags = st.booleans() | st.booleans().map(np.bool_)
huge = st.integers(min_value=10**19) | st.just(10**5000)


def refused(name, ask, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(HarnessError) as error:
            ask(value)
    said = str(error.value)
    assert name in said, said
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 400


@settings(max_examples=250, deadline=None)
@given(calls(WHOLE), texts | odd | not_finite | below | flags | st.floats() | st.just([1]))
def test_what_is_no_whole_number_is_refused_by_name(call, value):
    if value is not None or call[0] != "methods":  # None: as many as there are
        refused(*call, value)


@settings(max_examples=60, deadline=None)
@given(calls({name: asks for name, asks in WHOLE.items() if name not in ("min_patients", "seed")}), huge)
def test_a_number_that_no_memory_holds_is_refused_by_name(call, value):
    refused(*call, value)


@settings(max_examples=120, deadline=None)
@given(calls(NUMBERS), texts | odd | not_finite | below | flags | st.just([0.1]) | st.just(10**400))
def test_what_is_no_number_is_refused_by_name(call, value):
    refused(*call, value)


@settings(max_examples=60, deadline=None)
@given(calls(FLAGS), texts | odd | not_finite | below | st.sampled_from([0, 1, np.int64(1), 1.0]))
def test_what_is_neither_true_nor_false_is_refused_by_name(call, value):
    refused(*call, value)


@settings(max_examples=120, deadline=None)
@given(calls(TEXTS), odd | not_finite | below | flags | st.just(["es_sum"]))
def test_what_is_no_text_is_refused_by_name(call, value):
    refused(*call, value)


@settings(max_examples=80, deadline=None)
@given(calls(SEVERAL), texts | odd.filter(lambda v: v != {} and not isinstance(v, bytes)) | below | flags)
def test_what_is_no_list_is_refused_by_name(call, value):
    refused(*call, value)


@settings(max_examples=80, deadline=None)
@given(calls(THINGS), texts | odd.filter(lambda v: not isinstance(v, dict | None)) | below | flags)
def test_what_another_function_makes_is_asked_for_by_name(call, value):
    refused(*call, value)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(ClaimsSpec, "equivalence_margin"), (ScoringSpec, "tolerance")]),
    texts
    | odd.filter(lambda v: not isinstance(v, Decimal | np.ndarray))
    | not_finite
    | below
    | st.booleans(),
)
def test_a_protocol_takes_no_text_and_no_truth_for_a_number(field, value):
    model, name = field
    with pytest.raises(ValueError, match=name) as error:
        model(**{name: value})
    assert name in explain(error.value, model)


def test_numbers_of_numpy_are_numbers():
    as_it_was = pairwise(DRAWS, least_seeds=3, margin=0.5)
    for seeds, margin in (
        (np.int8(3), np.float32(0.5)),
        (np.uint64(3), Fraction(1, 2)),
        (3, np.float64(0.5)),
    ):
        pd.testing.assert_frame_equal(pairwise(DRAWS, least_seeds=seeds, margin=margin), as_it_was)
    again = resample(Scores(ROWS, GROUPS, PATIENTS, min_patients=np.int64(10)), resamples=np.int16(40))
    np.testing.assert_array_equal(again.plain, DRAWS.plain)
    assert Scores(ROWS, GROUPS, PATIENTS, higher_is_better=np.bool_(False)).higher_is_better is False
    assert len(tables(SCORES, np.str_("erm"), views=np.int32(2)).comparison)
    assert resample(SCORES, resamples=40, seed=2**70).seed == 2**70


def test_more_seeds_than_there_are_tell_nothing_apart_and_a_zero_is_none():
    assert pairwise(DRAWS, least_seeds=1_000_000).empty
    with pytest.raises(HarnessError, match="least_seeds is 0; give a whole number from 1 to 1,000,000"):
        pairwise(DRAWS, least_seeds=0)


def test_a_method_that_is_not_there_is_named_on_a_board_of_very_many_too():
    with pytest.raises(HarnessError, match="no method 'emr' to compare with. Did you mean 'erm'"):
        many.compare(SOURCE, "emr")
