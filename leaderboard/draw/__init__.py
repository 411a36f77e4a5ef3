"""Third: sections become figures, and cases pictures."""

from leaderboard.draw import across, ages, curves, inside, samples, section, seeds

__all__ = ["across", "ages", "curves", "inside", "samples", "section", "seeds"]
