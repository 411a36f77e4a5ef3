import numpy as np
import pytest

from harness.equity import Scores


@pytest.fixture(scope="session")
def make_scores():
    """Build scores of methods that differ only as told: 0.85 on average, 0.08 between patients."""

    def make(
        sizes, *, shifts=None, methods=("erm", "adv"), seeds=3, seed=0, noise=0.03, unknown=0, **options
    ):
        rng = np.random.default_rng(seed)
        names = [f"g{i}" for i in range(len(sizes))]
        groups = np.repeat(np.array([*names, None], dtype=object), [*sizes, unknown])
        base = 0.85 + 0.08 * rng.uniform(-1, 1, len(groups)) * np.sqrt(3) * 0.6
        by_method = {}
        for method in methods:
            shift = np.zeros(len(groups))
            for group, amount in ((shifts or {}).get(method, {})).items():
                shift[groups == group] = amount
            own = 0.003 * rng.standard_normal((seeds, 1)) + noise * rng.standard_normal((seeds, len(groups)))
            by_method[method] = np.clip(base + shift + own, 0, 1)
        return Scores(by_method, groups, np.arange(len(groups)), **options)

    return make
