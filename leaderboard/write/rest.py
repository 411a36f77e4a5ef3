"""The rows of a large table that come after its page, packed, one file a section."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

_BETWEEN = re.compile(r"\s*\n\s*")


def write(path: Path, section: str, rows: Sequence[str], citations: Sequence[dict[str, str]]) -> None:
    """Write rows as a script that hands them to the page.

    section: the table's anchor; rows: HTML of some of them each; citations: BibTeX entries of their methods.
    """
    # Lines of a template end between elements, where a cell's own space does not count.
    held = {"rows": [_BETWEEN.sub("\n", part.strip()) for part in rows], "citations": list(citations)}
    packed = gzip.compress(json.dumps(held, ensure_ascii=False).encode("utf-8"), 6, mtime=0)
    text = json.dumps({"section": section, "packed": base64.b64encode(packed).decode("ascii")})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Board.large.receive({text});\n", encoding="utf-8")
