"""One line or one record at a time: what is understood of it, and why it is refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapter_assets.feedback.records import (
    MODELS,
    Feedback,
    Impression,
    Refused,
    SpokenTranscript,
    check_feedback,
    check_impression,
    check_transcript,
    hash_transcript,
    parse,
    read_heading,
)
from chapter_assets_tests.feedback.made_up import (
    EDITED,
    SEGMENTS,
    SHOWN,
    Line,
    feedback_line,
    impression_line,
    listed,
    transcript_line,
)

LATE = [*SEGMENTS[:-1], (90.0, 101.0, "past the end")]


def parsed(line: Line) -> Any:
    return parse(line["kind"], json.dumps(line).encode())


def reason(line: Line) -> str:
    """Why a line is refused, by itself or against the made-up transcript and impression; "" when it is not."""
    try:
        record = parsed(line)
        if isinstance(record, SpokenTranscript):
            check_transcript(record)
        elif isinstance(record, Impression):
            check_impression(record, 100.0)
        else:
            check_feedback(record, parsed(impression_line(transcript_line())), 100.0)
    except Refused as refused:
        return refused.reason
    return ""


def test_sound_records_are_taken() -> None:
    transcript = transcript_line()
    for line in (transcript, transcript | {"channel": None, "title": ""}, impression_line(transcript)):
        assert reason(line) == ""
    for verdict in ("edit", "accept", "reject"):
        assert reason(feedback_line(verdict=verdict)) == ""
    assert reason(feedback_line(blind=True)) == ""


def test_a_record_made_in_python_is_the_line_it_writes() -> None:
    for line in (transcript_line(), impression_line(transcript_line()), feedback_line()):
        record = parsed(line)
        assert parse(line["kind"], record.model_dump_json().encode()) == record
    assert isinstance(record, Feedback)
    assert record.created_at == datetime(2026, 11, 2, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"transcript_hash": "0" * 64}, "transcript_hash_wrong"),
        ({"duration": 101.0}, "transcript_hash_wrong"),
        ({"segments": [*map(list, SEGMENTS[:-1])]}, "transcript_hash_wrong"),
        ({"segments": LATE, "transcript_hash": hash_transcript(100, LATE)}, "times_outside_duration"),
        ({"segments": SEGMENTS[::-1], "transcript_hash": hash_transcript(100, SEGMENTS[::-1])}, "segments_invalid"),
        (
            {"segments": [[0.0, 9.0, " \u200b"]], "transcript_hash": hash_transcript(100, [(0, 9, " \u200b")])},
            "segments_invalid",
        ),
        ({"segments": [[5.0, 4.0, "a"]], "transcript_hash": hash_transcript(100, [(5, 4, "a")])}, "segments_invalid"),
        ({"segments": []}, "segments_invalid"),
        ({"segments": [["0", "9", "a"]]}, "segments_invalid"),
        ({"duration": 0}, "fields_invalid"),
        ({"duration": 1e999}, "fields_invalid"),
        ({"video_id": "a\nb"}, "fields_invalid"),
        ({"channel": ""}, "fields_invalid"),
    ],
)
def test_a_transcript_is_refused_for(changed: Line, said: str) -> None:
    assert reason(transcript_line() | changed) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"shown": listed([(0.0, "a"), (100.0, "b")], confidence=None)}, "shown_invalid"),
        ({"shown": listed(SHOWN[::-1], confidence=None)}, "shown_invalid"),
        ({"shown": listed(SHOWN, confidence=1.5)}, "shown_invalid"),
        ({"created_at": "yesterday"}, "date_invalid"),
        ({"created_at": "2026-11-02T10:00:00"}, "date_invalid"),
        ({"created_at": "0001-01-01T00:00:00+10:00"}, "date_invalid"),
        ({"granularity": 0}, "fields_invalid"),
        ({"impression_id": ""}, "fields_invalid"),
        ({"impression_id": "two words"}, "fields_invalid"),
        ({"finetune": None}, "fields_invalid"),
    ],
)
def test_an_impression_is_refused_for(changed: Line, said: str) -> None:
    assert reason(impression_line(transcript_line(), **changed)) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"chapters": None}, "chapters_missing"),
        ({"chapters": []}, "chapters_invalid"),
        ({"chapters": listed([(5.0, "a"), (5.5, "b")])}, "chapters_invalid"),
        ({"chapters": listed([(5.0, "two\nlines")])}, "chapters_invalid"),
        ({"chapters": listed([(5.0, "\u200b")])}, "chapters_invalid"),
        ({"chapters": listed([(100.0, "a")])}, "chapters_invalid"),
        ({"chapters": listed([(-1.0, "a")])}, "chapters_invalid"),
        ({"chapters": [{"start": 0}]}, "chapters_invalid"),
        ({"span_seen": [0.0, 101.0]}, "span_invalid"),
        ({"span_seen": [50.0, 40.0]}, "span_invalid"),
        ({"span_seen": [50.0]}, "span_invalid"),
        ({"span_seen": [0.0, 60.0]}, "edited_where_not_seen"),
        ({"chapters": listed([(0.0, "a"), (50.0, "b")]), "span_seen": [0.0, 40.0], "blind": True}, "edited_where"),
        ({"verdict": "accept", "chapters": listed(EDITED)}, "chapters_contradict_verdict"),
        ({"verdict": "reject", "chapters": listed(EDITED)}, "chapters_contradict_verdict"),
        ({"verdict": "accept", "blind": True}, "nothing_shown"),
        ({"verdict": "perhaps"}, "fields_invalid"),
        ({"seconds_spent": -1}, "fields_invalid"),
        ({"seconds_spent": True}, "fields_invalid"),
        ({"operations": [{"start": 1e999}]}, "fields_invalid"),
        ({"operations": ["cut"]}, "fields_invalid"),
        ({"user": None}, "fields_invalid"),
        ({"created_at": None}, "date_invalid"),
    ],
)
def test_a_verdict_is_refused_for(changed: Line, said: str) -> None:
    assert reason(feedback_line(**changed)).startswith(said)


def test_what_was_shown_may_stay_in_an_edit_where_the_user_did_not_look() -> None:
    kept = listed([(0.0, "Hello"), (30.0, "New"), (50.0, "Middle")])
    assert reason(feedback_line(chapters=kept, span_seen=[0.0, 40.0])) == ""


def test_an_accept_may_repeat_the_list_that_was_shown() -> None:
    assert reason(feedback_line(verdict="accept", chapters=listed(SHOWN))) == ""
    nothing = parsed(impression_line(transcript_line(), shown=[]))
    with pytest.raises(Refused, match="nothing_shown"):
        check_feedback(parsed(feedback_line(verdict="accept")), nothing, 100.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"schema_version": 1, "kind": "feedb', "cut_off"),
        (b'{"schema_version": 1, "kind": "feedb\n', "not_json"),
        (b"\xff\xfe{\n", "not_json"),
        (b"[" * 100_000 + b"\n", "not_json"),
        (b'{"schema_version": 1, "kind": "feedback", "seconds_spent": NaN}\n', "not_json"),
        (b'{"schema_version": ' + b"1" * 5000 + b"}\n", "not_json"),
        (b"[1]\n", "not_an_object"),
        (b"{}\n", "schema_version_unknown"),
        (b'{"schema_version": 2, "kind": "feedback"}\n', "schema_version_unknown"),
        (b'{"schema_version": true, "kind": "feedback"}\n', "schema_version_unknown"),
        (b'{"schema_version": 1, "kind": "rumour"}\n', "kind_unknown"),
        (b'{"schema_version": 1, "kind": ["feedback"]}\n', "kind_unknown"),
    ],
)
def test_a_line_that_is_no_record_is_refused_as(line: bytes, said: str) -> None:
    refused = read_heading(line).refused
    assert refused is not None
    assert refused.reason == said


def test_the_hash_of_a_transcript_is_that_of_its_times_and_words_alone() -> None:
    assert hash_transcript(100, [(0, 9, "a")]) == hash_transcript(100.0, [(0.0, 9.0, "a")])
    hashes = {hash_transcript(d, [(0, e, t)]) for d in (100, 101) for e in (8, 9) for t in ("a", "b")}
    assert len(hashes) == 8


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.binary() | junk.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_crash_the_reading_of_a_heading(line: bytes) -> None:
    heading = read_heading(line)
    assert heading.refused is not None
    assert heading.id is None or heading.id.isprintable()


@given(data=st.data(), kind=st.sampled_from(sorted(MODELS)))
def test_whatever_stands_in_a_field_the_record_is_taken_or_refused_with_a_reason(
    data: st.DataObject, kind: str
) -> None:
    transcript = transcript_line()
    line = {"transcript": transcript, "impression": impression_line(transcript), "feedback": feedback_line()}[kind]
    field = data.draw(st.sampled_from(sorted(set(line) - {"kind", "schema_version"})))
    broken = line | {field: data.draw(junk)}
    heading = read_heading(json.dumps(broken).encode() + b"\n")
    if heading.refused is None:
        assert heading.kind == kind
        reason(broken)
