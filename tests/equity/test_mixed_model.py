"""On smooth balanced data, errors and verdicts are those of a linear mixed model fitted by REML."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import mixedlm

from harness.equity import Scores, pairwise, resample
from harness.equity.contrasts import contrasts, layouts


def drawn(rng, seeds=5, patients=40, better=0.0):
    """Two methods: patients, seeds and single pairs each add their own to the difference."""
    base = 0.8 + rng.normal(0, 0.05, patients)
    other = base + better + rng.normal(0, 0.02, patients) + rng.normal(0, 0.008, (seeds, 1))
    one = base + rng.normal(0, 0.02, (seeds, patients)) + rng.normal(0, 0.008, (seeds, 1))
    return one, other + rng.normal(0, 0.02, (seeds, patients))


def fitted(one, other):
    """Return the model's mean difference and standard error: patients and seeds are crossed."""
    seed, patient = np.indices(one.shape)
    frame = pd.DataFrame(
        {"y": (one - other).ravel(), "seed": seed.ravel(), "patient": patient.ravel(), "all": 1}
    )
    parts = {"seed": "0 + C(seed)", "patient": "0 + C(patient)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = mixedlm("y ~ 1", frame, groups="all", vc_formula=parts, re_formula="0").fit(reml=True)
    return float(found.params["Intercept"]), float(found.bse["Intercept"])


def test_errors_and_verdicts_are_those_of_the_mixed_model():
    rng, agree, errors = np.random.default_rng(0), [], []
    for better in (0.0, 0.0, 0.01, 0.02, 0.04, 0.06):
        one, other = drawn(rng, better=better)
        estimate, error = fitted(one, other)
        scores = Scores({"one": one, "other": other}, ["a", "b"] * 20, np.arange(40))
        found = contrasts(scores, layouts(scores), lambda overall, groups: overall)
        ours = np.sqrt(found.patients[0, 1] + found.seeds[0, 1])
        row = pairwise(resample(scores, resamples=40), by="overall").iloc[0]
        assert row["difference"] == pytest.approx(estimate, abs=1e-6)
        errors.append(ours / error)
        # The model knows no degrees of freedom; seeds give it four where they are most of the error.
        theirs = 2 * stats.t.sf(abs(estimate) / error, 4)
        agree.append((row["p"] <= 0.05) == (theirs <= 0.05))
    # Ours takes patients within their groups of 20, which differ by chance alone.
    assert np.mean(errors) == pytest.approx(1, abs=0.04)
    assert sum(agree) >= 5
