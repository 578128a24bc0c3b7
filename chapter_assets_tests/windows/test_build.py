import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import InputError
from chapter_assets.inference.choosers import GenerateChooser, HeadChooser
from chapter_assets.inference.decoder import Priors
from chapter_assets.inference.engine import Floats, TransformersEngine
from chapter_assets.inference.head import COHESION, BoundaryHead, read_states
from chapter_assets.inference.titlers import ModelTitler
from chapter_assets.store import TableWriter
from chapter_assets.training.examples import answer_rows, title_rows
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.build import cut_transcript, training_windows
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets.windows.window import SCHEMA, Window
from chapter_assets_tests.inference.test_head import ANYTHING
from chapter_assets_tests.made_up import chapters_at, chatter, long_transcript, transcript


class Listening:
    """The engine, with every prompt that it is given written down."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine, self.tokenizer = engine, engine.tokenizer
        self.heard: list[list[int]] = []

    def read(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
        self.heard.append(list(ids))
        return self.engine.read(ids, spans)

    def write(self, ids: Sequence[int], most_tokens: int) -> str:
        self.heard.append(list(ids))
        return self.engine.write(ids, most_tokens)


def windows_of(
    builder: PromptBuilder,
    video: Transcript,
    chapters: Sequence[Chapter],
    budget: int = 300,
    overlap: float = 0.25,
    counts: Counter[str] | None = None,
) -> list[Window]:
    return training_windows(
        builder,
        video,
        chapters,
        channel="c",
        split="train",
        source="sample",
        budget=budget,
        overlap=overlap,
        counts=Counter() if counts is None else counts,
    )


def prompt_of(builder: PromptBuilder, window: Window) -> list[int]:
    lines = builder.lines([s.plain for s in window.segments])
    return builder.window(window.title, lines, window.first_segment).ids


def whole_length(builder: PromptBuilder, window: Window) -> int:
    """Tokens of the prompt and of what the model learns to write after it; a head needs nothing written."""
    if builder.timed:
        return len(answer_rows(builder, [window])[0]["input_ids"])
    return len(prompt_of(builder, window))


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Transcript, list[Chapter]]:
    """A transcript with silences, segments in one place, loops and short words; chapters anywhere in it."""
    rng = random.Random(draw(st.integers(0, 10_000)))
    count = draw(st.integers(1, 60))
    starts = sorted(rng.choice([rng.uniform(0, 400), rng.randrange(400)]) for _ in range(count))
    texts = [chatter(rng, rng.choice([1, 3, 8, 20, 200])) for _ in starts]
    video = transcript(starts, texts, duration=410)
    times = sorted(set(draw(st.lists(st.integers(0, 409), max_size=25))))
    return video, [Chapter(float(t), chatter(rng, rng.randint(1, 6))) for t in times]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "timed"])
def builder(request: pytest.FixtureRequest, tiny_engine: TransformersEngine) -> PromptBuilder:
    return PromptBuilder(tiny_engine.tokenizer, timed=request.param)


@settings(max_examples=25, deadline=None)
@given(case=labelled(), budget=st.sampled_from([260, 300, 500]), overlap=st.sampled_from([0.0, 0.25, 0.6]))
def test_every_chapter_is_in_a_window_or_counted_and_no_prompt_with_its_answer_is_over_the_budget(
    builder: PromptBuilder, case: tuple[Transcript, list[Chapter]], budget: int, overlap: float
) -> None:
    video, chapters = case
    counts: Counter[str] = Counter()
    windows = windows_of(builder, video, chapters, budget, overlap, counts)
    found = {c for w in windows for c in w.chapters}
    assert found <= set(chapters)
    lost = sum(number for name, number in counts.items() if name.startswith("chapters_lost_"))
    assert len(found) + lost == len(chapters)
    segments = {}
    for window in windows:
        assert sum(s.starts_chapter for s in window.segments) == len(window.chapters)
        assert whole_length(builder, window) <= budget
        assert window.tokens <= budget
        segments.update(enumerate((s.plain for s in window.segments), start=window.first_segment))
    assert [segments[i] for i in range(len(segments))] == list(video.segments)


@settings(max_examples=10, deadline=None)
@given(case=labelled())
def test_the_tokens_of_a_window_are_those_of_its_prompt_and_answer(
    builder: PromptBuilder, case: tuple[Transcript, list[Chapter]]
) -> None:
    video, chapters = case
    for window in windows_of(builder, video, chapters):
        assert window.tokens == whole_length(builder, window)


def test_a_chapter_starts_at_the_segment_nearest_to_it(builder: PromptBuilder) -> None:
    video = transcript([0, 10, 20, 30, 40])
    (window,) = windows_of(builder, video, [Chapter(1, "a"), Chapter(22, "b"), Chapter(39, "c")])
    assert [s.starts_chapter for s in window.segments] == [True, False, True, False, True]
    assert window.chapters == (Chapter(1, "a"), Chapter(22, "b"), Chapter(39, "c"))
    assert all(s.seen for s in window.segments)


def test_a_window_carries_what_the_whole_video_is_called_and_how_its_tokens_were_made(builder: PromptBuilder) -> None:
    video = long_transcript(80, title="On bread", video_id="b")
    windows = windows_of(builder, video, chapters_at(0, 100, 300))
    assert len(windows) > 2
    assert [w.window_id for w in windows] == [f"b/{i:03d}" for i in range(len(windows))]
    assert {(w.title, w.duration, w.channel, w.split, w.source) for w in windows} == {
        ("On bread", video.duration, "c", "train", "sample")
    }
    assert {w.tokenizer for w in windows} == {builder.fingerprint}


def test_where_nobody_looked_a_segment_keeps_its_label_and_is_not_seen(builder: PromptBuilder) -> None:
    windows = training_windows(
        builder,
        transcript([0, 10, 20, 30, 40]),
        chapters_at(0, 20, 40),
        channel="c",
        split="train",
        source="feedback",
        budget=300,
        overlap=0.25,
        counts=Counter(),
        name="f-1",
        span_seen=(10.0, 20.0),
        weight=0.1,
    )
    (window,) = windows
    assert (window.window_id, window.video_id, window.weight) == ("f-1/000", "v", 0.1)
    assert [s.seen for s in window.segments] == [False, True, True, False, False]
    assert [s.starts_chapter for s in window.segments] == [True, False, True, False, True]


def test_more_chapters_make_smaller_windows_where_the_answer_is_written(tiny_engine: TransformersEngine) -> None:
    video = long_transcript(80)
    few, many = chapters_at(0), chapters_at(*range(0, 400, 8))
    plain, timed = (PromptBuilder(tiny_engine.tokenizer, timed) for timed in (False, True))
    assert len(windows_of(timed, video, many)) > len(windows_of(timed, video, few))
    assert len(windows_of(plain, video, many)) == len(windows_of(plain, video, few))


def test_a_budget_without_room_for_a_line_is_refused_with_the_way_out(builder: PromptBuilder) -> None:
    video = transcript([0, 10], ["word " * 90, "word " * 90])
    with pytest.raises(InputError, match="CHAPTER_ASSETS_WINDOW_TOKENS"):
        windows_of(builder, video, [], budget=60)


def test_shortened_lines_are_counted(builder: PromptBuilder) -> None:
    counts: Counter[str] = Counter()
    windows_of(builder, transcript([0, 10, 20], ["word " * 300, "short", "word " * 300]), [], counts=counts)
    assert counts["lines_shortened"] == 2


def test_windows_survive_their_table(builder: PromptBuilder, tmp_path: Path) -> None:
    windows = windows_of(builder, long_transcript(60), chapters_at(0, 100, 200))
    with TableWriter(tmp_path / "w.parquet", SCHEMA) as table:
        table.extend(w.to_row() for w in windows)
    rows = pq.read_table(tmp_path / "w.parquet").to_pylist()
    assert [Window.from_row(row) for row in rows] == windows
    assert [(r["start"], r["end"]) for r in rows] == [(w.segments[0].start, w.segments[-1].end) for w in windows]


def test_a_head_reads_the_very_prompts_that_windows_were_made_for(tiny_engine: TransformersEngine) -> None:
    engine, video = Listening(tiny_engine), long_transcript(80)
    builder = PromptBuilder(engine.tokenizer, timed=False)
    windows = windows_of(builder, video, chapters_at(0, 100, 250))
    assert len(windows) > 2
    prompts = [prompt_of(builder, window) for window in windows]
    hidden = read_states(engine, builder, video, 300, 0.25).mean.shape[1]
    assert engine.heard == prompts
    zeros = np.zeros(hidden, np.float32)
    head = BoundaryHead(zeros, zeros + 1, np.zeros(65 + COHESION + 2 * hidden + 1, np.float32), ANYTHING)
    engine.heard.clear()
    HeadChooser(engine, head, builder, 300, 0.25, Priors()).choose(video)
    assert engine.heard == prompts


def test_a_title_is_asked_for_at_serving_as_it_was_learned(tiny_engine: TransformersEngine) -> None:
    engine, video = Listening(tiny_engine), transcript([0, 10, 20, 30])
    builder = PromptBuilder(engine.tokenizer, timed=False)
    windows = windows_of(builder, video, chapters_at(0))
    (row,) = title_rows(builder, windows, 1.0, 0, Counter())
    ModelTitler(engine, builder).titles(video, [0])
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    assert engine.heard == [learned]


def test_time_stamps_are_asked_for_at_serving_as_they_were_learned(tiny_engine: TransformersEngine) -> None:
    engine, video = Listening(tiny_engine), transcript([0, 10, 20, 30])
    builder = PromptBuilder(engine.tokenizer, timed=True)
    (row,) = answer_rows(builder, windows_of(builder, video, chapters_at(0, 20), budget=600))
    GenerateChooser(engine, builder, 600, 0.25).choose(video)
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == -100]
    assert engine.heard == [learned]


def test_at_serving_a_quarter_of_the_budget_is_left_for_what_the_model_writes(tiny_engine: TransformersEngine) -> None:
    builder = PromptBuilder(tiny_engine.tokenizer, timed=True)
    video = long_transcript(80)
    windowed = cut_transcript(builder, video, 400, 0.25)
    for segments in windowed.ranges:
        prompt = builder.window(video.title, windowed.lines[segments.start : segments.stop], segments.start)
        assert len(prompt.ids) <= 300
