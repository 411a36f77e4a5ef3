"""What of a site cannot be built says why in its place, and the rest of the site stands."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from harness.errors import HarnessError

Found = TypeVar("Found")
Other = TypeVar("Other")

_LOG = logging.getLogger(__name__)


@dataclass
class Spared:
    """Builds parts, each of which costs itself only.

    why: name of a part that could not be built to the reason, for the page that would have had it.
    """

    why: dict[str, str] = field(default_factory=dict)

    def build(self, part: str, work: Callable[[], Found], otherwise: Other) -> Found | Other:
        """Return `work()`, or `otherwise` where it fails; then `why` holds the reason and the log the place.

        Raises OSError where the file system refuses: then there is no place to say it in either.
        """
        try:
            return work()
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.why[part] = reason(error)
            _LOG.warning("%s could not be computed: %s", part, self.why[part])
            _LOG.debug("%s", part, exc_info=error)
            return otherwise


def reason(error: Exception) -> str:
    """Return what an error says, with its kind where it is none of ours."""
    said = " ".join(str(error).split())
    return (
        said if isinstance(error, HarnessError) and said else f"{type(error).__name__}: {said}".rstrip(": ")
    )
