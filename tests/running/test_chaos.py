"""Killed at seeded moments, two runs on one store: every record once, the same bytes, nothing left over."""

from __future__ import annotations

import pytest
from chaos import chaos


@pytest.mark.slow
def test_twelve_trials_in_chaos_end_as_in_peace(tmp_path):
    found = chaos(tmp_path, seeds=2, seed=1, share=0.8)
    assert found.wrong == []
    assert found.exits == [0, 0]
    assert sum(found.kills.values()) >= 2
