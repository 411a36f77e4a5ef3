"""What a trial is: the hash of everything that can change its predictions, and of nothing else.

- *Data* enter by content: the bytes that a trial reads, sample by sample, never by the code that made them.
- *Code* enters by meaning: the syntax tree, without docstrings, comments, annotations and layout, of every
  module that is reached by import from what fits and predicts.
- *Values* enter as they are: recipe, hyper-parameters, seed, kind of device, versions of libraries.

This package knows how to say each of the three; `harness.running.basis` puts them together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from harness.identity.digests import data_digest as data_digest
from harness.identity.digests import sample_digests as sample_digests
from harness.identity.digests import sha256
from harness.identity.digests import trial_id as trial_id
from harness.identity.imports import HARNESS as HARNESS
from harness.identity.imports import INSTALLED as INSTALLED
from harness.identity.imports import METHODS as METHODS
from harness.identity.imports import claim as claim
from harness.identity.imports import local_files as local_files
from harness.identity.imports import method_files as method_files
from harness.identity.imports import method_folders as method_folders
from harness.identity.imports import places as places
from harness.identity.imports import reached as reached
from harness.identity.packages import libraries as libraries
from harness.identity.packages import versions as versions
from harness.identity.source import MOST_SOURCE as MOST_SOURCE
from harness.identity.source import parse as parse
from harness.identity.source import parse_text as parse_text
from harness.identity.source import read as read
from harness.identity.syntax import meaning as meaning
from harness.identity.syntax import outline as outline

SCHEME = 2
"""Of identities; records whose identity has another, or none, stay and are never taken for these."""


def code(files: Iterable[Path]) -> dict[str, str]:
    """Return the files of the harness among `files`, by their path from the top, to their meaning."""
    inside = sorted(path for path in files if HARNESS in path.parents)
    return {
        path.relative_to(HARNESS.parent).as_posix(): meaning(read(path), str(path))[:16] for path in inside
    }


def method_digest(file: Path) -> str:
    """Return the digest of what a method's file and the local modules that it imports mean."""
    return digest_texts({str(path): read(path) for path in method_files(file)})


def digest_texts(texts: Mapping[str, bytes]) -> str:
    """Return the digest of a method whose files are at hand: path, with slashes, to bytes.

    Only the last part of a path counts, so that a method has one digest wherever it lies. Raises
    SyntaxError for a file that does not parse.
    """
    parts = sorted((PurePath(path).name, meaning(text, path)) for path, text in texts.items())
    return sha256(json.dumps(parts).encode())
