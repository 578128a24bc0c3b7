"""From a sealed batch to its tables: each line kept, or refused with a reason."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from chapter_assets.errors import InputError
from chapter_assets.feedback.batches import read_lines
from chapter_assets.feedback.records import (
    Feedback,
    Heading,
    Impression,
    Refused,
    SpokenTranscript,
    check_feedback,
    check_impression,
    check_transcript,
    parse,
    read_heading,
)
from chapter_assets.store import TableWriter, canonical_json, content_hash, file_hash
from chapter_assets.transcripts.corpus import KEPT, TRANSCRIPTS, VIDEOS
from chapter_assets.transcripts.language import language_of
from chapter_assets.transcripts.segments import Segment, clean_text
from chapter_assets.transcripts.vidchapters import shown

_CHAPTER_LIST = pa.list_(pa.struct([("start", pa.float64()), ("title", pa.string())]))
_SHOWN_LIST = pa.list_(pa.struct([("start", pa.float64()), ("title", pa.string()), ("confidence", pa.float64())]))
FEEDBACK = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("impression_id", pa.string()),
        ("prediction_id", pa.string()),
        ("finetune", pa.string()),
        ("video_id", pa.string()),
        ("transcript_hash", pa.string()),
        ("video_key", pa.string()),
        ("channel", pa.string()),
        ("split", pa.string()),
        ("duration", pa.float64()),
        ("granularity", pa.float64()),
        ("shown", _SHOWN_LIST),
        ("shown_at", pa.timestamp("us", "UTC")),
        ("verdict", pa.string()),
        ("chapters", _CHAPTER_LIST),
        ("operations", pa.string()),
        ("span_seen", pa.list_(pa.float64(), 2)),
        ("seconds_spent", pa.float64()),
        ("blind", pa.bool_()),
        ("user", pa.string()),
        ("created_at", pa.timestamp("us", "UTC")),
        ("line", pa.int64()),
    ]
)
REFUSED = pa.schema(
    [
        ("line", pa.int64()),
        ("kind", pa.string()),
        ("id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
_KINDS = ("transcript", "impression", "feedback")  # each needs those before it


@dataclass(frozen=True)
class IntakeResult:
    """What an intake did.

    `counts`: {in, kept, refused: {reason: n}} of all lines, where in = kept + all refused; then of what is kept,
    `records` by kind, `verdicts` by verdict, and `unanswered` impressions. `version`: hash of the tables' content.
    """

    counts: dict[str, Any]
    version: str


@dataclass(frozen=True, slots=True)
class _Video:
    """What records need of a transcript that is already written."""

    key: str
    title: str
    channel: str
    split: str
    duration: float


def video_key(video_id: str, transcript_hash: str) -> str:
    """What a video is called in a batch's tables, where it may be there with more than one transcript."""
    return f"{video_id}@{transcript_hash[:16]}"


def take_in(path: Path, folder: Path, split_of: Callable[[str], str]) -> IntakeResult:
    """Write `feedback`, `refused`, `videos` and `transcripts` (Parquet) for the sealed batch at `path`.

    The file is read once for each kind of record, so that their order in it means nothing, and memory holds kept
    impressions and verdicts only. Of records with one id the first counts; others are refused as `sent_twice`, or
    `same_id_other_content`. A verdict that its user replaced by a later one on the same impression is refused as
    `replaced`; without their transcript or impression, records are refused as `transcript_missing` and
    `impression_missing`; for the other reasons see records.py.

    Raises InputError when the file holds nothing, or no line of it is a JSON object, or it changes meanwhile.
    """
    sealed = file_hash(path)
    with _Tables(folder, split_of) as tables:
        for kind in _KINDS:
            for number, line in read_lines(path):
                tables.take(kind, number, line)
            tables.check_readable(path)
        tables.write_feedback()
    if file_hash(path) != sealed:
        raise InputError(f"{path} changed while it was read", "Seal a batch before it is put there, and run it again")
    return tables.result()


class _Tables:
    """The four tables while they are written, and what of the batch is kept so far."""

    def __init__(self, folder: Path, split_of: Callable[[str], str]) -> None:
        self._split_of = split_of
        self._stack = ExitStack()
        schemas = {"feedback": FEEDBACK, "refused": REFUSED, "videos": VIDEOS, "transcripts": TRANSCRIPTS}
        self._writers = {
            name: self._stack.enter_context(TableWriter(folder / f"{name}.parquet", schema))
            for name, schema in schemas.items()
        }
        self._videos: dict[tuple[str, str], _Video] = {}
        self._impressions: dict[str, Impression] = {}
        self._feedback: dict[str, tuple[Feedback, int]] = {}
        self._lines = self._objects = 0
        self._first = b""
        self._refused: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def take(self, kind: str, number: int, line: bytes) -> None:
        """Keep or refuse the record of a line if it is of `kind`; the first kind also refuses what is of none."""
        heading = read_heading(line)
        if kind == _KINDS[0]:
            self._first = self._first or line[:40]
            self._lines += 1
            self._objects += heading.is_object
            if heading.refused is not None:
                self._refuse(number, heading, heading.refused)
        if heading.refused is not None or heading.kind != kind:
            return
        try:
            record = parse(kind, line)
            if isinstance(record, SpokenTranscript):
                self._keep_transcript(record)
            elif isinstance(record, Impression):
                self._keep_impression(record)
            else:
                self._keep_feedback(record, number)
        except Refused as refused:
            self._refuse(number, heading, refused)

    def check_readable(self, path: Path) -> None:
        """Raises InputError unless some line is a JSON object."""
        if self._objects == 0:
            found = f"no line is a JSON object; the first begins with {shown(self._first)}" if self._lines else "empty"
            raise InputError(
                f"The feedback batch {path} holds no record: {found}",
                "Seal it again: UTF-8, not compressed, one JSON object a line",
            )

    def _refuse(self, number: int, heading: Heading, refused: Refused) -> None:
        self._refused[refused.reason] += 1
        row = {"line": number, "kind": heading.kind, "id": heading.id}
        self._writers["refused"].append(row | {"reason": refused.reason, "detail": refused.detail})

    def _keep_transcript(self, transcript: SpokenTranscript) -> None:
        check_transcript(transcript)
        name = (transcript.video_id, transcript.transcript_hash)
        channel = transcript.channel or f"user:{transcript.video_id}"
        key, split = video_key(*name), self._split_of(channel)
        video = _Video(key, clean_text(transcript.title), channel, split, transcript.duration)
        _check_new(self._videos.get(name), video)
        self._videos[name] = video
        segments = [Segment(start, end, clean_text(text)) for start, end, text in transcript.segments]
        self._writers["videos"].append(
            {
                "video_id": key,
                "title": video.title,
                "channel_id": channel,
                "duration": video.duration,
                "language": language_of(segments),
                "split": split,
                "segments": len(segments),
                "chapters": 0,
                "status": KEPT,
            }
        )
        self._writers["transcripts"].extend(
            {"video_id": key, "segment_index": i, "start": s.start, "end": s.end, "text": s.text}
            for i, s in enumerate(segments)
        )

    def _keep_impression(self, impression: Impression) -> None:
        _check_new(self._impressions.get(impression.impression_id), impression)
        video = self._videos.get((impression.video_id, impression.transcript_hash))
        if video is None:
            raise Refused("transcript_missing", f"{impression.video_id} with {impression.transcript_hash}")
        check_impression(impression, video.duration)
        self._impressions[impression.impression_id] = impression

    def _keep_feedback(self, feedback: Feedback, number: int) -> None:
        _check_new(self._feedback.get(feedback.feedback_id, (None,))[0], feedback)
        impression = self._impressions.get(feedback.impression_id)
        if impression is None:
            raise Refused("impression_missing", feedback.impression_id)
        check_feedback(feedback, impression, self._video_of(impression).duration)
        self._feedback[feedback.feedback_id] = feedback, number

    def _video_of(self, impression: Impression) -> _Video:
        return self._videos[impression.video_id, impression.transcript_hash]

    def write_feedback(self) -> None:
        """Write the verdicts that stand, in the order of the file; refuse those that were replaced."""
        last_words: dict[tuple[str, str], tuple[Any, ...]] = {}
        for feedback, number in self._feedback.values():
            said_of, when = (feedback.user, feedback.impression_id), (feedback.created_at, number)
            last_words[said_of] = max(last_words.get(said_of, when), when)
        for feedback, number in self._feedback.values():
            latest = last_words[feedback.user, feedback.impression_id]
            if latest != (feedback.created_at, number):
                later = Refused("replaced", f"by line {latest[1]}, the same user's on {feedback.impression_id}")
                self._refuse(number, Heading("feedback", feedback.feedback_id), later)
                continue
            self._verdicts[feedback.verdict] += 1
            impression = self._impressions[feedback.impression_id]
            self._writers["feedback"].append(_row(feedback, number, impression, self._video_of(impression)))

    def result(self) -> IntakeResult:
        """Counts and version; call after the `with` block."""
        rows = {name: writer.count for name, writer in self._writers.items()}
        answered = {feedback.impression_id for feedback, _ in self._feedback.values()}
        records = {
            "transcripts": rows["videos"],
            "impressions": len(self._impressions),
            "feedback": rows["feedback"],
        }
        counts = {
            "in": self._lines,
            "kept": sum(records.values()),
            "refused": dict(sorted(self._refused.items())),
            "records": records,
            "verdicts": {verdict: self._verdicts[verdict] for verdict in ("edit", "accept", "reject")},
            "unanswered": len(self._impressions) - len(answered),
        }
        versions = {name: writer.version() for name, writer in self._writers.items()}
        return IntakeResult(counts, content_hash(versions))


def _check_new(known: object, found: object) -> None:
    if known is not None:
        raise Refused("sent_twice" if known == found else "same_id_other_content", "a line before it has this id")


def _row(feedback: Feedback, number: int, impression: Impression, video: _Video) -> dict[str, Any]:
    return {
        "feedback_id": feedback.feedback_id,
        "impression_id": impression.impression_id,
        "prediction_id": impression.prediction_id,
        "finetune": impression.finetune,
        "video_id": impression.video_id,
        "transcript_hash": impression.transcript_hash,
        "video_key": video.key,
        "channel": video.channel,
        "split": video.split,
        "duration": video.duration,
        "granularity": impression.granularity,
        "shown": [asdict(c.plain) | {"confidence": c.confidence} for c in impression.shown],
        "shown_at": impression.created_at,
        "verdict": feedback.verdict,
        "chapters": [asdict(c.plain) for c in feedback.chapters or ()] if feedback.verdict == "edit" else None,
        "operations": canonical_json(feedback.operations).decode(),
        "span_seen": list(feedback.span_seen),
        "seconds_spent": feedback.seconds_spent,
        "blind": feedback.blind,
        "user": feedback.user,
        "created_at": feedback.created_at,
        "line": number,
    }
