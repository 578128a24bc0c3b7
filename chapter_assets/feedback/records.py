"""What one line of a feedback batch may say: a transcript, an impression of its chapters, a user's verdict on that."""

import codecs
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.store import canonical_json, content_hash
from chapter_assets.transcripts.segments import clean_text
from chapter_assets.transcripts.vidchapters import shown

SCHEMA_VERSION: Literal[1] = 1
LONGEST_LINE = 2**24  # bytes; the transcript of ten hours of talk takes one MiB
_REASON_OF_FIELD = {
    "created_at": "date_invalid",
    "chapters": "chapters_invalid",
    "shown": "shown_invalid",
    "segments": "segments_invalid",
    "span_seen": "span_invalid",
}


class Refused(Exception):  # noqa: N818 - no fault of ours: an outcome that is counted
    """A record that is not taken: `reason` is counted, `detail` says what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail[:200]


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range in UTC") from error


def _clean(text: str) -> str:
    if clean_text(text) != text:
        raise ValueError("has characters that do not print, or spaces too many")
    return text


def _json(value: Any) -> Any:
    canonical_json(value)  # raises ValueError for numbers beyond 64 bits and for halves of characters
    return value


Id = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]
VideoId = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_clean)]
Seconds = Annotated[float, Field(ge=0)]
Utc = Annotated[AwareDatetime, AfterValidator(_utc)]


class _Said(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class ListedChapter(_Said):
    """A chapter of a user's list."""

    start: Seconds = Field(description="Where it starts, in seconds")
    title: str

    @property
    def plain(self) -> Chapter:
        """The value that the rest of the project passes around, its title as clean text."""
        return Chapter(self.start, clean_text(self.title))


class ShownChapter(ListedChapter):
    """A chapter as it was shown."""

    confidence: float | None = Field(ge=0, le=1, description="How sure the model was; null where it cannot say")


class SpokenTranscript(_Said):
    """A transcript line: what the chapters of an impression were made from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["transcript"] = "transcript"
    transcript_hash: Id = Field(description="hash_transcript() of duration and segments")
    video_id: VideoId
    title: str
    channel: Annotated[str, Field(min_length=1), AfterValidator(_clean)] | None = Field(
        description="Who published the video; null where nobody knows"
    )
    duration: float = Field(gt=0, description="Of the video, in seconds")
    segments: tuple[tuple[float, float, str], ...] = Field(
        min_length=1, description="[start s, end s, text] in time order, within the duration"
    )


class Impression(_Said):
    """An impression line: what was shown, written when it is shown."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["impression"] = "impression"
    impression_id: Id
    prediction_id: Id
    finetune: Id = Field(description="Which finetune, or baseline, had made the list")
    video_id: VideoId
    transcript_hash: Id
    granularity: float = Field(gt=0, description="How finely it was cut: the odds of every start times this")
    shown: tuple[ShownChapter, ...] = Field(description="Empty where nothing was shown (a list made blind)")
    created_at: Utc


class Feedback(_Said):
    """A feedback line: one user's verdict on one impression."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["feedback"] = "feedback"
    feedback_id: Id
    impression_id: Id
    verdict: Literal["accept", "edit", "reject"]
    chapters: tuple[ListedChapter, ...] | None = Field(None, description="The user's whole list; needed for an edit")
    operations: Annotated[tuple[dict[str, JsonValue], ...], AfterValidator(_json)] = Field(
        (), description="What was done to which chapter, in order"
    )
    span_seen: tuple[Seconds, Seconds] = Field(description="From where to where the user looked, in seconds")
    seconds_spent: Seconds
    blind: bool = Field(False, description="The list was made without seeing the model's")
    user: Id = Field(description="Salted hash of who it was")
    created_at: Utc


Record = SpokenTranscript | Impression | Feedback
MODELS: dict[str, type[SpokenTranscript] | type[Impression] | type[Feedback]] = {
    "transcript": SpokenTranscript,
    "impression": Impression,
    "feedback": Feedback,
}
_ID_FIELDS = {"transcript": "transcript_hash", "impression": "impression_id", "feedback": "feedback_id"}


def hash_transcript(duration: float, segments: Iterable[tuple[float, float, str]]) -> str:
    """What names a transcript: sha256 over duration (s) and (start s, end s, text) of each segment, as hex."""
    return content_hash([float(duration), [[float(start), float(end), text] for start, end, text in segments]])


@dataclass(frozen=True, slots=True)
class Heading:
    """What a line says it is, as far as it can be read; `refused` when it need not be read further."""

    kind: str | None = None
    id: str | None = None
    refused: Refused | None = None

    @property
    def is_object(self) -> bool:
        """Whether the line is a JSON object, of whatever kind."""
        return self.refused is None or self.refused.reason in ("schema_version_unknown", "kind_unknown")


def read_heading(line: bytes) -> Heading:
    """The kind and the id of a line of a batch, whatever its bytes.

    Refused as `line_too_long`, `cut_off` (the last line, without its end), `not_json`, `not_an_object`,
    `schema_version_unknown` or `kind_unknown`.
    """
    try:
        raw = json.loads(line.removeprefix(codecs.BOM_UTF8).decode(), parse_constant=_no_json)  # never UTF-16
    except (ValueError, RecursionError) as error:
        long, ended = len(line) >= LONGEST_LINE, line.endswith(b"\n")
        reason = "line_too_long" if long else "not_json" if ended else "cut_off"
        return Heading(refused=Refused(reason, f"{type(error).__name__} in {shown(line[:40])}"))
    if not isinstance(raw, dict):
        return Heading(refused=Refused("not_an_object", shown(raw)))
    version, said = raw.get("schema_version"), raw.get("kind")
    kind = said if isinstance(said, str) and said in MODELS else None
    named = raw.get(_ID_FIELDS[kind]) if kind else None
    refused = None
    if type(version) is not int or version != SCHEMA_VERSION:
        refused = Refused("schema_version_unknown", f"{shown(version)}; read is {SCHEMA_VERSION}")
    elif kind is None:
        refused = Refused("kind_unknown", shown(said))
    return Heading(kind, named if named is None or _is_plain(named) else shown(named), refused)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_plain(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 200


def parse(kind: str, line: bytes) -> Any:
    """The record of a line with a good heading; raises Refused for what is wrong with its fields.

    Reasons: `date_invalid`, `chapters_invalid`, `shown_invalid`, `segments_invalid`, `span_invalid`, `fields_invalid`.
    """
    try:
        return MODELS[kind].model_validate_json(line.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        where = ".".join(map(str, first["loc"]))
        raise Refused(_REASON_OF_FIELD.get(field, "fields_invalid"), f"{where}: {first['msg']}") from error


def check_transcript(transcript: SpokenTranscript) -> None:
    """Raises Refused (`transcript_hash_wrong`, `segments_invalid`, `times_outside_duration`)."""
    computed = hash_transcript(transcript.duration, transcript.segments)
    if computed != transcript.transcript_hash:
        raise Refused("transcript_hash_wrong", f"its duration and segments give {computed}")
    before = 0.0
    for index, (start, end, text) in enumerate(transcript.segments):
        if not 0 <= start <= end <= transcript.duration or start == transcript.duration:
            found = f"segment {index} from {start:g} to {end:g} s of {transcript.duration:g} s"
            raise Refused("times_outside_duration" if start <= end else "segments_invalid", found)
        if start < before or not clean_text(text):
            raise Refused("segments_invalid", f"segment {index} at {start:g} s is out of order or empty")
        before = start


def check_impression(impression: Impression, duration: float) -> None:
    """Raises Refused (`shown_invalid`) unless nothing or a valid list was shown."""
    if impression.shown:
        _check_list("shown_invalid", impression.shown, duration)


def check_feedback(feedback: Feedback, impression: Impression, duration: float) -> None:
    """Raises Refused when the verdict contradicts itself, what was shown, or what was seen of it.

    Reasons: `span_invalid`, `chapters_missing` (an edit without a list), `chapters_invalid`, `nothing_shown` (but
    accepted or rejected), `chapters_contradict_verdict` (accepted or rejected, with another list than was shown),
    `edited_where_not_seen` (a start outside the span that was not shown either).
    """
    start, end = feedback.span_seen
    if not start <= end <= duration:
        raise Refused("span_invalid", f"{start:g} to {end:g} s of {duration:g} s")
    before = [c.plain for c in impression.shown]
    if feedback.verdict != "edit":
        if feedback.blind or not before:
            raise Refused("nothing_shown", f"verdict {feedback.verdict}, {len(before)} shown, blind {feedback.blind}")
        if feedback.chapters is not None and [c.plain for c in feedback.chapters] != before:
            raise Refused("chapters_contradict_verdict", f"verdict {feedback.verdict} with a list of its own")
        return
    if feedback.chapters is None:
        raise Refused("chapters_missing", "an edit without the user's list")
    _check_list("chapters_invalid", feedback.chapters, duration)
    # A list that was typed has whole seconds: a start that prints like one that was shown is that one.
    known = set() if feedback.blind else {int(c.start) for c in before}
    for chapter in feedback.chapters:
        if not start <= chapter.start <= end and int(chapter.start) not in known:
            found = f"a chapter at {chapter.start:g} s, seen were {start:g} to {end:g} s"
            raise Refused("edited_where_not_seen", found)


def _check_list(reason: str, chapters: Sequence[ListedChapter], duration: float) -> None:
    for plain in ([Chapter(c.start, c.title) for c in chapters], [c.plain for c in chapters]):
        if found := problems(plain, duration):
            raise Refused(reason, "; ".join(found))
