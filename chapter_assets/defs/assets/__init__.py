"""The assets, by group. A body is a recipe over library calls."""
