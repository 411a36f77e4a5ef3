"""What one method's own draws make, kept from an earlier time by whoever asks for tables again and again.

Draws of all methods are made together, and what is made of one of them depends on no other: where the scores
of one method are new, the intervals of the others are those of before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Make = Callable[[Sequence[int]], list[np.ndarray]]
"""Places of inputs to what is made of each."""

Keep = Callable[[str, Sequence[object], Make], list[np.ndarray]]
"""Name, inputs and what makes values of them to the values, of which those kept need not be made.

An input is all that its value depends on: numbers, texts, arrays and collections of these.
"""


def anew(name: str, inputs: Sequence[object], make: Make) -> list[np.ndarray]:
    """Return what is made of all inputs: nothing is kept."""
    return make(range(len(inputs)))
