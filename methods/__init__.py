"""Fairness methods: one file a method; drop a file in and it is on the board."""
