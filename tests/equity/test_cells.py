import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.equity import shrunk


def test_cells_without_noise_stay_and_cells_of_noise_alone_go_to_rows_and_columns():
    means = np.array([[0.80, 0.86], [0.70, 0.60]])
    assert shrunk(means, np.full((2, 2), 1e-9)) == pytest.approx(means, abs=1e-5)
    additive = np.array([[0.74 + 0.025, 0.74 + 0.045], [0.0, 0.0]])
    additive[0] = [0.84, 0.82]  # row means 0.83 and 0.65, column means 0.75 and 0.73
    additive[1] = [0.66, 0.64]
    assert shrunk(means, np.full((2, 2), 1.0)) == pytest.approx(additive)


def test_shrinking_errs_less_than_the_cells_own_means():
    rng = np.random.default_rng(0)
    own = ours = 0.0
    for _ in range(300):
        rows, columns = rng.normal(0, 0.05, (3, 1)), rng.normal(0, 0.03, (1, 3))
        truth = 0.8 + rows + columns + rng.normal(0, 0.01, (3, 3))
        variances = 0.08**2 / rng.integers(10, 200, (3, 3))
        seen = truth + np.sqrt(variances) * rng.standard_normal((3, 3))
        own += ((seen - truth) ** 2).mean()
        ours += ((shrunk(seen, variances) - truth) ** 2).mean()
    assert ours < 0.75 * own


def test_a_missing_cell_counts_for_nothing():
    means = np.array([[0.8, 0.7, np.nan], [0.75, 0.6, 0.5]])
    variances = np.array([[1e-3, 2e-3, np.nan], [1e-3, 1e-3, 5e-3]])
    found = shrunk(means, variances)
    assert np.isnan(found[0, 2])
    assert np.isfinite(found[~np.isnan(means)]).all()
    # The only cell of its column says all that is known of the column.
    assert found[1, 2] == pytest.approx(0.5)


@given(
    arrays(float, (3, 2), elements=st.floats(0, 1)),
    arrays(float, (3, 2), elements=st.floats(1e-5, 1)),
    st.floats(-1, 1),
)
@settings(deadline=None)
def test_the_order_of_groups_and_the_scores_level_change_nothing(means, variances, level):
    found = shrunk(means, variances)
    assert shrunk(means[::-1, ::-1], variances[::-1, ::-1])[::-1, ::-1] == pytest.approx(found, abs=1e-6)
    assert shrunk(means + level, variances) == pytest.approx(found + level, abs=1e-6)
