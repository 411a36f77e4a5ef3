"""The store of records: what a record is, where it lies, how it appears whole."""

from __future__ import annotations

from harness.store.files import write_json, writing
from harness.store.formats import Damaged
from harness.store.schema import (
    CURVE,
    FALSE_POSITIVE_AREA,
    SCHEMA_VERSION,
    SCORES,
    Arrival,
    BrokenPlugin,
    Cost,
    MethodInfo,
    Obtained,
    PlanRow,
    ProtocolRecord,
    Record,
    Try,
    Tuned,
    Withdrawal,
)
from harness.store.store import Store

__all__ = [
    "CURVE",
    "FALSE_POSITIVE_AREA",
    "SCHEMA_VERSION",
    "SCORES",
    "Arrival",
    "BrokenPlugin",
    "Cost",
    "Damaged",
    "MethodInfo",
    "Obtained",
    "PlanRow",
    "ProtocolRecord",
    "Record",
    "Store",
    "Try",
    "Tuned",
    "Withdrawal",
    "write_json",
    "writing",
]
