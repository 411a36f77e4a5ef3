"""Segmentation networks: one file a network."""
