"""One run: plan, prepare, schedule, one trial top to bottom, its record."""
