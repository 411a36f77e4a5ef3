"""Scores of one prediction against one truth: overlap and surface."""
