"""A transcript: one video's timed segments, and the cleaning of their text."""

import unicodedata
from dataclasses import dataclass

# Marks that reorder the text around them, and spaces without width.
_INVISIBLE = dict.fromkeys(
    map(ord, "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
)


@dataclass(frozen=True, slots=True)
class Segment:
    """One timed piece of a transcript; times in seconds, `end` >= `start`."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A video's segments in time order; `duration` in seconds, `title` as its publisher wrote it."""

    video_id: str
    title: str
    duration: float
    segments: tuple[Segment, ...]

    @property
    def spoken(self) -> float:
        """Seconds in which a segment lasts, each segment for itself."""
        return sum(s.end - s.start for s in self.segments)


def clean_text(text: str) -> str:
    """One line of plain text: NFC, no control or direction-changing characters, single spaces.

    Right-to-left letters stay; only the invisible marks that reorder the text around them go.
    """
    if not (text.isascii() and text.isprintable()):  # most text is: 12x faster
        text = text.translate(_INVISIBLE)
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn"))
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())
