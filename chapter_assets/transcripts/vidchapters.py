"""VidChapters JSON: streaming its two files, and what may be taken from one record of each.

Chapters file: `{id: {duration, title, description, channel_id, view_count, chapters: {"<start_s>": title}}}`.
ASR file: `{id: {text: [...], start: [...], end: [...]}}` or `{id: [{text, start, end}, ...]}`.
The description is never read out of its record: it contains the chapter list.
"""

import hashlib
import math
import re
from collections import UserDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import ijson

from chapter_assets.chapters.chapterlist import Chapter, tidy
from chapter_assets.chapters.timecodes import parse_time
from chapter_assets.errors import InputError
from chapter_assets.transcripts.segments import Segment, clean_text

_SHOWN_CHARACTERS = 80
_LONGEST_VIDEO = 7 * 86_400.0  # s; what is longer is a mistake, and would swamp every fit
_BLOCK = 8192  # bytes; an error names its place to this precision; 64 KiB are a tenth faster
_FOUND_AT_TOP = {b"[": "a list", b'"': "a string", b"": "nothing (the file is empty)"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that does not come through, and why; `index` is its place in the record as it was written."""

    video_id: str
    item: Literal["video", "chapter", "segment"]
    index: int | None
    field: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """What one chapters record says: `duration` in seconds (None when unusable), `found` chapters in the raw record."""

    video_id: str
    title: str = ""
    channel_id: str | None = None
    duration: float | None = None
    chapters: tuple[Chapter, ...] = ()
    found: int = 0


@dataclass(frozen=True, slots=True)
class AsrRecord:
    """What one ASR record says: segments by start, `found` in the raw record, `clipped` to the video's end."""

    language: str | None = None
    segments: tuple[Segment, ...] = ()
    found: int = 0
    clipped: int = 0


class JsonObject(UserDict[str, Any]):
    """A JSON object that keeps what a repeated key would overwrite, in `repeated`; the first value stays."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[tuple[str, Any]] = []

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self.data:
            self.repeated.append((key, value))
        else:
            self.data[key] = value


class JsonFile:
    """One VidChapters file, streamed record by record; `bytes` and `sha256()` tell of what was read so far.

    Iterating gives (video id, raw record), with one record in memory at a time, and ids as often as the file has
    them. Raises InputError when the file cannot be read, is not JSON, is cut off, or is not an object at the top.
    """

    def __init__(self, path: Path, keep_repeated_keys: bool = False) -> None:
        self.path = path
        self.bytes = 0
        self.records = 0
        self._map_type = JsonObject if keep_repeated_keys else None
        self._hash = hashlib.sha256()
        self._file: BinaryIO

    def sha256(self) -> str:
        """Of the bytes read, as hex; of the whole file once the iteration has ended."""
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """The next bytes; for the parser."""
        block = self._file.read(size)
        self.bytes += len(block)
        self._hash.update(block)
        return block

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self.bytes = self.records = 0
        self._hash = hashlib.sha256()
        last = None
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be read: {error.strerror}", "Put the file there, readable, and run it again"
            ) from error
        with self._file:
            self._check_top()
            try:
                # Without use_float the parser crashes the process on an integer of 5000 digits (ijson 3.6).
                for video_id, raw in ijson.kvitems(self, "", buf_size=_BLOCK, use_float=True, map_type=self._map_type):
                    self.records += 1
                    last = video_id
                    yield video_id, raw
            except ijson.JSONError as error:
                raise self._not_json(str(error), last) from error

    def _check_top(self) -> None:
        while (byte := self._file.read(1)).isspace():
            pass
        if byte != b"{":
            raise InputError(
                f"{self.path} holds {_FOUND_AT_TOP.get(byte, f'something that begins with {byte!r}')} at the top, "
                "not an object of video ids",
                'Write it as {"<video id>": {...}, ...}, in UTF-8 without a byte order mark',
            )
        self._file.seek(0)

    def _not_json(self, message: str, last: str | None) -> InputError:
        seen = "with no video read before it" if last is None else f"with {last!r} the last video read before it"
        where = f"at about byte {self.bytes}, {seen}"
        if "premature EOF" in message:
            return InputError(f"{self.path} is cut off {where}", "Copy or fetch the file again")
        what = re.split(r"\\n|\n", message.removeprefix("b'"))[0].rstrip(".")
        return InputError(
            f"{self.path} is not valid JSON: {what} {where}",
            "Mend it there, or write it again as strict JSON in UTF-8: no NaN, no Infinity, no number beyond 64 bits",
        )


def shown(value: object) -> str:
    """`repr` of a value, cut to 80 characters."""
    try:
        return repr(value)[:_SHOWN_CHARACTERS]
    except RecursionError:
        return f"<{type(value).__name__} nested too deep>"


def refused_video(video_id: str, reason: str, field: str = "video_id", value: object = None) -> Refusal:
    """The refusal of a whole video; `value` is its id where no other field is to blame."""
    return Refusal(video_id, "video", None, field, shown(video_id if field == "video_id" else value), reason)


def parse_record(video_id: str, raw: object) -> tuple[VideoRecord, list[Refusal]]:
    """One raw chapters record as a value, and what was refused of it.

    A refusal of the video (`record_malformed`, `duration_invalid`, `no_chapters`) comes first. Chapters are refused
    as `time_invalid`, `title_not_string`, `past_end`, `same_second` or `empty_title`; long titles and crowded lists
    are kept. With no usable duration, no chapter is `past_end`. A title or channel that is no string counts as none.
    """
    if not isinstance(raw, Mapping):
        return VideoRecord(video_id), [refused_video(video_id, "record_malformed", "record", raw)]
    listed = raw.get("chapters")
    duration = _seconds(raw.get("duration")) or None
    duration = None if duration is not None and duration > _LONGEST_VIDEO else duration
    chapters, found, refusals = _parse_chapters(video_id, listed if isinstance(listed, Mapping) else {}, duration)
    video = VideoRecord(
        video_id, _text(raw.get("title")) or "", _text(raw.get("channel_id")), duration, tuple(chapters), found
    )
    if not video_id or clean_text(video_id) != video_id:
        refusals.insert(0, refused_video(video_id, "record_malformed"))
    elif listed is not None and not isinstance(listed, Mapping):
        refusals.insert(0, refused_video(video_id, "record_malformed", "chapters", listed))
    elif duration is None:
        refusals.insert(0, refused_video(video_id, "duration_invalid", "duration", raw.get("duration")))
    elif not chapters:
        refusals.insert(0, refused_video(video_id, "no_chapters", "chapters", listed))
    return video, refusals


def _parse_chapters(
    video_id: str, listed: Mapping[str, Any], duration: float | None
) -> tuple[list[Chapter], int, list[Refusal]]:
    items = [*listed.items(), *getattr(listed, "repeated", ())]
    refusals: list[Refusal] = []
    chapters: list[Chapter] = []
    places: dict[int, int] = {}  # tidy() hands back the same objects, sorted
    for index, (start, title) in enumerate(items):
        seconds = _seconds(start)
        if seconds is None:
            refusals.append(Refusal(video_id, "chapter", index, "start", shown(start), "time_invalid"))
        elif not isinstance(title, str):
            refusals.append(Refusal(video_id, "chapter", index, "title", shown(title), "title_not_string"))
        else:
            chapters.append(Chapter(seconds, clean_text(title)))
            places[id(chapters[-1])] = index
    kept, unfit = tidy(chapters, math.inf if duration is None else duration)
    for chapter, reason in unfit:
        index = places[id(chapter)]
        start, title = items[index]
        field, value = ("title", title) if reason == "empty_title" else ("start", start)
        refusals.append(Refusal(video_id, "chapter", index, field, shown(value), reason))
    return kept, len(items), refusals


def parse_asr(video_id: str, raw: object, duration: float | None) -> tuple[AsrRecord, list[Refusal]]:
    """One raw ASR record as a value, and what was refused of it; `duration` of the video in seconds, None if unknown.

    A refusal of the video (`asr_malformed`, `asr_columns_differ`, `empty_transcript`) comes first. Segments are
    refused as `text_not_string`, `text_empty`, `time_invalid`, `ends_before_start` or `past_end`; an end beyond the
    video's is set to it and counted in `clipped`.
    """
    language = _text(raw.get("language")) if isinstance(raw, Mapping) else None
    rows = _rows(video_id, raw)
    if isinstance(rows, Refusal):
        return AsrRecord(language), [rows]
    limit = math.inf if duration is None else duration
    refusals: list[Refusal] = []
    segments: list[Segment] = []
    clipped = 0
    for index, (text, start, end) in enumerate(rows):
        segment = _parse_segment(text, start, end, limit)
        if not isinstance(segment, Segment):
            field, value, reason = segment
            refusals.append(Refusal(video_id, "segment", index, field, shown(value), reason))
            continue
        if segment.end > limit:
            clipped += 1
            segment = Segment(segment.start, limit, segment.text)
        segments.append(segment)
    segments.sort(key=lambda s: s.start)
    if not segments:
        refusals.insert(0, refused_video(video_id, "empty_transcript", "text", len(rows)))
    return AsrRecord(language, tuple(segments), len(rows), clipped), refusals


def _rows(video_id: str, raw: object) -> list[tuple[Any, Any, Any]] | Refusal:
    """(text, start, end) of each segment, out of either shape of an ASR record."""
    if isinstance(raw, list):
        fields = [row if isinstance(row, Mapping) else {"text": row} for row in raw]
        return [(row.get("text"), row.get("start"), row.get("end")) for row in fields]
    if not isinstance(raw, Mapping):
        return refused_video(video_id, "asr_malformed", "record", raw)
    columns = {}
    for name in ("text", "start", "end"):
        column = raw.get(name)
        if not isinstance(column, list):
            return refused_video(video_id, "asr_malformed", name, column)
        columns[name] = column
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        return refused_video(video_id, "asr_columns_differ", "text, start, end", lengths)
    return list(zip(*columns.values(), strict=True))


def _parse_segment(text: Any, start: Any, end: Any, limit: float) -> Segment | tuple[str, object, str]:
    """The segment, or (field, value, reason) of why there is none."""
    if not isinstance(text, str):
        return "text", text, "text_not_string"
    cleaned = clean_text(text)
    if not cleaned:
        return "text", text, "text_empty"
    starts, stops = _seconds(start), _seconds(end)
    if starts is None:
        return "start", start, "time_invalid"
    if stops is None:
        return "end", end, "time_invalid"
    if stops < starts:
        return "end", end, "ends_before_start"
    if starts >= limit:
        return "start", start, "past_end"
    return Segment(starts, stops, cleaned)


def _seconds(value: object) -> float | None:
    try:
        return parse_time(value)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str | None:
    return (clean_text(value) or None) if isinstance(value, str) else None
