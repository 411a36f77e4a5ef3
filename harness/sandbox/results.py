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
from harness.errors import plain
from harness.running.plan import Trial
from harness.running.trial import Fitted
from harness.sandbox.wire import BadResult, decode
from harness.store import Cost
from harness.training.job import CurveRow, Schedule

_CURVE = TypeAdapter(list[CurveRow])


SMALL_HEADER = 100_000
"""Bytes that a header without a learning curve cannot exceed."""

_CURVE_ROW = 200  # bytes of JSON beside the names


def most_header(trial: Trial, cohort: Cohort) -> int:
    """Return the length that the header of a trial's result cannot exceed: it has the learning curve."""
    epochs = Schedule.of(trial.protocol.recipe, finetunes=trial.finetunes).epochs
    names = [(attribute, group) for attribute, groups in cohort.groups.items() for group in groups]
    # All samples together have a loss and a validation score; a character is at most 12 bytes of JSON.
    row = sum(_CURVE_ROW + 12 * (len(attribute) + len(group)) for attribute, group in names) + 2 * _CURVE_ROW
    return epochs * row + SMALL_HEADER


def most_bytes(trial: Trial, cohort: Cohort, state: Mapping[str, torch.Tensor]) -> int:
    """Return the length that a trial's result cannot exceed."""
    size = trial.protocol.cohort.size
    weights = sum(tensor.numel() * tensor.element_size() + 1_000 for tensor in state.values())
    labels = len(cohort.rows("test")) * size * size
    return labels + weights + most_header(trial, cohort) + SMALL_HEADER


def error_of(stream: bytes, longest: int) -> str:
    """Return what a method raised, one line, "" where the stream is a result. Raises BadResult."""
    header, _ = decode(stream, longest)
    return plain(" ".join(str(header.get("error", ""))[:1_000].split()))


def read(stream: bytes, trial: Trial, cohort: Cohort, expected: Mapping[str, torch.Tensor]) -> Fitted:
    """Return what a trial's stream holds; of its cost only what nobody else can measure.

    That is the GPU's peak, and how many weights were trained, which may be in layers of the method's own.
    expected: weights of the right names, shapes and types, empty where none are to come out.

    Raises BadResult, one sentence, for anything else than the result of this very trial.
    """
    header, parts = decode(stream, most_header(trial, cohort))
    due = {"labels", "state"} if expected else {"labels"}
    if set(parts) != due:
        raise BadResult(f"its result has the parts {sorted(parts)[:5]} instead of {sorted(due)}")
    return Fitted(
        _labels(parts["labels"], trial, cohort),
        _curve(header.get("curve")),
        Cost(
            peak_memory_bytes=_count(header.get("gpu_bytes"), "its peak of GPU memory is no number of bytes"),
            trained_parameters=_count(header.get("parameters", 0), "its trained parameters are no number"),
        ),
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


def _count(found: Any, wrong: str) -> int:
    if type(found) is not int or not 0 <= found < 2**50:
        raise BadResult(wrong)
    return found


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
