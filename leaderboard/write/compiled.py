"""Templates as bytecode, kept as Python keeps that of modules: compiling takes as long as writing pages."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from harness.store import files


class Compiled(jinja2.BytecodeCache):
    """Bytecode beside the templates, where Python would put that of modules in their folder.

    What is damaged, of another text, another syntax or another Python is compiled anew; where nothing can be
    written, each process compiles for itself. jinja2's own cache of files runs damage and fails there.
    """

    def __init__(self, templates: Path, env: jinja2.Environment) -> None:
        self.folder = Path(importlib.util.cache_from_source(str(templates / "template.py"))).parent
        syntax = env.autoescape, env.trim_blocks, env.lstrip_blocks, env.undefined.__name__
        self.told = repr((syntax, jinja2.__version__, sys.version))

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read a template's bytecode, if it is there and whole."""
        try:
            data = self._path(bucket).read_bytes()
        except OSError:
            return
        if data[:32] == hashlib.sha256(data[32:]).digest():
            bucket.bytecode_from_string(data[32:])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a template's bytecode, whole or not at all."""
        if sys.dont_write_bytecode:
            return
        path, data = self._path(bucket), bucket.bytecode_to_string()
        # Where another process has just kept the same, or the folder takes none, this one has its own.
        with contextlib.suppress(OSError):
            files.make(path.parent)
            files.remove(path)
            files.mark(path, hashlib.sha256(data).digest() + data)

    def _path(self, bucket: Bucket) -> Path:
        told = f"{self.told} {bucket.key} {bucket.checksum}"
        return self.folder / f"template-{hashlib.sha256(told.encode()).hexdigest()[:24]}.bin"
