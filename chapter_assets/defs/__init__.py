"""Everything Dagster, and nothing else: one module per concept; the work itself is in the library folders."""
