"""Building the sandbox's images, from an index or, on an air-gapped machine, from a folder of wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.plugin import requires
from harness.sandbox import engine
from harness.sandbox.requirements import pinned
from harness.sandbox.wheels import fetch, said
from harness.store import leases

_PATIENCE = 3600
"""Seconds of silence in a build: nothing is said while gigabytes are read in, or written as a layer."""


def build(base: str, wheels: Path | None, flavour: str) -> str:
    """Build the image of a flavour ("cpu", "cuda") on a base image that is here; return its name.

    `wheels` is a folder that holds the packages of `pinned` as wheels; None fetches them. Raises
    HarnessError where the base, a wheel or the engine is missing, with the build's last lines.
    """
    _same_python(base)
    return _build(base, wheels, f"Dockerfile.{flavour}", pinned(), engine.tag(flavour))


def build_layer(wanted: Sequence[str], wheels: Path | None, flavour: str) -> str:
    """Build the image with what a method requires on top of the flavour's; return its name.

    Fetched packages are wheels, installed in a container without network: nothing of theirs is executed
    here. The harness's own packages keep their versions, or one method would be trained on other libraries
    than the rest: a requirement that does not allow them is an error, as is one that is more than a name
    and versions.
    """
    packages = requires.all_named(wanted)
    engine.image(engine.connect(), flavour)
    name = engine.tag(flavour, packages)
    return _build(engine.tag(flavour), wheels, "Dockerfile.layer", packages, name)


def _same_python(base: str) -> None:
    """Raise HarnessError where a base image has another Python than runs here: its wheels would not fit."""
    docker, client = engine.sdk(), engine.connect()
    ask = ["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with engine.answering():
            client.images.get(base)  # `run` would pull one that is not here
            answer = client.containers.run(
                base, ask, entrypoint="python3", remove=True, network_mode="none", cap_drop=["ALL"]
            )
        found = answer.decode(errors="replace").strip()
    except docker.errors.ImageNotFound:
        raise HarnessError(f"There is no base image '{base}' here; run docker/base.sh.") from None
    except (docker.errors.ContainerError, docker.errors.APIError):
        found = "no"
    if found != here:
        raise HarnessError(
            f"Base image '{base}' has {found} Python and the harness runs on {here}; give --base an image "
            f"with Python {here}, or run the harness on the image's."
        )


def _build(base: str, wheels: Path | None, dockerfile: str, packages: list[str], name: str) -> str:
    docker, client = engine.sdk(), engine.connect(_PATIENCE)
    with leases.leased("image") as folder:
        context = folder / "context"
        context.mkdir()
        for file, lines in {"requirements.txt": packages, "constraints.txt": pinned()}.items():
            (context / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        shutil.copy(engine.DOCKERFILES / dockerfile, context / "Dockerfile")
        _gather(wheels, context, packages)
        try:
            with engine.answering():
                client.images.build(
                    path=str(context),
                    tag=name,
                    buildargs={"BASE": base},
                    network_mode="none",
                    rm=True,
                    forcerm=True,
                )
        except docker.errors.BuildError as error:
            log = "".join(str(entry.get("stream", entry.get("error", ""))) for entry in error.build_log)
            raise HarnessError(f"{dockerfile}: {said(log)}; mend --base, --requires or --wheels.") from None
        except docker.errors.APIError as error:
            raise HarnessError(f"{dockerfile}: {error.explanation or error}") from None
        finally:
            client.images.prune({"dangling": True, "label": "equity-sandbox=intermediate"})
    return name


def _gather(wheels: Path | None, context: Path, packages: list[str]) -> None:
    """Put the wheels into the build's context: hard links where the disk allows."""
    target = context / "wheels"
    if wheels is None and packages == pinned():
        _make_wheels(context, target)
        return
    if wheels is None:
        fetch(packages, pinned(), target)
        return
    files = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if not files:
        raise HarnessError(f"--wheels {wheels}: no wheels there; fill it with `pip wheel -r requirements`.")
    target.mkdir()
    for file in files:
        try:
            os.link(file, target / file.name)
        except OSError:
            shutil.copy(file, target)


def _make_wheels(context: Path, target: Path) -> None:
    """Make wheels of the harness's own packages, at the versions that are installed: these are trusted."""
    command = [sys.executable, "-m", "pip", "wheel", "--progress-bar", "off", "--no-deps"]
    given = ["--wheel-dir", str(target), "--requirement", str(context / "requirements.txt")]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    if done.returncode:
        told = said(done.stdout + done.stderr)
        raise HarnessError(f"pip cannot fetch the wheels ({told}); give a folder of them with --wheels.")
