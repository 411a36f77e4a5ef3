import time

import numpy as np
import pytest
from medpy.metric import binary

from harness.metrics import hd95, score_structure


@pytest.fixture(scope="module")
def discs():
    """Two wavy discs of about 200 pixels on 512 x 512, as a cup and its prediction are."""
    rows, columns = np.ogrid[:512, :512]
    angle = np.arctan2(rows - 256, columns - 256)
    radius = np.hypot(rows - 256.0, columns - 256.0)
    return radius < 105 * (1 + 0.03 * np.sin(9 * angle)), radius < 102 * (1 + 0.05 * np.sin(7 * angle))


def best(function, repeats):
    """Return the shortest of several times, in milliseconds: the one that other work disturbed least."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def test_hd95_takes_half_a_millisecond_where_medpy_takes_tens(discs):
    ours, theirs = best(lambda: hd95(*discs), 50), best(lambda: binary.hd95(*discs), 3)
    everything = best(lambda: score_structure(*discs), 50)
    print(f"\nhd95 {ours:.2f} ms, medpy {theirs:.1f} ms; all scores {everything:.2f} ms")
    assert ours < theirs / 10
    assert everything < 3 * ours
