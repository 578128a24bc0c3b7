import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.errors import InputError
from chapter_assets.inference.adapters import learned_languages
from chapter_assets.inference.choosers import (
    Choice,
    GenerateChooser,
    HeadChooser,
    PositionChooser,
    equal_starts,
    spaced_starts,
)
from chapter_assets.inference.decoder import Priors, Wishes
from chapter_assets.inference.engine import Floats, TransformersEngine
from chapter_assets.inference.predictor import Prediction, Predictor
from chapter_assets.inference.titlers import LexicalTitler, ModelTitler
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.build import cut_transcript
from chapter_assets.windows.cutting import most_central
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.inference.test_head import ANYTHING, random_control, random_head
from chapter_assets_tests.made_up import long_transcript, transcript

TALK = transcript([4.2, 10.7, 20.0, 20.4, 31.9, 45.0, 61.3, 75.5], duration=90)


class Saying:
    """At the engine's place, what a model could say and a random one does not: fixed answers, in turn."""

    def __init__(self, tiny: TransformersEngine, *answers: str) -> None:
        self.tokenizer, self.answers = tiny.tokenizer, list(answers)

    def read(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[Floats, Floats]:
        raise NotImplementedError

    def write(self, ids: Sequence[int], most_tokens: int) -> str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Chosen:
    """A choice made before."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    def choose(self, transcript: Transcript, wishes: Wishes | None = None) -> Choice:
        return self.choice


class Titled:
    """Titles made before."""

    def __init__(self, *titles: str) -> None:
        self.written = list(titles)

    def titles(self, transcript: Transcript, starts: Sequence[int]) -> list[str]:
        return self.written


def predict(tiny: TransformersEngine, *answers: str, video: Transcript = TALK, budget: int = 1200) -> Prediction:
    engine = Saying(tiny, *answers)
    chooser = GenerateChooser(engine, PromptBuilder(tiny.tokenizer, timed=True), budget, 0.25)
    return Predictor(chooser, LexicalTitler()).predict(video)


def check_valid(prediction: Prediction, video: Transcript = TALK) -> None:
    assert problems(prediction.chapters, video.duration) == []
    assert {c.start for c in prediction.chapters} <= {float(math.floor(s.start)) for s in video.segments}
    assert prediction.valid_before_repair == (not prediction.repairs)


def test_a_good_answer_is_taken_as_it_stands(tiny_engine: TransformersEngine) -> None:
    found = predict(tiny_engine, "00:00:04 Flour and water\n00:00:31 The oven\n00:01:01 What is left")
    check_valid(found)
    assert found.chapters == [Chapter(4, "Flour and water"), Chapter(31, "The oven"), Chapter(61, "What is left")]
    assert found.valid_before_repair
    assert found.raw == "00:00:04 Flour and water\n00:00:31 The oven\n00:01:01 What is left"
    assert found.scores is None


def test_a_time_between_segments_goes_to_the_nearest_segment(tiny_engine: TransformersEngine) -> None:
    found = predict(tiny_engine, "0:06 Flour\n0:40 The oven")
    assert [c.start for c in found.chapters] == [4, 45]
    check_valid(found)


@pytest.mark.parametrize(
    ("answer", "starts"),
    [
        ("", [4]),
        ("I am sorry, I cannot split this.", [4]),
        ('{"chapters": [{"start": "00:00:10", "title": "Flour"}]}', [4]),
        ("00:00:10", [4]),
        ("00:01:01 Later\n00:00:10 Earlier", [10, 61]),
        ("00:00:10 Flour\n09:00:00 Far out", [10]),
        ("99:59:59 Far out", [4]),
        ("00:00:10 Flour\n00:00:10 Flour again", [10]),
        ("Here are the chapters:\n00:00:10 Flour", [10]),
        ("00:00:10 Flour\nand so on", [10]),
    ],
)
def test_a_bad_answer_becomes_a_valid_list_and_is_marked(
    tiny_engine: TransformersEngine, answer: str, starts: list[float]
) -> None:
    found = predict(tiny_engine, answer)
    check_valid(found)
    assert [c.start for c in found.chapters] == starts
    assert not found.valid_before_repair
    assert "boundaries" in found.repairs


@pytest.mark.parametrize("answer", ["00:00:61 Flour", "75:30 Flour", "00:75:00 Flour"])
def test_a_time_code_that_is_none_does_not_end_the_run(tiny_engine: TransformersEngine, answer: str) -> None:
    found = predict(tiny_engine, answer)
    check_valid(found)
    assert not found.valid_before_repair


@pytest.mark.parametrize(
    ("answer", "starts"),
    [
        ("00:00:10 Flour\n00:00:11 Water", [10]),  # two on one segment
        ("00:00:00 Music\n00:00:10 Flour", [10]),  # before the first words
    ],
)
def test_an_answer_that_lost_a_chapter_is_marked(
    tiny_engine: TransformersEngine, answer: str, starts: list[float]
) -> None:
    found = predict(tiny_engine, answer)
    check_valid(found)
    assert [c.start for c in found.chapters] == starts
    assert not found.valid_before_repair


def test_two_starts_in_one_second_become_one(tiny_engine: TransformersEngine) -> None:
    chooser = Chosen(Choice([1, 2, 3, 5]))
    found = Predictor(chooser, Titled("a", "b", "c")).predict(TALK)
    assert [c.start for c in found.chapters] == [10, 20, 45]
    check_valid(found)


_CLOCK = st.builds("{:02d}:{:02d}:{:02d} {}".format, st.integers(0, 2), *[st.integers(0, 59)] * 2, st.text(max_size=20))


@settings(max_examples=60, deadline=None)
@given(answer=st.lists(_CLOCK | st.text(max_size=30), max_size=8).map("\n".join))
def test_any_answer_becomes_a_valid_list_of_segment_starts(tiny_engine: TransformersEngine, answer: str) -> None:
    check_valid(predict(tiny_engine, answer))


def long_video(tiny: TransformersEngine) -> tuple[Transcript, list[range]]:
    video = long_transcript(60)
    builder = PromptBuilder(tiny.tokenizer, timed=True)
    ranges = cut_transcript(builder, video, 500, 0.25).ranges
    assert len(ranges) >= 3
    return video, ranges


def code(video: Transcript, segment: int, title: str) -> str:
    seconds = int(video.segments[segment].start)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d} {title}"


def test_of_overlapping_windows_each_answers_for_the_segments_in_its_middle(tiny_engine: TransformersEngine) -> None:
    video, ranges = long_video(tiny_engine)
    shared = ranges[1].start, ranges[0].stop - 1  # first and last segment that both windows show
    answers = [
        "\n".join([code(video, shared[0], "first says"), code(video, shared[1], "first says")]),
        "\n".join([code(video, shared[0], "second says"), code(video, shared[1], "second says")]),
        *["none"] * (len(ranges) - 2),
    ]
    found = predict(tiny_engine, *answers, video=video, budget=500)
    check_valid(found, video)
    assert [c.title for c in found.chapters] == ["first says", "second says"]


def test_a_window_without_chapters_answered_as_taught_needs_no_repair(tiny_engine: TransformersEngine) -> None:
    video, ranges = long_video(tiny_engine)
    answers = [code(video, 0, "Opening"), *["none"] * (len(ranges) - 1)]
    found = predict(tiny_engine, *answers, video=video, budget=500)
    assert [c.title for c in found.chapters] == ["Opening"]
    assert found.valid_before_repair


def test_a_video_without_a_chapter_anywhere_becomes_one_whole(tiny_engine: TransformersEngine) -> None:
    found = predict(tiny_engine, "none")
    check_valid(found)
    assert [c.start for c in found.chapters] == [4]
    assert "boundaries" not in found.repairs


def test_a_time_before_its_window_is_out_of_range(tiny_engine: TransformersEngine) -> None:
    video, ranges = long_video(tiny_engine)
    owner = most_central(ranges)
    answers = [code(video, owner.index(number), f"Middle of {number}") for number in range(len(ranges))]
    assert predict(tiny_engine, *answers, video=video, budget=500).valid_before_repair
    answers[-1] = f"{code(video, ranges[-1].start - 3, 'Before it')}\n{answers[-1]}"
    assert not predict(tiny_engine, *answers, video=video, budget=500).valid_before_repair


def test_time_stamps_are_only_asked_of_a_model_that_sees_them(tiny_engine: TransformersEngine) -> None:
    with pytest.raises(ValueError, match="timed"):
        GenerateChooser(tiny_engine, PromptBuilder(tiny_engine.tokenizer, timed=False), 500, 0.25)


@pytest.mark.parametrize("raw", ["Flour", " Flour\n", "What is gluten?"])
def test_a_good_title_is_taken_as_it_is(raw: str) -> None:
    found = Predictor(Chosen(Choice([0])), Titled(raw)).predict(TALK)
    assert found.chapters == [Chapter(4, raw.strip())]
    assert found.valid_before_repair


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Title: Flour", "Flour"),
        ("flour " * 40, "flour " * 11 + "flour"),
        ("", "Engine"),
        ("?!", "Engine"),
        ("00:00:10", "Engine"),
    ],
)
def test_a_title_that_had_to_be_mended_is_listed(raw: str, title: str) -> None:
    video = transcript([0, 10], ["so now we take", "the engine out"])
    found = Predictor(Chosen(Choice([0])), Titled(raw)).predict(video)
    assert found.chapters == [Chapter(0, title)]
    assert not found.valid_before_repair
    assert found.repairs == [f"title at 0 s: {raw[:60]!r}"]


def test_a_title_that_repeats_the_video_or_an_earlier_chapter_is_not_taken() -> None:
    texts = ["flour and flour", "water and water", "oven and oven"]
    video = transcript([0, 10, 20], texts, title="On bread")
    found = Predictor(Chosen(Choice([0, 1, 2])), Titled("Kneading", "on bread", "KNEADING")).predict(video)
    assert [c.title for c in found.chapters] == ["Kneading", "Water", "Oven"]
    assert len(found.repairs) == 2
    whole = Predictor(Chosen(Choice([0])), Titled("On bread")).predict(video)
    assert [c.title for c in whole.chapters] == ["On bread"]  # one chapter may be called as the video is


GERMAN = ["Für den Teig nehmen wir Mehl, und dann ruht der Teig eine Nacht.", "Der Ofen ist heiß, der Ofen dampft."]


@pytest.mark.parametrize(
    ("texts", "languages", "titles"),
    [
        (GERMAN, {"en"}, ["Teig", "Ofen"]),
        (GERMAN, {"en", "de"}, ["Bread", "Heat"]),
        (GERMAN, None, ["Bread", "Heat"]),
        (["now we take flour and water for the bread", "and then the oven gets hot"], {"en"}, ["Bread", "Heat"]),
        (["flour flour", "oven oven"], {"en"}, ["Flour", "Oven"]),  # a model makes titles up of so little
    ],
    ids=["not learned", "learned", "nothing known", "english", "too short to tell"],
)
def test_a_language_that_the_model_has_not_learned_is_titled_in_its_own_words(
    texts: list[str], languages: set[str] | None, titles: list[str]
) -> None:
    video = transcript([0, 10], texts)
    for choice in (Choice([0, 1]), Choice([0, 1], titles={0: "Bread", 1: "Heat"})):  # chosen by a head, or written
        found = Predictor(Chosen(choice), Titled("Bread", "Heat"), languages).predict(video)
        assert [c.title for c in found.chapters] == titles
        assert found.valid_before_repair


def test_a_language_is_learned_from_ten_videos_or_from_most() -> None:
    assert learned_languages({"en": 180, "de": 10, "fr": 9}) == {"en", "de"}
    assert learned_languages({"fr": 3, "en": 2}) == {"fr"}
    assert learned_languages({}) is None


def test_a_chapter_without_a_word_still_has_a_title() -> None:
    found = Predictor(Chosen(Choice([0])), Titled("")).predict(transcript([0], ["..."]))
    check_valid(found, transcript([0], ["..."]))


@pytest.mark.parametrize("segments", [1, 3, 40])
@pytest.mark.parametrize("wishes", [None, Wishes(count=3), Wishes(min_length=60)])
def test_a_model_gives_a_valid_list_end_to_end(
    tiny_engine: TransformersEngine, segments: int, wishes: Wishes | None
) -> None:
    video = long_transcript(segments)
    builder = PromptBuilder(tiny_engine.tokenizer, timed=False)
    head = random_head(tiny_engine.model.config.hidden_size)
    chooser = HeadChooser(tiny_engine, head, builder, 500, 0.25, Priors())
    predictor = Predictor(chooser, ModelTitler(tiny_engine, builder))
    found, again = predictor.predict(video, wishes), predictor.predict(video, wishes)
    check_valid(found, video)
    assert found.scores is not None
    assert len(found.scores) == segments
    assert found.seconds > 0
    assert (found.chapters, found.raw, found.repairs) == (again.chapters, again.raw, again.repairs)
    if wishes is not None and wishes.count is not None:
        assert len(found.chapters) == min(wishes.count, segments)


def test_a_model_that_writes_time_stamps_gives_a_valid_list_end_to_end(tiny_engine: TransformersEngine) -> None:
    video = long_transcript(40)
    builder = PromptBuilder(tiny_engine.tokenizer, timed=True)
    chooser = GenerateChooser(tiny_engine, builder, 500, 0.25)
    check_valid(Predictor(chooser, LexicalTitler()).predict(video), video)


def test_the_control_finds_the_same_chapters_whatever_is_said() -> None:
    starts = [5.0 * i for i in range(40)]
    one, other = transcript(starts), transcript(starts, [f"{i} other words" for i in range(40)])
    choose = PositionChooser(random_control(), ANYTHING, Priors()).choose
    assert np.array_equal(choose(one).starts, choose(other).starts)


def test_guessed_starts_begin_at_zero_and_stay_inside() -> None:
    assert equal_starts(90, 3) == [0, 30, 60]
    assert spaced_starts(90, 30) == [0, 30, 60]
    assert spaced_starts(90.5, 30) == [0, 30, 60, 90]
    assert spaced_starts(10, 30) == [0]


def test_a_start_that_shares_its_second_takes_its_confidence_along() -> None:
    chooser = Chosen(Choice([1, 2, 3, 5], confidences=[0.1, 0.2, 0.3, 0.4], expected_f1=50.0))
    found = Predictor(chooser, Titled("a", "b", "c")).predict(TALK)
    assert found.confidences == [0.1, 0.2, 0.4]
    assert found.expected_f1 == 50
    assert found.score is not None
    assert found.score.total < 50  # nothing is said before the first chapter's start at 4 s, but until 10 s there is


def test_a_chooser_without_belief_gives_no_confidence_and_no_score(tiny_engine: TransformersEngine) -> None:
    found = predict(tiny_engine, "00:00:04 Flour")
    assert (found.confidences, found.expected_f1, found.score) == (None, None, None)


@pytest.mark.parametrize("wishes", [Wishes(count=3), Wishes(min_length=20), Wishes(granularity=8), Wishes()])
def test_wishes_are_honoured_through_the_predictor_and_the_belief_fits_the_list(wishes: Wishes) -> None:
    video = transcript([10.0 * i for i in range(40)])
    predictor = Predictor(PositionChooser(random_control(), ANYTHING, Priors(shift=-2)), LexicalTitler())
    found, free = predictor.predict(video, wishes), predictor.predict(video)
    assert found.confidences is not None
    assert found.score is not None
    assert len(found.confidences) == len(found.chapters)
    assert found.score.expected_f1 == found.expected_f1
    if wishes.count is not None:
        assert len(found.chapters) == wishes.count
    edges = [c.start for c in found.chapters] + [video.duration]
    assert min(b - a for a, b in pairwise(edges)) >= wishes.min_length
    if wishes.granularity > 1:
        assert len(found.chapters) > len(free.chapters)
    if wishes == Wishes():
        assert found.chapters == free.chapters


def test_a_model_that_writes_time_stamps_refuses_wishes_and_says_what_can_be_wished_of(
    tiny_engine: TransformersEngine,
) -> None:
    builder = PromptBuilder(tiny_engine.tokenizer, timed=True)
    predictor = Predictor(GenerateChooser(Saying(tiny_engine, "none"), builder, 1200, 0.25), LexicalTitler())
    with pytest.raises(InputError, match="cannot be asked for") as caught:
        predictor.predict(TALK, Wishes(count=2))
    assert "boundary_head" in caught.value.remedy
    assert predictor.predict(TALK, Wishes()).chapters  # nothing is wished
