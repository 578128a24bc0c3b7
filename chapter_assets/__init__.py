"""Chapters for every video, from a small language model that keeps learning: a Dagster project."""

__version__ = "0.1.0"
