"""Made-up lines of feedback batches."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chapter_assets.feedback.records import hash_transcript

Line = dict[str, Any]
TRAIN, GATE = "UC7", "UCBR8-60-B28hp2BmDPdntcQ"  # channels of these parts
SEGMENTS = tuple((10.0 * i, 10.0 * i + 9, f"Sentence {i} of a talk.") for i in range(10))
SHOWN = ((0.0, "Start"), (50.0, "Middle"))
EDITED = ((0.0, "Hello"), (30.0, "The engine"), (70.0, "The end"))


def listed(chapters: Iterable[tuple[float, str]], **more: Any) -> list[Line]:
    return [{"start": start, "title": title, **more} for start, title in chapters]


def transcript_line(
    video_id: str = "v",
    channel: str | None = TRAIN,
    duration: float = 100.0,
    segments: Sequence[tuple[float, float, str]] = SEGMENTS,
    **changed: Any,
) -> Line:
    return {
        "schema_version": 1,
        "kind": "transcript",
        "transcript_hash": hash_transcript(duration, segments),
        "video_id": video_id,
        "title": "A talk",
        "channel": channel,
        "duration": duration,
        "segments": [list(segment) for segment in segments],
    } | changed


def impression_line(transcript: Line, impression_id: str = "i-1", **changed: Any) -> Line:
    return {
        "schema_version": 1,
        "kind": "impression",
        "impression_id": impression_id,
        "prediction_id": "p-1",
        "finetune": "ft-0001",
        "video_id": transcript["video_id"],
        "transcript_hash": transcript["transcript_hash"],
        "granularity": 1.0,
        "shown": listed(SHOWN, confidence=0.7),
        "created_at": "2026-11-02T10:00:00+00:00",
    } | changed


def feedback_line(feedback_id: str = "f-1", impression_id: str = "i-1", **changed: Any) -> Line:
    edit = changed.get("verdict", "edit") == "edit"
    return {
        "schema_version": 1,
        "kind": "feedback",
        "feedback_id": feedback_id,
        "impression_id": impression_id,
        "verdict": "edit",
        "chapters": listed(EDITED) if edit else None,
        "operations": [{"op": "add", "start": 30.0}] if edit else [],
        "span_seen": [0.0, 100.0],
        "seconds_spent": 42.0,
        "blind": False,
        "user": "5f3a",
        "created_at": "2026-11-02T10:05:00+00:00",
    } | changed


def write_batch(path: Path, lines: Iterable[Line | str]) -> Path:
    """A batch file; a str is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path
