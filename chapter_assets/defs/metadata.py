"""How results are shown in the UI: previews, counts, plots, links."""

import base64
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa


def _cell(value: Any) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return text if len(text) <= 80 else text[:77] + "…"


def preview(table: pa.Table, columns: list[str] | None = None) -> dg.MarkdownMetadataValue:
    """The first five rows as a markdown table."""
    names = columns or table.column_names
    rows = table.slice(0, 5).select(names).to_pylist()
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row[n]) for n in names) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def counts_table(counts: dict[str, Any]) -> dg.MarkdownMetadataValue:
    """Name and number of each count, nested ones with their reason."""
    if not counts:
        return dg.MetadataValue.md("none")
    lines = ["| count | number |", "| --- | ---: |"]
    for name, value in counts.items():
        if isinstance(value, dict):
            lines += [f"| {name}: {reason} | {number} |" for reason, number in value.items()]
        else:
            lines.append(f"| {name} | {value} |")
    return dg.MetadataValue.md("\n".join(lines))


def image(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """A picture that the UI shows in place."""
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")


def path(folder: Path) -> dg.PathMetadataValue:
    """Where the files lie."""
    return dg.MetadataValue.path(str(folder))
