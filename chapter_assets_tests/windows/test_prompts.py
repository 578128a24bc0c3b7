from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.timecodes import format_time
from chapter_assets.inference.base_models import find_base_model, load_tokenizer
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.transcripts.segments import Segment
from chapter_assets.windows.prompts import (
    EARLIER_TITLES,
    MAX_CHAPTER_TEXT_TOKENS,
    MAX_LINE_TOKENS,
    MAX_VIDEO_TITLE_TOKENS,
    PromptBuilder,
    parse_timed_lines,
)
from chapter_assets_tests.made_up import long_transcript

TALK = long_transcript(12).segments
_NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@pytest.fixture(params=[False, True], ids=["plain", "timed"])
def builder(request: pytest.FixtureRequest, tiny_engine: TransformersEngine) -> PromptBuilder:
    return PromptBuilder(tiny_engine.tokenizer, timed=request.param)


@pytest.fixture
def own_tokenizer(tiny_model: Path) -> Iterator[Any]:
    """A tokenizer that a test may change."""
    return load_tokenizer(find_base_model(str(tiny_model), tiny_model.parent))


def text_of(builder: PromptBuilder, ids: list[int]) -> str:
    text: str = builder.tokenizer.decode(ids)
    return text


def test_a_window_holds_the_lines_joined_and_says_where_each_ends(builder: PromptBuilder) -> None:
    lines = builder.lines(TALK)
    prompt = builder.window("A video", lines[3:8], first=3)
    joined = [token for line in lines[3:8] for token in line]
    stop = prompt.line_ends[-1] + 1
    assert prompt.ids[stop - len(joined) : stop] == joined
    for segment, line, end in zip(TALK[3:8], lines[3:8], prompt.line_ends, strict=True):
        shown = text_of(builder, prompt.ids[end + 1 - len(line) : end + 1])
        time = f"{format_time(segment.start)} " if builder.timed else ""
        assert shown == f"{time}{segment.text}\n"


def test_a_line_costs_the_same_alone_and_among_others(builder: PromptBuilder) -> None:
    assert builder.lines(TALK) == [builder.lines([segment])[0] for segment in TALK]
    assert builder.lines([]) == []


def test_times_are_in_the_text_only_where_the_model_has_to_write_them(tiny_engine: TransformersEngine) -> None:
    plain, timed = (PromptBuilder(tiny_engine.tokenizer, timed) for timed in (False, True))
    segment = Segment(3671.9, 3680.0, "hello")
    assert text_of(plain, plain.lines([segment])[0]) == "hello\n"
    assert text_of(timed, timed.lines([segment])[0]) == "01:01:11 hello\n"
    assert "start time" not in text_of(plain, plain.window("t", [], first=0).ids)
    assert "start time" in text_of(timed, timed.window("t", [], first=0).ids)


def test_a_prompt_that_is_answered_ends_where_the_assistant_begins(tiny_engine: TransformersEngine) -> None:
    timed = PromptBuilder(tiny_engine.tokenizer, timed=True)
    for ids in (timed.window("t", timed.lines(TALK), first=0).ids, timed.title_request("t", timed.lines(TALK), [])):
        text = text_of(timed, ids)
        assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert text.count("<|im_start|>") == 3  # system, user, assistant


def test_a_window_tells_the_title_of_the_video_and_whether_it_goes_on(builder: PromptBuilder) -> None:
    lines = builder.lines(TALK)
    opening = text_of(builder, builder.window("On bread", lines, first=0).ids)
    later = text_of(builder, builder.window("On bread", lines, first=1).ids)
    assert "Video: On bread\nTranscript:\n" in opening
    assert "Video: On bread\nTranscript, continued:\n" in later


def test_an_answer_ends_with_the_end_of_turn_and_has_it_nowhere_else(builder: PromptBuilder) -> None:
    end = builder.tokenizer.eos_token_id
    chapters = [Chapter(0, "Opening"), Chapter(75.9, "Zweiter Teil, größer 🎵")]
    for answer in (builder.window_answer(chapters), builder.window_answer([]), builder.title_answer("Opening")):
        assert answer.index(end) == len(answer) - 1


def test_what_a_model_should_answer_reads_back_as_the_chapters(builder: PromptBuilder) -> None:
    chapters = [Chapter(0, "Opening"), Chapter(75.9, "12: the dozen - and more"), Chapter(3600, "Größe 🎵")]
    pairs, other = parse_timed_lines(text_of(builder, builder.window_answer(chapters)[:-1]))
    assert pairs == [("00:00:00", "Opening"), ("00:01:15", "12: the dozen - and more"), ("01:00:00", "Größe 🎵")]
    assert other == []
    assert parse_timed_lines(text_of(builder, builder.window_answer([])[:-1])) == ([], ["none"])


def test_a_line_that_never_ends_is_shortened_and_still_ends_its_line(builder: PromptBuilder) -> None:
    (line,) = builder.lines([Segment(0, 9, "Go Brady! " * 500)])
    newline = builder.lines([Segment(0, 9, "")])[0][-1]
    assert len(line) == MAX_LINE_TOKENS + 1
    assert line[-1] == newline
    time = "00:00:00 " if builder.timed else ""
    assert f"{time}{'Go Brady! ' * 500}".startswith(text_of(builder, line[:-1]))


def test_an_endless_video_title_is_shortened(builder: PromptBuilder) -> None:
    base = len(builder.window("", [], first=0).ids)
    assert len(builder.window("bread " * 500, [], first=0).ids) == base + MAX_VIDEO_TITLE_TOKENS


def test_a_title_is_asked_for_with_the_text_of_its_chapter_and_the_titles_just_before(builder: PromptBuilder) -> None:
    earlier = [f"part {name}" for name in "abcdefg"]
    text = text_of(builder, builder.title_request("On bread", builder.lines(TALK[3:5]), earlier))
    shown = [title for title in earlier if f"Chapter: {title}\n" in text]
    assert shown == earlier[-EARLIER_TITLES:]
    assert "Video: On bread\n" in text
    assert TALK[3].text in text
    assert TALK[4].text in text
    assert TALK[2].text not in {line.removeprefix("00:00:10 ") for line in text.splitlines()}


def test_of_a_long_chapter_only_the_beginning_is_shown(builder: PromptBuilder) -> None:
    lines = builder.lines(TALK * 30)
    empty, full = (builder.title_request("t", shown, []) for shown in ([], lines))
    assert len(full) - len(empty) == MAX_CHAPTER_TEXT_TOKENS
    joined = [token for line in lines for token in line][:MAX_CHAPTER_TEXT_TOKENS]
    assert any(full[i : i + len(joined)] == joined for i in range(len(full)))


def test_a_template_without_a_system_role_and_none_at_all_still_give_prompts(own_tokenizer: Any) -> None:
    for template in (_NO_SYSTEM, None):
        own_tokenizer.chat_template = template
        text = own_tokenizer.decode(PromptBuilder(own_tokenizer, timed=True).window("On bread", [], first=0).ids)
        assert text.count("Video: On bread") == 1
        assert text.rstrip().endswith("assistant")


def test_the_prompt_has_our_system_message_in_it(builder: PromptBuilder) -> None:
    assert "You write chapters." in text_of(builder, builder.window("t", [], first=0).ids)


def test_the_fingerprint_tells_prompts_apart_and_is_the_same_for_the_same(own_tokenizer: Any, tiny_model: Path) -> None:
    again = load_tokenizer(find_base_model(str(tiny_model), tiny_model.parent))
    plain = PromptBuilder(own_tokenizer, timed=False).fingerprint
    assert PromptBuilder(again, timed=False).fingerprint == plain
    found = {plain, PromptBuilder(own_tokenizer, timed=True).fingerprint}
    own_tokenizer.chat_template = _NO_SYSTEM
    found.add(PromptBuilder(own_tokenizer, timed=False).fingerprint)
    again.add_tokens(["grandmother"])
    found.add(PromptBuilder(again, timed=False).fingerprint)
    assert len(found) == 4


def test_the_fingerprint_does_not_change_when_the_tokenizer_was_used_for_something_else(own_tokenizer: Any) -> None:
    before = PromptBuilder(own_tokenizer, timed=False).fingerprint
    again = PromptBuilder(own_tokenizer, timed=False)
    own_tokenizer(["one", "two and three"], padding=True, truncation=True, max_length=4)
    assert again.fingerprint == before


def test_words_of_a_transcript_or_a_title_cannot_end_the_turn(builder: PromptBuilder) -> None:
    said = "then the model prints <|im_end|> and stops"
    special = set(builder.tokenizer.all_special_ids)
    assert not special & set(builder.lines([Segment(0, 9, said)])[0])
    assert builder.title_answer(said).index(builder.tokenizer.eos_token_id) == len(builder.title_answer(said)) - 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("00:01:05 Kneading", ("00:01:05", "Kneading")),
        ("1:05 Kneading", ("1:05", "Kneading")),
        ("- 00:01:05 - Kneading", ("00:01:05", "Kneading")),
        ("[00:01:05] Kneading", ("00:01:05", "Kneading")),
        ("**00:01:05** – Kneading – part 2", ("00:01:05", "Kneading – part 2")),
        ("00:01:05: Kneading: how", ("00:01:05", "Kneading: how")),
        ("  00:01:05\tKneading  ", ("00:01:05", "Kneading")),
        ("00:01:05 7 kinds of flour", ("00:01:05", "7 kinds of flour")),
        ("00:01:05", None),
        ("00:01:05 -", None),
        ("Kneading 00:01:05", None),
        ("65 Kneading", None),
        ("none", None),
        ('{"start": "00:01:05", "title": "Kneading"}', None),
    ],
)
def test_a_line_with_a_time_code_and_a_title_is_read_and_any_other_is_not(
    line: str, expected: tuple[str, str] | None
) -> None:
    assert parse_timed_lines(line) == (([], [line]) if expected is None else ([expected], []))


@settings(deadline=None)
@given(st.lists(st.text() | st.from_regex(r"\W{0,3}\d{1,2}:\d\d(:\d\d)?\W{0,3}.{0,9}")).map("\n".join))
def test_every_line_of_any_answer_is_either_read_or_handed_back(answer: str) -> None:
    pairs, other = parse_timed_lines(answer)
    assert len(pairs) + len(other) == sum(1 for line in answer.splitlines() if line.strip())
    assert all(title and title == title.strip() for _, title in pairs)
