"""Predictions of models that were trained elsewhere: read, paired with the truth, scored, put on one page."""
