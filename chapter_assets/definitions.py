"""What Dagster loads: `-m chapter_assets.definitions`."""

from chapter_assets.defs.build import build_definitions

defs = build_definitions()
