from collections import Counter

import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.training.examples import Row, answer_rows, by_lesson, count_languages, title_rows, whole_video
from chapter_assets.windows.build import training_windows
from chapter_assets.windows.prompts import PromptBuilder, parse_timed_lines
from chapter_assets.windows.window import Window
from chapter_assets_tests.made_up import chapters_at, long_transcript

VIDEO = long_transcript(60, title="On bread")


@pytest.fixture(scope="module")
def plain(tiny_engine: TransformersEngine) -> PromptBuilder:
    return PromptBuilder(tiny_engine.tokenizer, timed=False)


def windows_of(builder: PromptBuilder, chapters: list[Chapter], video_id: str = "v") -> list[Window]:
    return training_windows(
        builder,
        long_transcript(60, title="On bread", video_id=video_id),
        chapters,
        channel="c",
        split="train",
        source="sample",
        budget=500,
        overlap=0.25,
        counts=Counter(),
    )


def test_the_videos_of_a_training_set_are_counted_by_language(plain: PromptBuilder) -> None:
    windows = [w for video_id in ("v", "w") for w in windows_of(plain, [Chapter(0, "Flour")], video_id)]
    assert len(windows) > 2
    assert count_languages(windows) == {"en": 2}


def rows_of(builder: PromptBuilder, windows: list[Window], share: float = 1.0, seed: int = 0) -> list[Row]:
    return title_rows(builder, windows, share, seed, Counter())


def parts(builder: PromptBuilder, row: Row) -> tuple[str, str]:
    """The text without loss and the text with it; checks that the second follows the first, token by token."""
    ids, labels = row["input_ids"], row["labels"]
    assert len(ids) == len(labels)
    prompt = labels.count(-100)
    assert labels == [-100] * prompt + ids[prompt:]
    assert ids[-1] == builder.tokenizer.eos_token_id
    return builder.tokenizer.decode(ids[:prompt]), builder.tokenizer.decode(ids[prompt:-1])


def test_the_loss_is_on_the_title_and_the_end_of_its_turn_alone(plain: PromptBuilder) -> None:
    chapters = [Chapter(0, "Flour and water"), Chapter(100, "The oven"), Chapter(200, "What is left")]
    rows = rows_of(plain, windows_of(plain, chapters))
    answers = [parts(plain, row)[1] for row in rows]
    assert answers == ["Flour and water", "The oven", "What is left"]
    for number, row in enumerate(rows):
        prompt, _ = parts(plain, row)
        assert prompt.endswith("<|im_start|>assistant\n")
        assert [c.title for c in chapters if c.title in prompt] == [c.title for c in chapters[:number]]


def test_a_title_is_learned_from_the_text_of_its_own_chapter(plain: PromptBuilder) -> None:
    chapters = chapters_at(0, 100, 200)
    rows = rows_of(plain, windows_of(plain, chapters))
    starts = [min(range(60), key=lambda i: abs(VIDEO.segments[i].start - c.start)) for c in chapters]
    for row, start in zip(rows, starts, strict=True):
        prompt, _ = parts(plain, row)
        assert f"\n\n{VIDEO.segments[start].text}\n" in prompt
        assert VIDEO.segments[start - 1].text not in prompt.split("\n\n")[-1].splitlines()


def test_a_chapter_in_two_windows_is_learned_once(plain: PromptBuilder) -> None:
    windows = windows_of(plain, chapters_at(*range(0, 300, 20)))
    shown = sum(len(w.chapters) for w in windows)
    assert shown > 15
    assert len(rows_of(plain, windows)) == 15


def test_titles_that_are_not_fit_are_counted_by_reason_and_the_rest_is_learned(plain: PromptBuilder) -> None:
    titles = ["Opening", "12 34", "https://example.com", "opening", "word " * 20, "The oven"]
    counts: Counter[str] = Counter()
    chapters = [Chapter(50.0 * i, title) for i, title in enumerate(titles)]
    rows = title_rows(plain, windows_of(plain, chapters), 1.0, 0, counts)
    assert [parts(plain, row)[1] for row in rows] == ["Opening", "The oven"]
    assert counts == {
        "title_without_letters": 1,
        "title_is_link": 1,
        "title_repeated": 1,
        "title_too_long": 1,
    }


def test_a_share_of_the_titles_is_drawn_by_the_seed(plain: PromptBuilder) -> None:
    windows = [w for n in range(8) for w in windows_of(plain, chapters_at(*range(0, 300, 15)), video_id=f"v{n}")]
    assert len(rows_of(plain, windows)) == 160
    assert rows_of(plain, windows, share=0.0) == []
    half = rows_of(plain, windows, share=0.5)
    assert 60 < len(half) < 100
    assert rows_of(plain, windows, share=0.5) == half
    assert rows_of(plain, windows, share=0.5, seed=1) != half


def test_the_loss_of_an_answer_is_on_all_its_lines_and_nowhere_else(tiny_engine: TransformersEngine) -> None:
    timed = PromptBuilder(tiny_engine.tokenizer, timed=True)
    windows = windows_of(timed, chapters_at(0, 100, 110))
    rows = answer_rows(timed, windows)
    assert len(rows) == len(windows) >= 3
    for row, window in zip(rows, windows, strict=True):
        prompt, answer = parts(timed, row)
        assert all(s.text in prompt for s in window.segments)
        pairs, other = parse_timed_lines(answer)
        assert [title for _, title in pairs] == [c.title for c in window.chapters]
        assert all(f"\n{time} " in prompt for time, _ in pairs)  # of a line that the model can see
        assert other == ([] if window.chapters else ["none"])
        assert len(row["input_ids"]) <= 500


def test_the_windows_of_a_video_give_it_back_whole_in_any_order(plain: PromptBuilder) -> None:
    one, two = windows_of(plain, chapters_at(0, 100), "one"), windows_of(plain, chapters_at(0), "two")
    mixed = [*reversed(one), *two]
    groups = by_lesson(mixed)
    assert sorted(g[0].video_id for g in groups) == ["one", "two"]
    for group in groups:
        segments = whole_video(group)
        assert [s.plain for s in segments] == list(VIDEO.segments)
        assert sum(s.starts_chapter for s in segments) == (2 if group[0].video_id == "one" else 1)


def test_windows_whose_labels_and_chapters_differ_are_not_learned_from(plain: PromptBuilder) -> None:
    windows = windows_of(plain, chapters_at(0, 280))
    assert not windows[0].chapters[1:]
    broken = [w for w in windows if w is windows[0]] + [
        Window.from_row(
            windows[-1].to_row() | {"chapters": [{"start": 280.0, "title": "a"}, {"start": 281.0, "title": "b"}]}
        )
    ]
    with pytest.raises(AssertionError, match="3 chapters and 2 starts"):
        rows_of(plain, broken)
