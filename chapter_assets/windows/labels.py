"""Which segments start a chapter: gold boundaries brought onto segment starts, and curation of the labels."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from chapter_assets.chapters.chapterlist import Chapter

_TIME_STAMP = re.compile(r"\b\d{1,2}:\d{2}\b")


def nearest_start(starts: Sequence[float], time: float) -> int | None:
    """Index of the segment whose start is nearest to `time` (s); the earlier one when two are as near.

    None when the video's own start is nearer than the first segment, which then begins after the first second: a
    chapter at 0 over silence or music is no segment's start.
    """
    after = bisect_left(starts, time)
    if after == 0:
        return None if starts[0] >= 1 and time < starts[0] / 2 else 0
    if after < len(starts) and starts[after] - time < time - starts[after - 1]:
        return after
    return bisect_left(starts, starts[after - 1])  # the first of those that start together


def snap(chapters: Sequence[Chapter], starts: Sequence[float]) -> tuple[dict[int, Chapter], Counter[str]]:
    """Segment index -> the chapter that starts there, and how many chapters found no segment, by reason.

    Each chapter goes to the segment with the nearest start. Reasons: `on_a_taken_segment` (an earlier chapter has
    it), `before_the_first_segment`.
    """
    placed: dict[int, Chapter] = {}
    lost: Counter[str] = Counter()
    for chapter in chapters:
        index = nearest_start(starts, chapter.start)
        if index is None:
            lost["before_the_first_segment"] += 1
        elif index in placed:
            lost["on_a_taken_segment"] += 1
        else:
            placed[index] = chapter
    return placed, lost


def unfit_titles(chapters: Sequence[Chapter], max_words: int = 15) -> dict[int, str]:
    """Index of each chapter whose title teaches nothing, with the reason; its boundary may still be learned.

    Reasons: `title_too_long` (over `max_words`: a sentence or a lyric), `title_without_letters` (numbers,
    emoji), `title_is_link`, `title_with_time` (a stamp left in it), `title_repeated` (twice in one list).
    """
    found: dict[int, str] = {}
    seen: set[str] = set()
    for index, chapter in enumerate(chapters):
        title = chapter.title.casefold()
        if len(title.split()) > max_words:
            found[index] = "title_too_long"
        elif not any(c.isalpha() for c in title):
            found[index] = "title_without_letters"
        elif "http" in title or "www." in title:
            found[index] = "title_is_link"
        elif _TIME_STAMP.search(title):
            found[index] = "title_with_time"
        elif title in seen:
            found[index] = "title_repeated"
        seen.add(title)
    return found
