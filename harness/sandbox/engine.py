"""The Docker engine and the images that trials may run in."""

from __future__ import annotations

import hashlib
import importlib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.sandbox.requirements import pinned

DOCKERFILES = Path(__file__).parents[2] / "docker"
BUILD = "run `harness sandbox build --base IMAGE` (docker/base.sh makes a base image)"


def sdk() -> Any:
    """Return the Docker SDK's module. Raises HarnessError where it is not installed."""
    try:
        return importlib.import_module("docker")
    except ImportError:
        raise HarnessError(
            "The sandbox needs the Docker SDK for Python; run `pip install 'equity-leaderboard[sandbox]'`."
        ) from None


def connect(patience: int = 120) -> Any:
    """Return a client of the engine, whose every answer is waited for so many seconds.

    Raises HarnessError, with the fix, where there is none.
    """
    docker = sdk()
    try:
        client = docker.from_env(timeout=patience)
        client.ping()
    except docker.errors.DockerException as error:
        why = str(error).splitlines()[0]
        raise HarnessError(f"No Docker engine answers ({why}); start dockerd, or set DOCKER_HOST.") from None
    return client


@contextmanager
def answering() -> Iterator[None]:
    """Raise HarnessError where the engine falls silent or goes away in the block."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except sdk().errors.DockerException:  # what it answered, some of which is a RequestException too
        raise
    except (RequestException, HTTPError, TimeoutError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].strip()
        raise HarnessError(
            f"The Docker engine stopped answering ({why.rstrip('.')}); see that dockerd runs and is not busy "
            "with something else, and run again."
        ) from None


def refusal(error: Any) -> HarnessError:
    """Return the error that says what the engine answered."""
    return HarnessError(f"The Docker engine refuses: {error.explanation or error}; mend it and run again.")


def labelled(label: str) -> list[Any]:
    """Return the containers with a label, running or not. Raises HarnessError without an engine."""
    client = connect()
    try:
        with answering():
            return list(client.containers.list(all=True, filters={"label": label}, ignore_removed=True))
    except sdk().errors.APIError as error:
        raise refusal(error) from None


def tag(flavour: str, requires: Iterable[str] = ()) -> str:
    """Return the name of the image for these packages: cpu or cuda, with what a method requires on top."""
    text = "\n".join([*pinned(), _dockerfile(flavour)])
    wanted = sorted(requires)
    layer = f"-{_short(chr(10).join([*wanted, _dockerfile('layer')]))}" if wanted else ""
    return f"equity-sandbox:{flavour}-{_short(text)}{layer}"


def image(client: Any, flavour: str, requires: Iterable[str] = ()) -> str:
    """Return the id of the image, which is never pulled.

    Raises HarnessError where it was not built, or where it would run as root.
    """
    docker, wanted = sdk(), list(requires)
    name = tag(flavour, wanted)
    try:
        with answering():
            found = client.images.get(name)
    except docker.errors.ImageNotFound:
        more = "".join(f" --requires {shlex.quote(one)}" for one in wanted)
        fix = f"run `harness sandbox build{more}`" if wanted else BUILD
        raise HarnessError(f"There is no image {name} for the packages installed here; {fix}.") from None
    except docker.errors.APIError as error:
        raise refusal(error) from None
    user = str(found.attrs["Config"].get("User") or "root").partition(":")[0]
    if user in ("root", "0"):
        raise HarnessError(f"Image {name} runs as root; build it again from docker/Dockerfile.{flavour}.")
    return str(found.id)


def unavailable(flavour: str = "cpu") -> str:
    """Return why no trial can be sandboxed here, in one sentence; "" where it can."""
    try:
        image(connect(), flavour)
    except HarnessError as error:
        return str(error)
    return ""


def _dockerfile(suffix: str) -> str:
    return (DOCKERFILES / f"Dockerfile.{suffix}").read_text(encoding="utf-8")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
