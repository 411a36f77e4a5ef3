import numpy as np
import pytest

from harness.equity import Scores, contrasts, enough, many
from harness.errors import HarnessError


def drawn(rng, *, seeds=3, by_seed=0.01, better=0.0, methods=3, patients=200):
    """Methods alike but for the first; patients of two groups that score alike."""
    base = rng.normal(0.8, 0.03, patients)
    scores = (
        base + rng.normal(0, 0.03, (methods, 1, patients)) + by_seed * rng.normal(size=(methods, seeds, 1))
    )
    scores[0] += better
    names = ["first", *(f"m{i}" for i in range(1, methods))]
    return Scores(
        dict(zip(names, scores.clip(0, 1), strict=True)), ["a", "b"] * (patients // 2), range(patients)
    )


def test_the_detectable_difference_is_told_eight_times_of_ten():
    rng = np.random.default_rng(0)
    pilots = [enough(drawn(rng, seeds=5), by="overall")["detectable"].iloc[0] for _ in range(60)]
    size = float(np.median(pilots))
    told = 0
    for _ in range(150):
        source = many.errors(drawn(rng, seeds=5, better=size))
        found = contrasts.contrasts(
            source.draws.scores, source.draws.layouts, lambda overall, groups: overall
        )
        told += found.together(3).p[0, 1] <= 0.05
    # 0.8 as promised, within what 150 cohorts and a pilot's own error allow.
    assert 0.65 <= told / 150 <= 0.95


def test_more_seeds_or_patients_are_needed_for_less():
    table = enough(drawn(np.random.default_rng(1)), differences=(0.01, 0.02, 0.05, 0.2))
    assert table["seeds_needed"].dropna().is_monotonic_decreasing
    assert table["patients_needed"].dropna().is_monotonic_decreasing
    assert table["seeds_needed"].iloc[-1] <= 3


def test_seeds_that_disagree_cannot_be_made_up_for_by_patients():
    table = enough(drawn(np.random.default_rng(2), by_seed=0.03), differences=(0.01,))
    assert table["patients_needed"].isna().all()


def test_one_method_or_one_seed_is_refused():
    rng = np.random.default_rng(3)
    for few in (drawn(rng, seeds=1), drawn(rng, methods=1)):
        with pytest.raises(HarnessError, match="two methods with two seeds"):
            enough(few)
    with pytest.raises(HarnessError, match="Did you mean 'es_sum'"):
        enough(drawn(rng), by="es_sm")
