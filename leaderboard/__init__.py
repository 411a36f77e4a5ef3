"""The static site: a pure function of the records."""
