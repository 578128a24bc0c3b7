"""Transcripts to windows, for training and serving alike."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import InputError
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.cutting import cut
from chapter_assets.windows.labels import snap
from chapter_assets.windows.prompts import MAX_LINE_TOKENS, PromptBuilder
from chapter_assets.windows.window import LabelledSegment, Window


@dataclass(frozen=True)
class WindowedTranscript:
    """A transcript's lines as token ids, and the ranges of segments that make its windows."""

    lines: list[list[int]]
    ranges: list[range]


def cut_transcript(
    builder: PromptBuilder,
    transcript: Transcript,
    budget: int,
    overlap: float,
    placed: dict[int, Chapter] | None = None,
) -> WindowedTranscript:
    """Cut one transcript into windows of at most `budget` tokens, prompt and answer together.

    With `placed` (segment index -> chapter), each segment's cost holds its line of the answer, so that no window
    can cut a target. Without, a `timed` prompt leaves a quarter of the budget for what the model will write.
    """
    lines = builder.lines(transcript.segments)
    costs = [len(line) for line in lines]
    fixed = len(builder.window(transcript.title, [], first=1).ids)
    room = budget - fixed
    if builder.timed:
        room -= len(builder.window_answer([]))
        if placed is None:
            room -= budget // 4
        for index, chapter in (placed or {}).items():
            costs[index] += len(builder.window_answer([chapter])) + 1
    try:
        ranges = cut(costs, room, overlap)
    except InputError as error:
        raise InputError(f"{transcript.video_id}: {error.problem}", error.remedy) from error
    return WindowedTranscript(lines, ranges)


def training_windows(
    builder: PromptBuilder,
    transcript: Transcript,
    chapters: Sequence[Chapter],
    *,
    channel: str,
    split: str,
    source: str,
    budget: int,
    overlap: float,
    counts: Counter[str],
    name: str | None = None,
    span_seen: tuple[float, float] | None = None,
    weight: float = 1.0,
) -> list[Window]:
    """The labelled windows of one video; `counts` gains what was shortened or lost its place on the way.

    `name` begins the windows' ids (the video's id by default); `span_seen` (s) says where anyone looked (everywhere
    by default): segments that start in it are `seen`; `weight` as in Window.
    """
    seen_from, seen_to = span_seen or (0.0, math.inf)
    placed, lost = snap(chapters, [s.start for s in transcript.segments])
    if builder.timed:  # a title of 98 words would leave no room for the transcript it stands for
        long = [i for i, c in placed.items() if len(builder.window_answer([c])) > budget // 4]
        lost["title_too_long_for_a_window"] = len([placed.pop(i) for i in long])
    windowed = cut_transcript(builder, transcript, budget, overlap, placed)
    counts.update({f"chapters_lost_{reason}": number for reason, number in lost.items() if number})
    counts["lines_shortened"] += sum(len(line) > MAX_LINE_TOKENS for line in windowed.lines)
    fingerprint = builder.fingerprint
    windows = []
    for number, segments in enumerate(windowed.ranges):
        shown = windowed.lines[segments.start : segments.stop]
        tokens = len(builder.window(transcript.title, shown, segments.start).ids)
        if builder.timed:
            written = [Chapter(transcript.segments[i].start, placed[i].title) for i in segments if i in placed]
            tokens += len(builder.window_answer(written))
        windows.append(
            Window(
                window_id=f"{name or transcript.video_id}/{number:03d}",
                video_id=transcript.video_id,
                channel=channel,
                split=split,
                source=source,
                title=transcript.title,
                duration=transcript.duration,
                first_segment=segments.start,
                segments=tuple(
                    LabelledSegment(
                        s.start, s.end, s.text, starts_chapter=i in placed, seen=seen_from <= s.start <= seen_to
                    )
                    for i in segments
                    for s in [transcript.segments[i]]
                ),
                chapters=tuple(placed[i] for i in segments if i in placed),
                tokens=tokens,
                tokenizer=fingerprint,
                weight=weight,
            )
        )
    return windows
