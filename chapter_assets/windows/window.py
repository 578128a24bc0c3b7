"""The window: one stretch of a transcript that fits the token budget, and its Parquet schema."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.transcripts.segments import Segment

SCHEMA = pa.schema(
    [
        ("window_id", pa.string()),
        ("video_id", pa.string()),
        ("channel", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("title", pa.string()),
        ("duration", pa.float64()),
        ("first_segment", pa.int32()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        (
            "segments",
            pa.list_(
                pa.struct(
                    [
                        ("start", pa.float64()),
                        ("end", pa.float64()),
                        ("text", pa.string()),
                        ("starts_chapter", pa.bool_()),
                        ("seen", pa.bool_()),
                    ]
                )
            ),
        ),
        ("chapters", pa.list_(pa.struct([("start", pa.float64()), ("title", pa.string())]))),
        ("tokens", pa.int32()),
        ("tokenizer", pa.string()),
        ("weight", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class LabelledSegment:
    """A segment, whether a chapter starts at it, and whether anyone looked (no loss where nobody did)."""

    start: float
    end: float
    text: str
    starts_chapter: bool
    seen: bool

    @property
    def plain(self) -> Segment:
        return Segment(self.start, self.end, self.text)


@dataclass(frozen=True, slots=True)
class Window:
    """Segments `first_segment`, … of a video, and the chapters that start among them. Times in seconds.

    `title` and `duration` are the whole video's; `tokens` is the length of prompt and answer under the tokenizer
    whose hash is `tokenizer`; `weight` is how much this window counts in training against one of the corpus.
    """

    window_id: str
    video_id: str
    channel: str
    split: str
    source: str
    title: str
    duration: float
    first_segment: int
    segments: tuple[LabelledSegment, ...]
    chapters: tuple[Chapter, ...]
    tokens: int
    tokenizer: str
    weight: float = 1.0

    @property
    def lesson(self) -> str:
        """What names the chapter list that this window is cut from: the video's id, or the feedback record's."""
        return self.window_id.rsplit("/", 1)[0]

    def to_row(self) -> dict[str, Any]:
        """The window as a row of SCHEMA."""
        return asdict(self) | {"start": self.segments[0].start, "end": self.segments[-1].end}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Window":
        """The window that `to_row` made."""
        fields = {name: row[name] for name in cls.__dataclass_fields__}
        fields["segments"] = tuple(LabelledSegment(**s) for s in row["segments"])
        fields["chapters"] = tuple(Chapter(**c) for c in row["chapters"])
        return cls(**fields)
