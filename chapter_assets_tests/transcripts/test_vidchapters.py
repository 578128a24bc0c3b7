"""VidChapters JSON: what the readers take, what they refuse, and what their errors say."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import InputError
from chapter_assets.transcripts.segments import Segment
from chapter_assets.transcripts.vidchapters import JsonFile, Refusal, parse_asr, parse_record, shown

ARABIC = "مرحبا بالعالم"


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "file.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def record(**changed: Any) -> dict[str, Any]:
    return {
        "duration": 100.0,
        "title": "A video",
        "description": "0:00 Start\n0:30 Middle",
        "channel_id": "UC1",
        "view_count": 3,
        "chapters": {"0": "Start", "30": "Middle"},
    } | changed


def columns(*rows: tuple[Any, Any, Any]) -> dict[str, list[Any]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(("start", "end", "text"))}


def reasons(refusals: list[Refusal]) -> list[tuple[str, int | None, str]]:
    return [(r.item, r.index, r.reason) for r in refusals]


# --- streaming a file


def test_records_come_in_file_order_with_the_hash_of_all_bytes(tmp_path: Path) -> None:
    text = ' \n{"b": {"x": [1, 2.5, "3"]}, "a": null}  \n'
    file = JsonFile(written(tmp_path, text))
    assert list(file) == [("b", {"x": [1, 2.5, "3"]}), ("a", None)]
    assert (file.records, file.bytes, file.sha256()) == (2, len(text), hashlib.sha256(text.encode()).hexdigest())


def test_an_id_that_stands_twice_comes_twice(tmp_path: Path) -> None:
    assert list(JsonFile(written(tmp_path, '{"a": 1, "a": 2}'))) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('[{"id": 1}]', "a list"),
        ('"text"', "a string"),
        ("", "nothing (the file is empty)"),
        ("  \n", "nothing (the file is empty)"),
        ("<html>not JSON</html>", "something that begins with b'<'"),
        (b"\xef\xbb\xbf{}", "something that begins with b'\\xef'"),
        ("17", "something that begins with b'1'"),
    ],
)
def test_a_file_that_is_no_object_is_refused_with_what_it_is(tmp_path: Path, content: str | bytes, found: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=re.escape(f"{path} holds {found} at the top")):
        list(JsonFile(path))


def test_a_cut_off_file_is_refused_with_the_place_and_the_last_video(tmp_path: Path) -> None:
    whole = json.dumps({f"video{i}": record() for i in range(9)})
    path = written(tmp_path, whole[:-30])
    with pytest.raises(InputError) as caught:
        list(JsonFile(path))
    assert (
        caught.value.problem
        == f"{path} is cut off at about byte {len(whole) - 30}, with 'video7' the last video read before it"
    )
    assert "again" in caught.value.remedy


@pytest.mark.parametrize("broken", ["b}", "}", '"b": NaN}', '"b": 1} {"c": 2}', '"b": "\udcff"}', '"b": "\n"}'])
def test_broken_json_is_refused_with_the_last_video_before_it(tmp_path: Path, broken: str) -> None:
    sound = json.dumps({f"video{i}": record(note="x" * 999) for i in range(20)})[:-1] + ", "
    path = written(tmp_path, (sound + broken).encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"is not valid JSON: .* at about byte \d+, with '\w+' the last") as caught:
        list(JsonFile(path))
    assert caught.value.problem.startswith(f"{path} is not valid JSON: ")
    assert "\n" not in str(caught.value)


def test_json_broken_from_the_start_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at about byte 3, with no video read before it"):
        list(JsonFile(written(tmp_path, "{1}")))


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "1e999"])
def test_a_number_too_large_for_the_parser_is_an_input_error_and_no_crash(tmp_path: Path, number: str) -> None:
    with pytest.raises(InputError, match="overflow"):
        list(JsonFile(written(tmp_path, f'{{"a": {{"view_count": {number}}}}}')))


def test_a_file_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(JsonFile(tmp_path / "missing.json"))


# --- one chapters record


def test_a_plain_record_comes_through_whole_and_without_its_description() -> None:
    video, refusals = parse_record("v", record())
    assert video.chapters == (Chapter(0, "Start"), Chapter(30, "Middle"))
    assert (video.title, video.channel_id, video.duration, video.found) == ("A video", "UC1", 100, 2)
    assert refusals == []
    assert "0:30" not in repr(video)


def test_chapter_times_may_be_time_codes_and_durations_strings() -> None:
    video, refusals = parse_record("v", record(duration="3700", chapters={"1:01:00": "b", "0:05": "a", "7.5": "c"}))
    assert [c.start for c in video.chapters] == [5, 7.5, 3660]
    assert (video.duration, refusals) == (3700, [])


def test_chapters_beyond_the_end_twice_or_without_a_title_are_refused_one_by_one() -> None:
    listed = {
        "0": "a",
        "100": "past",
        "0:00": "again",
        "x": "when?",
        "-3": "before",
        "50": " \u200f ",
        "60": 7,
        "9": "b",
    }
    video, refusals = parse_record("v", record(chapters=listed))
    assert [c.title for c in video.chapters] == ["a", "b"]
    assert sorted((r.index or 0, r.field, r.value, r.reason) for r in refusals) == [
        (1, "start", "'100'", "past_end"),
        (2, "start", "'0:00'", "same_second"),
        (3, "start", "'x'", "time_invalid"),
        (4, "start", "'-3'", "time_invalid"),
        (5, "title", r"' \u200f '", "empty_title"),
        (6, "title", "7", "title_not_string"),
    ]
    assert video.found == len(video.chapters) + len(refusals)


def test_a_start_written_twice_with_the_same_key_is_not_lost_in_silence(tmp_path: Path) -> None:
    text = '{"v": {"duration": 9, "chapters": {"0": "first", "5": "x", "0": "second"}}}'
    ((video_id, raw),) = JsonFile(written(tmp_path, text), keep_repeated_keys=True)
    video, refusals = parse_record(video_id, raw)
    assert [c.title for c in video.chapters] == ["first", "x"]
    assert reasons(refusals) == [("chapter", 2, "same_second")]
    assert video.found == 3


def test_a_98_word_title_and_59_chapters_in_175_seconds_are_kept() -> None:
    long = " ".join(["word"] * 98)
    listed = {str(i * 2.9): long for i in range(59)}
    video, refusals = parse_record("v", record(duration=175, chapters=listed))
    assert (len(video.chapters), refusals) == (59, [])
    assert {c.title for c in video.chapters} == {long}


def test_titles_lose_control_characters_and_keep_right_to_left_letters() -> None:
    video, _ = parse_record("v", record(title="a\tb\x07", chapters={"0": f"\u202b{ARABIC}\u202c", "9": "x\r\ny\x00"}))
    assert [c.title for c in video.chapters] == [ARABIC, "x y"]
    assert video.title == "a b"


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (None, "record_malformed", "record"),
        ([1], "record_malformed", "record"),
        ("text", "record_malformed", "record"),
        (record(chapters=["0:00 a"]), "record_malformed", "chapters"),
        (record(duration=None), "duration_invalid", "duration"),
        (record(duration=0), "duration_invalid", "duration"),
        (record(duration=-5), "duration_invalid", "duration"),
        (record(duration=True), "duration_invalid", "duration"),
        (record(duration="9" * 400 + ":00:00"), "duration_invalid", "duration"),
        (record(chapters={}), "no_chapters", "chapters"),
        (record(chapters=None), "no_chapters", "chapters"),
        (record(chapters={"100": "past the end"}), "no_chapters", "chapters"),
        ({}, "duration_invalid", "duration"),
    ],
)
def test_a_video_without_usable_labels_is_refused_with_the_field_to_blame(raw: Any, reason: str, field: str) -> None:
    _, refusals = parse_record("v", raw)
    assert (refusals[0].item, refusals[0].index, refusals[0].reason, refusals[0].field) == (
        "video",
        None,
        reason,
        field,
    )
    assert [r.item for r in refusals[1:]] in ([], ["chapter"])


@pytest.mark.parametrize("video_id", ["", "a\nb", " a", "a\x00"])
def test_an_id_that_is_no_plain_line_is_refused(video_id: str) -> None:
    assert reasons(parse_record(video_id, record())[1]) == [("video", None, "record_malformed")]


@pytest.mark.parametrize("unknown", [None, 17, "", " \u200e", ["UC1"]])
def test_a_title_or_channel_that_is_no_text_counts_as_unknown(unknown: Any) -> None:
    video, refusals = parse_record("v", record(title=unknown, channel_id=unknown))
    assert (video.title, video.channel_id, refusals) == ("", None, [])


# --- one ASR record


def test_both_shapes_give_the_same_segments() -> None:
    rows = [(0, 1.5, "Hello."), (1.5, 1.51, "World")]
    listed = [{"start": s, "end": e, "text": t} for s, e, t in rows]
    one, two = parse_asr("v", columns(*rows), 100), parse_asr("v", listed, 100)
    assert one == two
    assert one[0].segments == (Segment(0, 1.5, "Hello."), Segment(1.5, 1.51, "World"))
    assert one[1] == []


def test_extra_keys_are_ignored_but_for_the_language() -> None:
    raw = {**columns((0, 1, "a")), "language": "nn", "model": "whisper", "note": "x" * 999}
    asr, refusals = parse_asr("v", raw, 100)
    assert (asr.language, len(asr.segments), refusals) == ("nn", 1, [])
    assert parse_asr("v", raw | {"language": 7}, 100)[0].language is None


def test_times_may_be_strings_and_segments_come_sorted_by_start_in_a_stable_way() -> None:
    rows = [("00:01:10", "80", "later"), ("1", "2", "first"), (1, 3, "second"), (" 1.0 ", 4, "third")]
    asr, refusals = parse_asr("v", columns(*rows), 100)
    assert [s.text for s in asr.segments] == ["first", "second", "third", "later"]
    assert (asr.segments[-1].start, asr.segments[-1].end, refusals) == (70, 80, [])


def test_each_unusable_segment_is_refused_for_one_reason() -> None:
    rows = [
        (0, 1, "kept"),
        (0, 1, None),
        (0, 1, " \x07\u202e"),
        ("soon", 1, "a"),
        (0, None, "a"),
        (5, 4.9, "a"),
        (100, 101, "a"),
        (0, float("inf"), "a"),
        (-1, 1, "a"),
    ]
    asr, refusals = parse_asr("v", columns(*rows), 100)
    assert [(r.index, r.field, r.reason) for r in refusals] == [
        (1, "text", "text_not_string"),
        (2, "text", "text_empty"),
        (3, "start", "time_invalid"),
        (4, "end", "time_invalid"),
        (5, "end", "ends_before_start"),
        (6, "start", "past_end"),
        (7, "end", "time_invalid"),
        (8, "start", "time_invalid"),
    ]
    assert asr.found == len(asr.segments) + len(refusals)


def test_a_segment_that_runs_past_the_end_is_clipped_and_counted() -> None:
    asr, refusals = parse_asr("v", columns((90, 100, "a"), (99.9, 130, "b")), 100)
    assert asr.segments == (Segment(90, 100, "a"), Segment(99.9, 100, "b"))
    assert (asr.clipped, refusals) == (1, [])


def test_tiny_repeated_and_simultaneous_segments_are_kept() -> None:
    rows = [(i * 0.01, i * 0.01 + 0.01, "Go Brady!") for i in range(9)] + [(5, 5, "W" + "a" * 850), (5, 5, ARABIC)]
    asr, refusals = parse_asr("v", columns(*rows), 100)
    assert (len(asr.segments), refusals) == (11, [])


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (None, "asr_malformed", "record"),
        ("text", "asr_malformed", "record"),
        ({}, "asr_malformed", "text"),
        ({"text": ["a"], "start": [0]}, "asr_malformed", "end"),
        ({"text": "a", "start": [0], "end": [1]}, "asr_malformed", "text"),
        ({"text": ["a", "b"], "start": [0], "end": [1]}, "asr_columns_differ", "text, start, end"),
        ([], "empty_transcript", "text"),
        (columns(), "empty_transcript", "text"),
        (columns((0, 1, "  "), (200, 201, "late")), "empty_transcript", "text"),
        ([1, "a", None, {}], "empty_transcript", "text"),
    ],
)
def test_a_transcript_that_cannot_be_used_refuses_its_video(raw: Any, reason: str, field: str) -> None:
    asr, refusals = parse_asr("v", raw, 100)
    assert (refusals[0].item, refusals[0].reason, refusals[0].field) == ("video", reason, field)
    assert asr.found == len(refusals) - 1
    assert asr.segments == ()


def test_values_are_shown_in_at_most_80_characters_even_when_nested_too_deep() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown("x" * 999) == "'" + "x" * 79
    assert shown(deep) == "<list nested too deep>"
