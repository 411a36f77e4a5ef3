"""Where everything is on the site, and which addresses a page may link to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from leaderboard.compute import tracks
from leaderboard.compute.results import Result
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.draw.cases import Gallery
from leaderboard.read.boards import Board
from leaderboard.read.reported import Reported

ROWS_ON_ONE_PAGE = 600
"""Methods times sections up to which a board is one page; a larger one has a page for each section."""

MOST_ROWS = 200
"""A table of more rows has the first of them on its page; its script brings the others."""
FIRST_ROWS = 100

_TAKEN = frozenset(
    {
        "assets",
        "cases",
        "changes",
        "embed",
        "index",
        "leaderboard",
        "methods",
        "protocol",
        "samples",
        "v",
        "versions",
    }
)


@dataclass(frozen=True)
class Link:
    """A board's name and the address of its page from the root of the site."""

    name: str
    url: str


def links(names: Sequence[str]) -> list[Link]:
    """Return where the pages of boards are: that of a single one is the site's first."""
    return [Link(name, "index.html" if len(names) == 1 else f"{slug(name)}.html") for name in names]


@dataclass(frozen=True)
class BoardPage:
    """A board with its tables and its place on the site; addresses are from the root of the site."""

    result: Result
    gallery: Gallery | None
    url: str
    reported: tuple[Reported, ...] = ()

    @property
    def board(self) -> Board:
        """The board."""
        return self.result.board

    @property
    def sections(self) -> list[Section]:
        """The board's tables."""
        return self.result.sections

    @property
    def folder(self) -> str:
        """Folder of the board's other pages."""
        return slug(self.board.name)

    @property
    def protocol_url(self) -> str:
        """The protocol's page."""
        return f"{self.folder}/protocol.html"

    @property
    def backbone(self) -> str:
        """The backbone and how it is adapted: frozen and LoRA never share a board."""
        spec = self.board.record.protocol["backbone"]
        return f"{spec['name']} ({spec['adapt']})"

    @property
    def cases_url(self) -> str:
        """The page of cases across methods, or nothing where no image may be shown."""
        return f"{self.folder}/cases.html" if self.gallery else ""

    @property
    def whole(self) -> bool:
        """Whether all sections are on the board's own page."""
        return len(self.board.entries) * len(self.sections) <= ROWS_ON_ONE_PAGE

    def section_url(self, section: Section) -> str:
        """Where a section's table is."""
        first, place = self.sections[0], (section.attribute, section.structure)
        if self.whole or place == (first.attribute, first.structure):
            return f"{self.url}#{section.anchor}"
        url = f"{self.folder}/board-{slug('-'.join(place))}.html"
        return url if section.track == tracks.MAIN else f"{url}#{section.anchor}"

    @property
    def parts(self) -> list[list[Section]]:
        """The sections of each page of tables: all on one, or those of an attribute and structure each."""
        if self.whole:
            return [self.sections]
        found: dict[tuple[str, str], list[Section]] = {}
        for section in self.sections:
            found.setdefault((section.attribute, section.structure), []).append(section)
        return list(found.values())

    def reported_in(self, section: Section) -> list[Reported]:
        """What papers report on a section's attribute and structure."""
        here = (section.attribute, section.structure)
        return [row for row in self.reported if (row.attribute, row.structure) == here]

    @property
    def methods_url(self) -> str:
        """The page that lists all methods, which a board with a table that is cut has."""
        return f"{self.folder}/methods.html"

    def has_rest(self, section: Section) -> bool:
        """Whether a section has more rows than stand on its page."""
        return len(section.rows) > MOST_ROWS

    def first_rows(self, section: Section) -> Sequence[Row]:
        """The rows that stand on a section's page."""
        return section.rows[:FIRST_ROWS] if self.has_rest(section) else section.rows

    def rest_url(self, section: Section) -> str:
        """The script that holds the rows of a section that its page lacks."""
        return f"{self.folder}/rows-{slug(section.anchor)}.js"

    def badge_url(self, name: str, attribute: str) -> str:
        """A method's badge."""
        return f"{self.folder}/badges/{slug(name)}-{slug(attribute)}.svg"

    def scores_url(self, section: Section) -> str:
        """The script that holds a section's scores by sample."""
        return f"{self.folder}/scores-{slug(section.anchor)}.js"

    @property
    def samples_url(self) -> str:
        """The page of every test case."""
        return f"{self.folder}/samples.html"

    @property
    def samples_data_url(self) -> str:
        """The script that holds which test cases there are."""
        return f"{self.folder}/samples.js"

    def dice_url(self, name: str) -> str:
        """The script that holds a method's Dice of every test case."""
        return f"{self.folder}/dice/{slug(name)}.js"

    def method_url(self, name: str) -> str:
        """A method's page."""
        return f"{self.folder}/{slug(name)}.html"


def slug(name: str) -> str:
    """Return a name fit for a file and a link; a name that must change gets a hash of itself."""
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:60]
    if name and safe == name and safe not in _TAKEN:
        return name
    return f"{safe[:40] or 'unnamed'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def web_address(url: str) -> str:
    """Return the address if a click on it is safe (http, https), else nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""
