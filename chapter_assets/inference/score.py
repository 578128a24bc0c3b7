"""A score for one chapter list without gold: the expected F1, marked down for faults that anyone can see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chapter_assets.chapters.chapterlist import Chapter, ends
from chapter_assets.chapters.title_metrics import repeated, words
from chapter_assets.chapters.title_support import unsupported
from chapter_assets.transcripts.segments import Transcript

SHORTEST, LONGEST = 5.0, 1800.0
"""Seconds that a plausible chapter lasts: of 1,744 public ones 7 % are shorter and 0.1 % longer."""
_MARKED_DOWN = 0.1  # by each of the five faults at its worst, so that the expected F1 decides


@dataclass(frozen=True)
class ListScore:
    """The score of a list and its parts, so that one sees why.

    `total`: 0 to 100, at most `expected_f1`. Shares, 0 to 1: `valid` (1 or 0: it needed no repair), `covered` (spoken
    time that lies in a chapter), `supported` (titles without a name or number that nobody said), `distinct` (titles
    that no earlier one says), `plausible_lengths` (chapters of `SHORTEST` to `LONGEST` s).
    """

    total: float
    expected_f1: float
    valid: float
    covered: float
    supported: float
    distinct: float
    plausible_lengths: float


def score_list(
    transcript: Transcript, chapters: Sequence[Chapter], expected_f1: float, valid_before_repair: bool
) -> ListScore:
    """Score a list of at least one chapter; `expected_f1` (0 to 100) as the decoder has it.

    total = expected F1 x (1 - 0.1 x the sum of what each of the five shares lacks).
    """
    unsaid = unsupported_words(transcript, chapters)
    shares = (
        float(valid_before_repair),
        _covered(transcript, chapters[0].start),
        _share(not found for found in unsaid),
        1 - repeated([words(c.title) for c in chapters]),
        _plausible_lengths(chapters, transcript.duration),
    )
    marked_down = _MARKED_DOWN * sum(1 - share for share in shares)
    return ListScore(expected_f1 * (1 - marked_down), expected_f1, *shares)


def unsupported_words(transcript: Transcript, chapters: Sequence[Chapter]) -> list[list[str]]:
    """For each title, its names and numbers that neither the transcript nor the video's title has."""
    text = "\n".join([transcript.title, *(s.text for s in transcript.segments)])
    return [unsupported(c.title, text) for c in chapters]


def _covered(transcript: Transcript, first: float) -> float:
    """The share of the spoken time after `first` (s); 1 where no segment lasts."""
    inside = sum(max(s.end - max(s.start, first), 0) for s in transcript.segments)
    return inside / transcript.spoken if transcript.spoken else 1.0


def _plausible_lengths(chapters: Sequence[Chapter], duration: float) -> float:
    """The share of chapters that are neither too short nor too long; in a shorter video, one may fill it."""
    least = min(SHORTEST, duration)
    lengths = (end - c.start for c, end in zip(chapters, ends(chapters, duration), strict=True))
    return _share(least <= length <= LONGEST for length in lengths)


def _share(those: Iterable[bool]) -> float:
    found = list(those)
    return sum(found) / len(found)
