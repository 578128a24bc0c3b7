"""The chapter list: one validated value that everything else passes around."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter starts at `start` (seconds) and lasts until the next start or the video's end."""

    start: float
    title: str


def problems(chapters: Sequence[Chapter], duration: float) -> list[str]:
    """What keeps `chapters` from being a valid list for a video of `duration` seconds; empty when valid.

    Valid: at least one chapter; starts inside [0, duration), rising, no two in one whole second
    (they print alike and score as one); every title has a visible character and is on one line.
    """
    found = []
    if not chapters:
        found.append("the list is empty")
    for chapter in chapters:
        if not 0 <= chapter.start < duration:
            found.append(f"start {chapter.start:g} s is outside 0 to {duration:g} s")
        if not chapter.title.strip():
            found.append(f"the chapter at {chapter.start:g} s has no title")
        elif len(chapter.title.splitlines()) > 1:
            found.append(f"the title at {chapter.start:g} s has more than one line")
    for before, after in pairwise(chapters):
        if int(after.start) <= int(before.start):
            found.append(f"start {after.start:g} s does not come a whole second after {before.start:g} s")
    return found


def ends(chapters: Sequence[Chapter], duration: float) -> list[float]:
    """The end of each chapter, in seconds."""
    return [c.start for c in chapters[1:]] + [duration] if chapters else []


def tidy(chapters: Iterable[Chapter], duration: float) -> tuple[list[Chapter], list[tuple[Chapter, str]]]:
    """Sort a list, and part it into the chapters that can stay and (chapter, reason) for those that cannot.

    Reasons: `past_end`, `negative_start`, `same_second` (as a chapter kept before it), `empty_title`.
    """
    kept: list[Chapter] = []
    refused: list[tuple[Chapter, str]] = []
    for chapter in sorted(chapters, key=lambda c: c.start):
        if chapter.start >= duration:
            refused.append((chapter, "past_end"))
        elif chapter.start < 0:
            refused.append((chapter, "negative_start"))
        elif not chapter.title.strip():
            refused.append((chapter, "empty_title"))
        elif kept and int(kept[-1].start) == int(chapter.start):
            refused.append((chapter, "same_second"))
        else:
            kept.append(chapter)
    return kept, refused
