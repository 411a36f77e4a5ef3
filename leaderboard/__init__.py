"""The static site: a pure function of the records."""

from leaderboard.site import build

__all__ = ["build"]
