"""What users said, as windows and pairs."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.feedback.intake import take_in
from chapter_assets.feedback.windows import Lesson, pair, without_windows, write_feedback_windows
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact
from chapter_assets.training.splits import split_of
from chapter_assets.transcripts.segments import Segment
from chapter_assets.windows.window import Window
from chapter_assets_tests.feedback.made_up import (
    GATE,
    TRAIN,
    Line,
    feedback_line,
    impression_line,
    listed,
    transcript_line,
    write_batch,
)

LONG = tuple((5.0 * i, 5.0 * i + 4, f"Sentence {i} says a little more about the engine.") for i in range(200))


class Made:
    """The windows artifact of some lines."""

    def __init__(self, folder: Path, model: Path, lines: list[Line], **knobs: Any) -> None:
        knobs = {"base_model": str(model), "window_tokens": 600, "store_dir": folder / "store"} | knobs
        batch = write_batch(folder / "b.jsonl", lines)
        result = take_in(batch, folder, lambda channel: split_of(channel, "", 12, 20, 5))
        assert result.counts["refused"] == {}
        said = Artifact("feedback", "b", folder, result.version, "", {})
        self.version, self.counts = write_feedback_windows(said, Settings(**knobs), folder)
        made = Artifact("feedback_windows", "b", folder, self.version, "", {})
        self.windows = [Window.from_row(row) for row in made.table("feedback_windows").to_pylist()]
        self.pairs = made.table("pairs").to_pylist()
        assert self.counts["in"] == self.counts["kept"] + sum(self.counts["refused"].values())
        lost = sum(number for name, number in self.counts.items() if name.startswith("chapters_lost_"))
        assert self.counts["chapters"] == self.counts["chapters_in_windows"] + lost
        assert all(window.tokens <= 600 for window in self.windows)


def about(video_id: str, *verdicts: Line, channel: str = TRAIN, **of_transcript: Any) -> list[Line]:
    """A transcript, and for each verdict an impression of its own."""
    transcript = transcript_line(video_id, channel, **of_transcript)
    lines = [transcript]
    for number, verdict in enumerate(verdicts):
        name = f"{video_id}-{number}"
        lines.append(impression_line(transcript, f"i-{name}"))
        lines.append(verdict | {"feedback_id": f"f-{name}", "impression_id": f"i-{name}"})
    return lines


def test_edits_weigh_one_accepts_little_and_rejects_make_no_windows_but_are_counted(
    tmp_path: Path, tiny_model: Path
) -> None:
    verdicts = [feedback_line(verdict=verdict) for verdict in ("edit", "accept", "reject")]
    made = Made(tmp_path, tiny_model, about("v", *verdicts, feedback_line(blind=True)))
    weights = {w.window_id: w.weight for w in made.windows}
    assert weights == {"f-v-0/000": 1.0, "f-v-1/000": pytest.approx(0.1), "f-v-3/000": 1.0}
    assert {(w.video_id, w.source, w.channel, w.split) for w in made.windows} == {("v", "feedback", TRAIN, "train")}
    lists = {w.window_id: [c.title for c in w.chapters] for w in made.windows}
    assert lists["f-v-0/000"] == ["Hello", "The engine", "The end"]
    assert lists["f-v-1/000"] == ["Start", "Middle"]
    assert {name: made.counts[name] for name in ("edits", "accepts", "rejects", "blind", "windows")} == {
        "edits": 2,
        "accepts": 1,
        "rejects": 1,
        "blind": 1,
        "windows": 3,
    }
    assert made.counts["refused"] == {"rejected": 1}


def test_only_segments_that_start_in_the_span_are_seen_and_no_window_is_over_the_budget(
    tmp_path: Path, tiny_model: Path
) -> None:
    shown = listed([(0.0, "Start"), (700.0, "Late")])
    edit = feedback_line(chapters=[*listed([(100.0, "A"), (150.0, "B")]), shown[1]], span_seen=[100.0, 600.0])
    lines = about("v", edit, duration=1000.0, segments=LONG)
    lines[1]["shown"] = [chapter | {"confidence": None} for chapter in shown]
    made = Made(tmp_path, tiny_model, lines)
    assert len(made.windows) > 2
    segments: dict[float, set[tuple[bool, bool]]] = defaultdict(set)
    for window in made.windows:
        for segment in window.segments:
            segments[segment.start].add((segment.seen, segment.starts_chapter))
    assert len(segments) == len(LONG)
    for start, labels in segments.items():
        assert labels == {(100 <= start <= 600, start in (100.0, 150.0, 700.0))}


def test_the_weight_of_accepts_is_a_setting(tmp_path: Path, tiny_model: Path) -> None:
    made = Made(tmp_path, tiny_model, about("v", feedback_line(verdict="accept")), accept_weight=0.5)
    assert [w.weight for w in made.windows] == [0.5]


def test_in_a_held_out_channel_only_whole_edits_make_windows(tmp_path: Path, tiny_model: Path) -> None:
    whole, part = feedback_line(), feedback_line(span_seen=[0.0, 70.0])
    held_out = about("g", whole, part, feedback_line(verdict="accept"), channel=GATE)
    made = Made(tmp_path, tiny_model, [*held_out, *about("t", part, feedback_line(verdict="accept"))])
    assert {(w.window_id, w.split) for w in made.windows} == {
        ("f-g-0/000", "gate"),
        ("f-t-0/000", "train"),
        ("f-t-1/000", "train"),
    }
    assert made.counts["refused"] == {"accept_held_out": 1, "part_held_out": 1}


def test_edits_give_pairs_of_what_was_rejected_and_chosen_where_the_user_looked(
    tmp_path: Path, tiny_model: Path
) -> None:
    whole = feedback_line()
    part = feedback_line(chapters=listed([(0.0, "Start"), (30.0, "The engine"), (50.0, "Middle")]), span_seen=[10, 40])
    blind, accept = feedback_line(blind=True), feedback_line(verdict="accept")
    same = feedback_line(chapters=listed([(0.0, "Start"), (50.0, "Middle")]))
    made = Made(tmp_path, tiny_model, about("v", whole, part, blind, accept, same))
    titles = [
        (row["feedback_id"], [c["title"] for c in row["rejected"]], [c["title"] for c in row["chosen"]])
        for row in made.pairs
    ]
    assert titles == [
        ("f-v-0", ["Start", "Middle"], ["Hello", "The engine", "The end"]),
        ("f-v-1", [], ["The engine"]),
    ]
    assert [(row["video_id"], row["split"]) for row in made.pairs] == [("v", "train")] * 2
    assert made.counts["pairs"] == 2


def test_a_batch_of_rejects_makes_empty_tables(tmp_path: Path, tiny_model: Path) -> None:
    made = Made(tmp_path, tiny_model, about("v", feedback_line(verdict="reject")))
    assert (made.windows, made.pairs) == ([], [])
    assert (made.counts["windows"], made.counts["longest_window"]) == (0, 0)


def test_the_same_records_give_the_same_version_and_another_word_another(tmp_path: Path, tiny_model: Path) -> None:
    versions = []
    for number, edit in enumerate(
        [feedback_line(), feedback_line(), feedback_line(chapters=listed([(5.0, "Another")]))]
    ):
        (tmp_path / str(number)).mkdir()
        versions.append(Made(tmp_path / str(number), tiny_model, about("v", edit)).version)
    assert versions[0] == versions[1] != versions[2]


times = st.integers(0, 100).map(float)
lists = st.lists(times, unique=True, max_size=6).map(lambda ts: tuple(Chapter(t, f"At {t}") for t in sorted(ts)))


@given(
    verdict=st.sampled_from(["edit", "accept", "reject"]),
    split=st.sampled_from(["train", "validation", "gate", "audit"]),
    span=st.tuples(times, times).map(sorted),
    shown=lists,
    chosen=lists,
    blind=st.booleans(),
)
def test_nothing_that_was_not_seen_teaches_and_no_accept_judges(
    verdict: str, split: str, span: list[float], shown: tuple[Chapter, ...], chosen: tuple[Chapter, ...], blind: bool
) -> None:
    lesson = Lesson("f", "v", "c", split, verdict, blind, (span[0], span[1]), shown, chosen)
    segments = [Segment(10.0 * i, 10.0 * i + 9, "words") for i in range(10)]
    if without_windows(lesson, segments) is None:
        assert any(lesson.saw(s.start) for s in segments)
        assert verdict == "edit" or (verdict == "accept" and split == "train")
        assert split == "train" or all(lesson.saw(s.start) for s in segments)
    if lists := pair(lesson):
        assert verdict == "edit"
        assert all(lesson.saw(c.start) for chapters in lists for c in chapters)
