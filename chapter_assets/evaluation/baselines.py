"""The guesses that every table shows: lists made without reading a word, titled with the best phrase of the text."""

from collections.abc import Callable, Mapping, Sequence

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.inference.choosers import equal_starts, spaced_starts
from chapter_assets.inference.titlers import LexicalTitler, extractive_title
from chapter_assets.transcripts.segments import Transcript

LABELS = {
    "one_chapter": "One chapter",
    "three_equal": "Three equal chapters",
    "equal_spacing": "Equal spacing, best on validation",
}
Times = Callable[[float], Sequence[float]]
_SPACINGS = (15, 20, 28, 40, 60, 90, 120, 180, 240, 300, 420, 600, 900)  # s


def guess(transcript: Transcript, times: Sequence[float]) -> list[Chapter]:
    """Chapters at `times` (s, rising), floored to seconds, with lexical titles of the text that each covers."""
    seconds = sorted({float(int(t)) for t in times if int(t) < transcript.duration})
    first = [
        next((i for i, s in enumerate(transcript.segments) if s.start >= t), len(transcript.segments)) for t in seconds
    ]
    titled = sorted({i for i in first if i < len(transcript.segments)})
    titles = dict(zip(titled, LexicalTitler().titles(transcript, titled), strict=True))
    return [
        Chapter(second, titles.get(index) or extractive_title("")) for second, index in zip(seconds, first, strict=True)
    ]


def best_spacing(videos: Mapping[str, tuple[float, Sequence[Chapter]]]) -> float:
    """The spacing (s) whose mean F1 on `videos` (id -> duration, gold) is highest."""

    def mean_f1(every: float) -> float:
        scores = [
            score_video(gold, [Chapter(t, "-") for t in spaced_starts(duration, every)], duration)["f1"]
            for duration, gold in videos.values()
        ]
        return sum(scores) / len(scores)

    return max(_SPACINGS, key=mean_f1)


def guesses(spacing: float) -> dict[str, Times]:
    """Every guess by system name: from a duration to the starts, in seconds."""
    return {
        "one_chapter": lambda duration: [0.0],
        "three_equal": lambda duration: equal_starts(duration, 3),
        "equal_spacing": lambda duration: spaced_starts(duration, spacing),
    }
