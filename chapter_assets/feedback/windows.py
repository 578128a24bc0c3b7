"""Turning what users said into training windows, and into pairs of a rejected and a chosen list."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.inference.base_models import find_base_model, load_tokenizer
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact, TableWriter, content_hash
from chapter_assets.transcripts.segments import Segment
from chapter_assets.transcripts.tables import read_transcripts
from chapter_assets.windows.build import training_windows
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets.windows.window import SCHEMA

SOURCE = "feedback"
_CHAPTER_LIST = SCHEMA.field("chapters").type
PAIRS = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("video_id", pa.string()),
        ("split", pa.string()),
        ("span_seen", pa.list_(pa.float64(), 2)),
        ("rejected", _CHAPTER_LIST),
        ("chosen", _CHAPTER_LIST),
    ]
)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a row of a feedback table teaches. `chosen`: the list that the user made or let stand."""

    feedback_id: str
    video_id: str
    channel: str
    split: str
    verdict: str
    blind: bool
    span_seen: tuple[float, float]
    shown: tuple[Chapter, ...]
    chosen: tuple[Chapter, ...]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Lesson":
        """The lesson of a row of FEEDBACK (intake.py)."""
        shown = tuple(Chapter(c["start"], c["title"]) for c in row["shown"])
        chosen = shown if row["chapters"] is None else tuple(Chapter(**c) for c in row["chapters"])
        fields = {name: row[name] for name in ("feedback_id", "video_id", "channel", "split", "verdict", "blind")}
        return cls(**fields, span_seen=tuple(row["span_seen"]), shown=shown, chosen=chosen)

    def saw(self, time: float) -> bool:
        """Whether the user looked at `time` (s)."""
        return self.span_seen[0] <= time <= self.span_seen[1]


def without_windows(lesson: Lesson, segments: Sequence[Segment]) -> str | None:
    """Why a lesson makes no windows, or None when it does.

    `rejected`; `nothing_seen` (no segment starts in the span); `accept_held_out` (it would make the model's own list
    the truth that models are judged by); `part_held_out` (an edit by someone who did not look at all of the video).
    """
    seen = [lesson.saw(s.start) for s in segments]
    if lesson.verdict == "reject":
        return "rejected"
    if not any(seen):
        return "nothing_seen"
    if lesson.split != "train" and lesson.verdict == "accept":
        return "accept_held_out"
    if lesson.split != "train" and not all(seen):
        return "part_held_out"
    return None


def pair(lesson: Lesson) -> tuple[list[Chapter], list[Chapter]] | None:
    """(rejected, chosen) chapters in the span that the user saw; None unless a shown list was edited there."""
    if lesson.verdict != "edit" or lesson.blind:
        return None
    rejected, chosen = ([c for c in list_ if lesson.saw(c.start)] for list_ in (lesson.shown, lesson.chosen))
    return None if rejected == chosen else (rejected, chosen)


def write_feedback_windows(feedback: Artifact, settings: Settings, folder: Path) -> tuple[str, dict[str, Any]]:
    """Write `feedback_windows` and `pairs` (Parquet) of a batch's artifact; returns their content hash and counts.

    Counts: `in` = `kept` + `refused` by reason, of the verdicts; `edits`, `accepts`, `rejects`, `blind`, `windows`,
    `pairs`; and as in the windows of a corpus shard, chapters in and what was shortened or lost its place.
    """
    base = find_base_model(settings.base_model, settings.base_models_dir)
    builder = PromptBuilder(load_tokenizer(base), timed=settings.chooser == "generate")
    lessons: dict[str, list[Lesson]] = defaultdict(list)
    for row in feedback.table("feedback").to_pylist():
        lessons[row["video_key"]].append(Lesson.from_row(row))
    said = Counter(lesson.verdict for of_video in lessons.values() for lesson in of_video)
    refused: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    longest = 0
    with (
        TableWriter(folder / "feedback_windows.parquet", SCHEMA) as table,
        TableWriter(folder / "pairs.parquet", PAIRS) as pairs,
    ):
        for transcript in read_transcripts(feedback.table("videos"), feedback.table("transcripts")):
            for lesson in lessons[transcript.video_id]:
                counts["blind"] += lesson.blind
                if lists := pair(lesson):
                    rejected, chosen = ([asdict(c) for c in chapters] for chapters in lists)
                    row = {name: getattr(lesson, name) for name in ("feedback_id", "video_id", "split", "span_seen")}
                    pairs.append(row | {"rejected": rejected, "chosen": chosen})
                if reason := without_windows(lesson, transcript.segments):
                    refused[reason] += 1
                    continue
                windows = training_windows(
                    builder,
                    replace(transcript, video_id=lesson.video_id),
                    lesson.chosen,
                    channel=lesson.channel,
                    split=lesson.split,
                    source=SOURCE,
                    budget=settings.window_tokens,
                    overlap=settings.window_overlap,
                    counts=counts,
                    name=lesson.feedback_id,
                    span_seen=lesson.span_seen,
                    weight=settings.accept_weight if lesson.verdict == "accept" else 1.0,
                )
                counts["chapters"] += len(lesson.chosen)
                counts["chapters_in_windows"] += len({c.start for w in windows for c in w.chapters})
                counts["tokens"] += sum(w.tokens for w in windows)
                longest = max(longest, *(w.tokens for w in windows))
                table.extend(w.to_row() for w in windows)
    return content_hash([table.version(), pairs.version()]), {
        "in": said.total(),
        "kept": said.total() - refused.total(),
        "refused": dict(sorted(refused.items())),
        "edits": said["edit"],
        "accepts": said["accept"],
        "rejects": said["reject"],
        **{name: counts[name] for name in ("blind", "chapters", "chapters_in_windows", "tokens")},
        **counts,
        "longest_window": longest,
        "windows": table.count,
        "pairs": pairs.count,
    }
