"""Rows for the trainer: from windows to token ids and labels.

Two kinds of row, both with `input_ids` and `labels` (-100 where there is no loss): title rows (one chapter; the model
learns to write its title) and answer rows (a window; the model learns to write time stamps and titles).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.transcripts.language import language_of
from chapter_assets.windows.labels import unfit_titles
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets.windows.window import LabelledSegment, Window

Row = dict[str, Any]


def by_lesson(windows: Iterable[Window]) -> list[list[Window]]:
    """The windows of each chapter list (a video has one from the corpus, and one from each user), in order."""
    groups: dict[str, list[Window]] = defaultdict(list)
    for window in windows:
        groups[window.lesson].append(window)
    return [sorted(group, key=lambda w: w.first_segment) for group in groups.values()]


def whole_video(windows: Sequence[Window]) -> list[LabelledSegment]:
    """All segments of a video from its overlapping windows."""
    segments: dict[int, LabelledSegment] = {}
    for window in windows:
        segments.update(enumerate(window.segments, start=window.first_segment))
    return [segments[i] for i in sorted(segments)]


def gold_chapters(windows: Iterable[Window]) -> list[Chapter]:
    """The chapters of a video from its overlapping windows, one for each segment that starts one."""
    return sorted({c for window in windows for c in window.chapters}, key=lambda c: c.start)


def title_rows(
    builder: PromptBuilder, windows: Iterable[Window], share: float, seed: int, counts: Counter[str]
) -> list[Row]:
    """One row per chapter whose title is fit to learn; `counts` gains the others by reason.

    Of the chapters where somebody looked, `share` times the weight of their list is drawn.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for group in by_lesson(windows):
        segments = whole_video(group)
        chapters = gold_chapters(group)
        starts = [i for i, s in enumerate(segments) if s.starts_chapter]
        if len(chapters) != len(starts):
            raise AssertionError(f"{group[0].video_id}: {len(chapters)} chapters and {len(starts)} starts")
        stops = [*starts, len(segments)][1:]
        unfit = unfit_titles(chapters)
        lines = builder.lines([s.plain for s in segments])
        for number, (chapter, start, stop) in enumerate(zip(chapters, starts, stops, strict=True)):
            if not segments[start].seen:
                counts["title_not_seen"] += 1
            elif number in unfit:
                counts[unfit[number]] += 1
            elif rng.random() < share * group[0].weight:
                earlier = [c.title for c in chapters[:number]]
                prompt = builder.title_request(group[0].title, lines[start:stop], earlier)
                rows.append(_with_answer(prompt, builder.title_answer(chapter.title)))
    return rows


def answer_rows(builder: PromptBuilder, windows: Iterable[Window]) -> list[Row]:
    """One row per window that was seen as a whole, for a model that writes time stamps."""
    rows = []
    for window in windows:
        if not all(s.seen for s in window.segments):
            continue
        lines = builder.lines([s.plain for s in window.segments])
        prompt = builder.window(window.title, lines, window.first_segment)
        starts = (s.start for s in window.segments if s.starts_chapter)  # the times that the prompt shows
        chapters = [Chapter(start, c.title) for start, c in zip(starts, window.chapters, strict=True)]
        rows.append(_with_answer(prompt.ids, builder.window_answer(chapters)))
    return rows


def count_languages(windows: Iterable[Window]) -> dict[str, int]:
    """The number of chapter lists in each language (ISO 639-1), without those whose language cannot be told."""
    languages = (language_of(s.plain for s in whole_video(group)) for group in by_lesson(windows))
    return dict(Counter(language for language in languages if language is not None).most_common())


def _with_answer(prompt: list[int], answer: list[int]) -> Row:
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}
