"""Building the sandbox's images, from an index or, on an air-gapped machine, from a folder of wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.sandbox import engine
from harness.sandbox.requirements import pinned


def build(base: str, wheels: Path | None, flavour: str) -> str:
    """Build the image of a flavour ("cpu", "cuda") on a base image that is here; return its name.

    `wheels` is a folder that holds the packages of `pinned` as wheels; None fetches them. Raises
    HarnessError where the base, a wheel or the engine is missing, with the build's last lines.
    """
    return _build(base, wheels, f"Dockerfile.{flavour}", pinned(), engine.tag(flavour), ["--no-deps"])


def build_layer(requires: Sequence[str], wheels: Path | None, flavour: str) -> str:
    """Build the image with what a method requires on top of the flavour's; return its name.

    Fetched packages are wheels: nothing of theirs is executed here.
    """
    client = engine.connect()
    engine.image(client, flavour)
    name = engine.tag(flavour, requires)
    return _build(
        engine.tag(flavour), wheels, "Dockerfile.layer", list(requires), name, ["--only-binary", ":all:"]
    )


def _build(
    base: str, wheels: Path | None, dockerfile: str, packages: list[str], name: str, options: list[str]
) -> str:
    docker, client = engine.sdk(), engine.connect()
    with tempfile.TemporaryDirectory(prefix="harness-image-") as folder:
        context = Path(folder)
        (context / "requirements.txt").write_text("\n".join(packages) + "\n", encoding="utf-8")
        shutil.copy(engine.DOCKERFILES / dockerfile, context / "Dockerfile")
        _gather(wheels, context / "wheels", context / "requirements.txt", options)
        try:
            client.images.get(base)
            client.images.build(
                path=folder, tag=name, buildargs={"BASE": base}, network_mode="none", rm=True, forcerm=True
            )
            client.images.prune({"dangling": True, "label": "equity-sandbox=intermediate"})
        except docker.errors.ImageNotFound:
            raise HarnessError(f"There is no base image '{base}' here; run docker/base.sh.") from None
        except docker.errors.BuildError as error:
            raise HarnessError(f"{dockerfile}: {_last_lines(error)}") from None
        except docker.errors.APIError as error:
            raise HarnessError(f"{dockerfile}: {error.explanation or error}") from None
    return name


def _gather(wheels: Path | None, target: Path, requirements: Path, options: list[str]) -> None:
    """Put the wheels into the build's context: hard links where the disk allows."""
    if wheels is None:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", *options]
        done = subprocess.run(
            [*command, "--wheel-dir", str(target), "--requirement", str(requirements)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise HarnessError(f"pip cannot fetch the wheels ({last}); give a folder of them with --wheels.")
        return
    files = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if not files:
        raise HarnessError(f"--wheels {wheels}: no wheels there; fill it with `pip wheel -r requirements`.")
    target.mkdir()
    for file in files:
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copy(file, target / file.name)


def _last_lines(error: Any) -> str:
    lines = [str(entry.get("stream", "")).strip() for entry in error.build_log]
    return " ".join([str(error.msg).strip(), *[line for line in lines if line][-3:]])
