"""Baselines, bootstrap, report."""
