"""Results that came out of a container, taken as data: every size, type and value is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load

from harness.cohorts.cohort import Cohort
from harness.fit import CurveRow
from harness.plan import Trial
from harness.records import Cost
from harness.sandbox.wire import BadResult, decode
from harness.trial import Fitted

_CURVE = TypeAdapter(list[CurveRow])


def most_bytes(trial: Trial, cohort: Cohort, state: Mapping[str, torch.Tensor]) -> int:
    """Return the length that a trial's result cannot exceed."""
    size = trial.protocol.cohort.size
    weights = sum(tensor.numel() * tensor.element_size() + 1_000 for tensor in state.values())
    return len(cohort.rows("test")) * size * size + weights + 2_000_000


def error_of(stream: bytes) -> str:
    """Return what a method raised, one line, "" where the stream is a result. Raises BadResult."""
    header, _ = decode(stream)
    return " ".join(str(header.get("error", "")).split())[:1_000]


def read(stream: bytes, trial: Trial, cohort: Cohort, expected: Mapping[str, torch.Tensor]) -> Fitted:
    """Return what a trial's stream holds.

    expected: weights of the right names, shapes and types, empty where none are to come out.

    Raises BadResult, one sentence, for anything else than the result of this very trial.
    """
    header, parts = decode(stream)
    due = {"labels", "state"} if expected else {"labels"}
    if set(parts) != due:
        raise BadResult(f"its result has the parts {sorted(parts)[:5]} instead of {sorted(due)}")
    return Fitted(
        _labels(parts["labels"], trial, cohort),
        _curve(header.get("curve")),
        _cost(header.get("cost")),
        _state(parts["state"], expected) if expected else {},
    )


def _labels(part: bytes, trial: Trial, cohort: Cohort) -> np.ndarray:
    size = trial.protocol.cohort.size
    shape = (len(cohort.rows("test")), size, size)
    if len(part) != math.prod(shape):
        raise BadResult(f"its predictions are {len(part)} bytes, where {shape} of one byte each are due")
    labels = np.frombuffer(part, np.uint8).reshape(shape)
    if labels.max(initial=0) >= trial.protocol.n_classes:
        raise BadResult(f"its predictions have class {labels.max()}, of 0 to {trial.protocol.n_classes - 1}")
    return labels


def _curve(found: Any) -> list[CurveRow]:
    try:
        curve = _CURVE.validate_python(found)
    except ValidationError:
        raise BadResult(
            "its learning curve is not rows of epoch, quantity, attribute, group, value"
        ) from None
    if not all(math.isfinite(row[-1]) and max(map(len, row[1:4])) <= 200 for row in curve):
        raise BadResult("its learning curve has values that are not finite, or endless names")
    return curve


def _cost(found: Any) -> Cost:
    try:
        cost = Cost.model_validate(found)
    except ValidationError:
        raise BadResult("its cost does not fit the record's schema") from None
    numbers = (cost.fit_seconds, cost.predict_seconds, cost.peak_memory_bytes, cost.trained_parameters)
    if not all(math.isfinite(number) and number >= 0 for number in numbers) or len(cost.device) > 200:
        raise BadResult("its cost has values that cannot be")
    return cost


def _state(part: bytes, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        state = load(part)
    except (SafetensorError, ValueError, KeyError):
        raise BadResult("its weights are not in safetensors' format") from None
    kinds = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
    if kinds != {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}:
        raise BadResult("its weights are not those of the protocol's backbone")
    if not all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point()):
        raise BadResult("its weights are not finite")
    return state
