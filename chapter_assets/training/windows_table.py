"""The training windows of a corpus shard, as one Parquet file."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chapter_assets.inference.base_models import find_base_model, load_tokenizer
from chapter_assets.settings import Settings
from chapter_assets.store import Store, TableWriter
from chapter_assets.transcripts.tables import read_chapters, read_transcripts
from chapter_assets.windows.build import training_windows
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets.windows.window import SCHEMA


def window_settings(settings: Settings) -> dict[str, Any]:
    """The settings that shape windows: part of their version and of every training set's manifest."""
    base = find_base_model(settings.base_model, settings.base_models_dir)
    return {
        "base_model": base.name,
        "base_model_hash": base.hash,
        "window_tokens": settings.window_tokens,
        "window_overlap": settings.window_overlap,
        "chooser": settings.chooser,
    }


def write_shard_windows(
    store: Store, shard: str, settings: Settings, folder: Path, note: Callable[[str], None]
) -> tuple[str, dict[str, Any]]:
    """Write `training_windows.parquet` for the kept videos of a shard; returns its content hash and counts.

    Counts: videos and chapters in, windows out, and what was shortened or lost its place, by reason.
    """
    base = find_base_model(settings.base_model, settings.base_models_dir)
    builder = PromptBuilder(load_tokenizer(base), timed=settings.chooser == "generate")
    videos = store.read("videos", shard).table("videos")
    about = {row["video_id"]: row for row in videos.to_pylist() if row["status"] == "kept"}
    chapters = read_chapters(store.read("chapters", shard).table("chapters"))
    counts: Counter[str] = Counter()
    tokens = longest = 0
    with TableWriter(folder / "training_windows.parquet", SCHEMA) as table:
        transcripts = read_transcripts(videos, store.read("transcripts", shard).table("transcripts"))
        for number, transcript in enumerate(transcripts, start=1):
            windows = training_windows(
                builder,
                transcript,
                chapters[transcript.video_id],
                channel=about[transcript.video_id]["channel_id"],
                split=about[transcript.video_id]["split"],
                source=shard,
                budget=settings.window_tokens,
                overlap=settings.window_overlap,
                counts=counts,
            )
            counts["videos"] += 1
            counts["chapters"] += len(chapters[transcript.video_id])
            counts["chapters_in_windows"] += len({c.start for w in windows for c in w.chapters})
            counts[f"{windows[0].split}_videos"] += 1
            tokens += sum(w.tokens for w in windows)
            longest = max(longest, *(w.tokens for w in windows))
            table.extend(w.to_row() for w in windows)
            if number % 1000 == 0:
                note(f"{number} videos, {table.count} windows, {tokens} tokens")
    return table.version(), {**counts, "windows": table.count, "tokens": tokens, "longest_window": longest}
