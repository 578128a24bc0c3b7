"""Made-up gold lists and predictions for the evaluation's tests."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.evaluation.predictions import PREDICTIONS

Gold = dict[str, tuple[float, list[Chapter]]]


def at(*starts: float) -> list[Chapter]:
    return [Chapter(start, f"chapter {i}") for i, start in enumerate(starts)]


def row(system: str, video: str, chapters: Sequence[Chapter], **more: Any) -> dict[str, Any]:
    return {
        "system": system,
        "video_id": video,
        "shard": "sample",
        "channel": f"channel of {video}",
        "split": "gate",
        "title": f"The video {video}",
        "duration": 100.0,
        "chapters": [{"start": c.start, "title": c.title} for c in chapters],
        "scores": None,
        "confidences": None,
        "expected_f1": None,
        "score": None,
        "unsupported": [],
        "raw": "",
        "valid_before_repair": True,
        "repairs": [],
        "seconds": 2.0,
    } | more


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(r) for r in rows], schema=PREDICTIONS)


def many(
    videos: int, hits: Mapping[str, float], videos_per_channel: int = 1, seed: int = 0
) -> tuple[Gold, list[dict[str, Any]]]:
    """Videos of 100 s with four chapters; each system finds a boundary with its probability in `hits`."""
    rng = random.Random(seed)
    gold: Gold = {}
    rows = []
    for i in range(videos):
        name = f"v{i:03d}"
        gold[name] = (100.0, [Chapter(float(s), f"part {s}") for s in (0, *sorted(rng.sample(range(15, 90, 10), 3)))])
        for system, hit in hits.items():
            starts = sorted({c.start if rng.random() < hit else float(rng.randrange(100)) for c in gold[name][1]})
            rows.append(row(system, name, at(*starts), channel=f"c{i // videos_per_channel}"))
    return gold, rows
