"""What runs in the container: `python -m harness.sandbox.inside describe|serve|run`.

The results leave through the stream that was standard output; what a method prints goes to the log. Nothing
here is trusted by the host: a method shares this process and may do with it what it likes.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import arrays
from harness.sandbox.wire import encode

# Each container imports this anew: what only a whole training needs is imported there.
INSIDE = "/job"
"""Where a container finds all that it is given, read-only."""

ROOT = Path(INSIDE)
WORK = Path("/tmp/work")


def main() -> int:
    """Do what the arguments say; return the exit status."""
    results = os.dup(1)
    os.dup2(2, 1)
    # Last, so that a method's file hides no module of Python's own.
    sys.path.append(f"{INSIDE}/plugin")
    what, *arguments = sys.argv[1:]
    if what == "serve":
        from harness.sandbox.serve import serve

        os.close(results)
        return serve(*arguments)
    try:
        header, parts = _describe(*arguments) if what == "describe" else _run()
    except BaseException as error:  # noqa: BLE001 - whatever a method raises is its trial's result
        from harness.plugin import discovery

        traceback.print_exc()
        file = Path(arguments[0] if what == "describe" else _job()["plugin"]["file"])
        header, parts = {"error": discovery.describe_error(error, file)[:1_000]}, {}
    with os.fdopen(results, "wb") as stream:
        for chunk in encode(header, parts):
            stream.write(chunk)
    return 1 if "error" in header else 0


def _job() -> dict[str, Any]:
    job: dict[str, Any] = json.loads((ROOT / "job.json").read_text(encoding="utf-8"))
    return job


def _describe(file: str) -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    from harness.plugin import declared, discovery

    plugin = discovery.Plugin("method", Path(file))
    return {"about": asdict(declared.of(discovery.load(plugin), plugin))}, {}


def _run() -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    import pandas as pd
    import torch
    from safetensors.torch import save

    from harness.cohorts.cohort import Cohort
    from harness.plugin import discovery
    from harness.plugin.asks import Asks
    from harness.protocol import BackboneSpec, Recipe
    from harness.store import names
    from harness.training import side
    from harness.training.train import Inputs, Setting, train_and_predict
    from harness.training.validate import validator

    job = _job()
    told = job["setting"] | {
        "backbone": BackboneSpec.model_validate(job["setting"]["backbone"]),
        "recipe": Recipe.model_validate(job["setting"]["recipe"]),
        "asks": Asks(**job["setting"]["asks"]),
    }
    setting = Setting(**told)
    method = discovery.load(discovery.Plugin(job["plugin"]["name"], Path(job["plugin"]["file"])))
    cohort = Cohort(
        title="",
        licence="",
        citation="",
        publish_images=False,
        images=arrays.mapped(ROOT / "cohort/images.npy"),
        masks=arrays.mapped(ROOT / "cohort/masks.npy"),
        subjects=pd.read_parquet(ROOT / "cohort" / names.SUBJECTS),
        groups={name: tuple(groups) for name, groups in job["groups"].items()},
        digest="",
    )
    maps = [arrays.mapped(ROOT / f"maps/map{i}.npy") for i in range(job["maps"])]
    checkpoint = ROOT / "checkpoint" if job["checkpoint"] else None
    origin = ROOT / f"origin{names.WEIGHTS}" if setting.finetunes or setting.asks.taught else None
    WORK.mkdir(exist_ok=True)
    inputs, device = Inputs(cohort, maps, checkpoint, origin), torch.device(job["device"])
    structures = [tuple(classes) for classes in job["structures"]]
    validate = validator(setting, cohort, maps, structures, device)
    trained = train_and_predict(
        setting,
        functools.partial(side.build, method),
        inputs,
        device,
        WORK / names.CHECKPOINT,
        lambda *_: None,
        validate,
    )
    header = {
        "curve": trained.curve,
        "gpu_bytes": trained.memory if device.type == "cuda" else 0,
        "parameters": trained.parameters,
    }
    parts = {"labels": trained.labels.tobytes()}
    if job["state"]:
        parts["state"] = save(trained.state)
    return header, parts


if __name__ == "__main__":
    status = main()
    # Threads that a method left behind must not keep the container alive.
    os._exit(status)
