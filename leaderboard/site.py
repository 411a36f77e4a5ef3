"""Records -> a folder of static pages, written aside and put in place whole."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from harness.errors import HarnessError
from harness.records import Store
from leaderboard import data, exports, figures, pages, tables, words
from leaderboard.data import Board, Entry
from leaderboard.tables import Section

HERE = Path(__file__).parent


@dataclass(frozen=True)
class BoardPage:
    """A board with its tables and its place on the site."""

    board: Board
    sections: list[Section]
    url: str

    @property
    def folder(self) -> str:
        """Folder of the board's method pages."""
        return slug(self.board.name)

    def method_url(self, name: str) -> str:
        """Return a method's page, from the root of the site."""
        return f"{self.folder}/{slug(name)}.html"

    @property
    def protocol_url(self) -> str:
        """The protocol's page, from the root of the site."""
        return f"{self.folder}/protocol.html"


def build(runs: Path, out: Path, images: bool = True) -> None:
    """Build the site of all records under `runs` into the folder `out`, index.html first.

    The same records give the same bytes. `images` False leaves every picture of a case out; a cohort that
    does not allow showing them has none in either case. The folder is replaced whole. Raises
    HarnessError where there are no records or they do not fit, or where `out` is not a site.
    """
    boards = data.load(Store(runs))
    single = len(boards) == 1
    built = [
        BoardPage(board, tables.sections(board), "index.html" if single else f"{slug(board.name)}.html")
        for board in boards
    ]
    with replacing(out) as folder:
        shutil.copytree(HERE / "assets", folder / "assets")
        _write_pages(folder, built)
        exports.write(folder, [(page.board, page.sections) for page in built])


def slug(name: str) -> str:
    """Return a name fit for a file and a link; a name that must change gets a hash of itself."""
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")
    if safe == name and safe != "protocol":
        return name
    return f"{safe[:40]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give a folder to fill that takes `out`'s place whole, or not at all."""
    out = Path(out).resolve()
    if out.exists() and not _is_site(out):
        raise HarnessError(f"{out}: not a site of the leaderboard; give --out a new or empty folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        aside.chmod(0o755)
        yield aside
        old = aside.with_name(aside.name + ".old")
        if out.exists():
            out.rename(old)
        os.replace(aside, out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_site(out: Path) -> bool:
    return out.is_dir() and ((out / "assets" / "site.css").is_file() or not any(out.iterdir()))


def environment() -> jinja2.Environment:
    """Return the templates, everything put into them escaped."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["w"] = words
    return env


def _write_pages(folder: Path, built: list[BoardPage]) -> None:
    env = environment()
    for page in built:
        drawn = [figures.of_section(section) for section in page.sections]
        _render(env, "board.html.j2", folder / page.url, page=page, pages=built, drawn=drawn, root="")
        _render(env, "protocol.html.j2", folder / page.protocol_url, root="../", **_protocol_values(page))
        for entry in page.board.entries.values():
            path = folder / page.method_url(entry.name)
            _render(env, "method.html.j2", path, root="../", **_method_values(page, entry))
    if len(built) > 1:
        _render(env, "overview.html.j2", folder / "index.html", pages=built, root="")


def _protocol_values(page: BoardPage) -> dict[str, Any]:
    board = page.board
    return {
        "page": page,
        "demographics": pages.demographics(board),
        "splits": pages.splits(board),
        "limits": pages.limits(board),
        "fixed": list(pages.flat(board.record.protocol)),
        "environments": pages.environments(board),
        "identity": pages.identity(board),
    }


def _method_values(page: BoardPage, entry: Entry) -> dict[str, Any]:
    board, ranked_by = page.board, page.board.structures[0]
    attributes = []
    for attribute in board.attributes:
        own = [section for section in page.sections if section.attribute == attribute]
        attributes.append(
            {
                "attribute": attribute,
                "sections": own,
                "rows": [section.row(entry.name) for section in own],
                "seeds": pages.seed_rows(board, entry, attribute, ranked_by),
            }
        )
    return {
        "page": page,
        "info": entry.info,
        "address": pages.web_address(entry.info.url),
        "hyper_parameters": pages.hyper_parameters(entry.info),
        "command": pages.command(board, entry.name),
        "rows": [s.row(entry.name) for s in page.sections if s.structure == ranked_by],
        "attributes": attributes,
    }


def _render(env: jinja2.Environment, template: str, path: Path, **values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = env.get_template(template).render(**values)
    path.write_text(text, encoding="utf-8")
