"""Names of the files that a store holds, each written once."""

from __future__ import annotations

RECORD = "record.json"
SCORES = "scores.parquet"
PREDICTIONS = "predictions.npz"
CURVE = "curve.csv"
LOG = "log.txt"

RECORD_FILES = (RECORD, SCORES, PREDICTIONS, CURVE, LOG)
"""Of a finished trial's folder; a failed one has the first and the last."""

PROTOCOL = "protocol.json"
SUBJECTS = "subjects.parquet"
SIZES = "sizes.parquet"
CASES = "cases.npz"
DAMAGED_PROTOCOL = "protocol.json.damaged"
"""What protocol.json was before a run wrote it anew because nobody could read it."""

CHECKPOINT = "checkpoint.pt"
PROGRESS = "progress.json"
EPOCHS = "epochs.json"
"""Which epoch a training has ended, and its losses so far."""
CLAIM = "claim"
"""What the claims of the processes that run the trial are named after."""

WEIGHTS = ".safetensors"
"""How the name of a trial's trained weights ends, after its id."""
