"""From a sealed file to its tables."""

import json
import random
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.errors import InputError
from chapter_assets.feedback.intake import IntakeResult, take_in, video_key
from chapter_assets_tests.feedback.made_up import (
    EDITED,
    SEGMENTS,
    Line,
    feedback_line,
    impression_line,
    listed,
    transcript_line,
    write_batch,
)
from chapter_assets_tests.feedback.samples import ROOT, sample_batches

Tables = dict[str, list[dict[str, Any]]]
TRANSCRIPT = transcript_line()
WHOLE = [TRANSCRIPT, impression_line(TRANSCRIPT), feedback_line()]


def taken(path: Path) -> tuple[IntakeResult, Tables]:
    """The result of an intake and the rows of its tables; the counts add up, always."""
    with tempfile.TemporaryDirectory() as folder:
        result = take_in(path, Path(folder), lambda channel: f"split of {channel}")
        tables = {file.stem: pq.read_table(file).to_pylist() for file in Path(folder).iterdir()}
    counts = result.counts
    assert counts["in"] == counts["kept"] + sum(counts["refused"].values())
    assert len(tables["refused"]) == sum(counts["refused"].values())
    assert counts["kept"] == sum(counts["records"].values())
    assert len(tables["feedback"]) == counts["records"]["feedback"] == sum(counts["verdicts"].values())
    assert len(tables["videos"]) == counts["records"]["transcripts"]
    assert sum(row["segments"] for row in tables["videos"]) == len(tables["transcripts"])
    return result, tables


def intake(folder: Path, *lines: Line | str) -> tuple[IntakeResult, Tables]:
    return taken(write_batch(folder / "b.jsonl", lines))


def refused(tables: Tables) -> list[tuple[int, str | None, str]]:
    return sorted((row["line"], row["id"], row["reason"]) for row in tables["refused"])


def test_a_verdict_is_joined_to_what_was_shown(tmp_path: Path) -> None:
    result, tables = intake(tmp_path, *WHOLE)
    (row,) = tables["feedback"]
    key = video_key("v", TRANSCRIPT["transcript_hash"])
    assert (row["feedback_id"], row["finetune"], row["prediction_id"]) == ("f-1", "ft-0001", "p-1")
    assert (row["video_id"], row["video_key"], row["split"]) == ("v", key, "split of UC7")
    assert [(c["start"], c["confidence"]) for c in row["shown"]] == [(0.0, 0.7), (50.0, 0.7)]
    assert [(c["start"], c["title"]) for c in row["chapters"]] == list(EDITED)
    assert row["span_seen"] == [0.0, 100.0]
    assert json.loads(row["operations"]) == [{"op": "add", "start": 30.0}]
    assert row["created_at"].isoformat() == "2026-11-02T10:05:00+00:00"
    (video,) = tables["videos"]
    assert (video["video_id"], video["channel_id"], video["status"]) == (key, "UC7", "kept")
    assert [(r["video_id"], r["text"]) for r in tables["transcripts"]] == [(key, text) for _, _, text in SEGMENTS]
    assert result.counts["unanswered"] == 0


def test_the_order_of_the_lines_means_nothing_to_what_is_kept(tmp_path: Path) -> None:
    _, forwards = intake(tmp_path, *WHOLE)
    _, backwards = intake(tmp_path, *WHOLE[::-1])
    assert [row | {"line": 0} for row in forwards["feedback"]] == [row | {"line": 0} for row in backwards["feedback"]]
    assert forwards["transcripts"] == backwards["transcripts"]


def test_a_video_whose_channel_nobody_knows_is_a_channel_of_its_own(tmp_path: Path) -> None:
    _, tables = intake(tmp_path, transcript_line(channel=None), *WHOLE[1:])
    assert tables["videos"][0]["channel_id"] == tables["feedback"][0]["channel"] == "user:v"


def test_a_video_with_two_transcripts_keeps_both_apart(tmp_path: Path) -> None:
    other = transcript_line(segments=SEGMENTS[:4])
    lines = [other, impression_line(other, "i-2"), feedback_line("f-2", "i-2", user="b")]
    result, tables = intake(tmp_path, *WHOLE, *lines)
    assert len({row["video_id"] for row in tables["videos"]}) == 2
    assert {row["video_id"] for row in tables["feedback"]} == {"v"}
    assert {row["video_key"] for row in tables["feedback"]} == {row["video_id"] for row in tables["transcripts"]}
    assert result.counts["refused"] == {}


def test_each_refused_line_is_kept_with_its_number_id_and_reason(tmp_path: Path) -> None:
    result, tables = intake(
        tmp_path,
        *WHOLE,
        "no json\n",
        "\n",
        {"schema_version": 2, "kind": "feedback", "feedback_id": "f-9"},
        feedback_line("f-3", "lost"),
        impression_line(transcript_line("w"), "i-3"),
        feedback_line("f-4", "i-3"),
        feedback_line("f-5", span_seen=[0.0, 1000.0], user="b"),
        '{"schema_version": 1, "ki',
    )
    assert refused(tables) == [
        (4, None, "not_json"),
        (6, "f-9", "schema_version_unknown"),
        (7, "f-3", "impression_missing"),
        (8, "i-3", "transcript_missing"),
        (9, "f-4", "impression_missing"),
        (10, "f-5", "span_invalid"),
        (11, None, "cut_off"),
    ]
    assert result.counts["in"] == 10  # a blank line is no record


def test_a_file_cut_off_in_the_middle_keeps_all_lines_before(tmp_path: Path) -> None:
    content = "".join(json.dumps(line) + "\n" for line in [*WHOLE, feedback_line("f-2", user="b")])
    _, tables = intake(tmp_path, content[:-30])
    assert [row["feedback_id"] for row in tables["feedback"]] == ["f-1"]
    assert [row["reason"] for row in tables["refused"]] == ["cut_off"]


def test_a_last_line_without_a_line_end_is_whole_if_it_can_be_read(tmp_path: Path) -> None:
    result, _ = intake(tmp_path, *WHOLE[:2], json.dumps(WHOLE[2]))
    assert result.counts["refused"] == {}


def test_one_id_counts_once_and_the_first_wins(tmp_path: Path) -> None:
    other = transcript_line(title="Another title")
    doubled = [WHOLE[2], feedback_line(seconds_spent=1.0), WHOLE[1], impression_line(TRANSCRIPT, finetune="ft-2")]
    result, tables = intake(tmp_path, *WHOLE, *doubled, TRANSCRIPT, other)
    assert result.counts["refused"] == {"same_id_other_content": 3, "sent_twice": 3}
    assert [row["seconds_spent"] for row in tables["feedback"]] == [42.0]


def test_a_refused_record_does_not_hold_its_id(tmp_path: Path) -> None:
    _, tables = intake(tmp_path, *WHOLE[:2], feedback_line(chapters=None), WHOLE[2])
    assert [row["line"] for row in tables["feedback"]] == [4]


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        (("2026-11-02T10:05:00Z", "2026-11-02T10:06:00Z"), "f-2"),
        (("2026-11-02T10:06:00Z", "2026-11-02T10:05:00Z"), "f-1"),
        (("2026-11-02T10:05:00Z", "2026-11-02T10:05:00Z"), "f-2"),
        (("2026-11-02T10:05:00+00:00", "2026-11-02T11:04:00+01:00"), "f-1"),
    ],
)
def test_a_users_later_verdict_on_an_impression_replaces_the_earlier(
    tmp_path: Path, times: tuple[str, str], kept: str
) -> None:
    first, second = (feedback_line(f"f-{i}", created_at=at) for i, at in enumerate(times, start=1))
    another = feedback_line("f-3", user="somebody-else", created_at="2026-11-02T09:00:00Z")
    result, tables = intake(tmp_path, *WHOLE[:2], first, second, another)
    assert [row["feedback_id"] for row in tables["feedback"]] == [kept, "f-3"]
    assert result.counts["refused"] == {"replaced": 1}


def test_an_impression_that_nobody_answered_is_counted(tmp_path: Path) -> None:
    result, _ = intake(tmp_path, *WHOLE, impression_line(TRANSCRIPT, "i-2"))
    assert result.counts["unanswered"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x1f\x8b\x08\x00 packed", "begins with"),
        (b"[]\n1\n", "no line is a JSON object"),
        (json.dumps(WHOLE[0]).encode("utf-16"), "no line is a JSON object"),
        (json.dumps(WHOLE).encode(), "no line is a JSON object"),
    ],
)
def test_a_file_without_any_record_is_an_error_with_the_way_out(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        taken(path)
    assert str(path) in caught.value.problem
    assert "one JSON object a line" in caught.value.remedy


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, WHOLE)).encode())
    result, _ = taken(path)
    assert result.counts["kept"] == 3


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_batch(tmp_path / "b.jsonl", WHOLE)

    def split_of(channel: str) -> str:
        write_batch(path, [*WHOLE, feedback_line("f-2", user="b")])
        return "train"

    with pytest.raises(InputError, match="changed while it was read"):
        take_in(path, tmp_path, split_of)


def test_memory_grows_with_what_is_kept_and_not_with_the_file(tmp_path: Path) -> None:
    def peak(orphans: int) -> int:
        lines = (feedback_line(f"f-{i}", f"lost-{i}", operations=[{"op": "x" * 1000}]) for i in range(orphans))
        path = write_batch(tmp_path / "b.jsonl", [*WHOLE, *lines])
        tracemalloc.start()
        take_in(path, tmp_path, lambda channel: "train")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)  # loads the language detector
    small, large = peak(5_000), peak(15_000)
    assert large < 1.2 * small


scraps = st.sampled_from(
    [
        *map(json.dumps, WHOLE),
        json.dumps(transcript_line("w", segments=SEGMENTS[:3])),
        json.dumps(impression_line(transcript_line("w", segments=SEGMENTS[:3]), "i-2")),
        json.dumps(feedback_line("f-2", "i-2")),
        json.dumps(feedback_line("f-3", verdict="accept", created_at="2026-11-03T00:00:00Z")),
        json.dumps(feedback_line("f-1", chapters=listed([(5.0, "Other")]))),
        json.dumps(feedback_line(chapters=None)),
        '{"schema_version": 1, "kind": "feedback"}',
        "{}",
        "[]",
        "\ud7ff",
        "",
    ]
)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(scraps, max_size=12), cut=st.integers(0, 40))
def test_whatever_lines_come_in_whatever_order_the_counts_add_up(lines: list[str], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.jsonl"
        content = ("".join(line + "\n" for line in lines)).encode()
        path.write_bytes(content[: len(content) - cut])
        try:
            _, tables = taken(path)
        except InputError as error:
            assert "holds no record" in error.problem  # noqa: PT017 - most examples raise nothing
            return
    assert len({row["feedback_id"] for row in tables["feedback"]}) == len(tables["feedback"])
    assert len({(row["user"], row["impression_id"]) for row in tables["feedback"]}) == len(tables["feedback"])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_damaged_sample_never_crashes_the_intake(seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray("\n".join(map(json.dumps, WHOLE * 3)).encode())
    for _ in range(rng.randint(1, 30)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b.jsonl"
        path.write_bytes(content)
        try:
            taken(path)
        except InputError as error:
            assert "holds no record" in error.problem  # noqa: PT017


def test_the_sample_batches_are_what_their_script_writes_and_each_has_one_of_each_kind(tmp_path: Path) -> None:
    for name, content in sample_batches().items():
        assert (ROOT / "feedback" / name).read_text() == content
        result, _ = taken(ROOT / "feedback" / name)
        assert min(result.counts["verdicts"].values()) >= 1
        assert {"replaced", "sent_twice"} < set(result.counts["refused"])
        assert sum(result.counts["refused"].values()) == 3
