"""The static site: a pure function of the records."""

from leaderboard.moved import diff
from leaderboard.publishing import publish
from leaderboard.site import build
from leaderboard.watching import watch

__all__ = ["build", "diff", "publish", "watch"]
