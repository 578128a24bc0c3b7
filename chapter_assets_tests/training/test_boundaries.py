from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import States, read_states, score_control
from chapter_assets.training.boundaries import (
    FittedControl,
    FittedHead,
    ReadVideo,
    chapter_lengths,
    fit_control,
    fit_head,
    read_videos,
)
from chapter_assets.windows.build import training_windows
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.made_up import chapters_at, long_transcript, transcript

HIDDEN = 12


def videos(count: int, informative: float, seed: int = 0, share: float = 0.1) -> list[ReadVideo]:
    """Videos with chapters at random segments; one direction of the states tells of them, as clearly as asked."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        segments = int(rng.integers(20, 40))
        labels = rng.random(segments) < share
        mean, last = (rng.normal(size=(segments, HIDDEN)).astype(np.float32) for _ in range(2))
        last[:, 3] += informative * labels
        video = transcript(list(np.cumsum(rng.uniform(1, 9, segments))), ["words"] * segments, video_id=f"v{number}")
        found.append(
            ReadVideo(video, f"c{seed}-{number // 2}", States(mean, last), labels, np.ones(segments, bool), 1.0)
        )
    return found


def measured_loss(judged: list[ReadVideo], score: Callable[[ReadVideo], np.ndarray]) -> float:
    """Nats a segment, from the scores."""
    signed = np.concatenate([np.where(v.starts_chapter, score(v), -score(v)) for v in judged])
    return float(np.logaddexp(0, -signed).mean())


TRAIN, JUDGED = videos(24, informative=4.0), videos(10, informative=4.0, seed=1)


@pytest.fixture(scope="module")
def head() -> FittedHead:
    return fit_head(TRAIN)


@pytest.fixture(scope="module")
def control() -> FittedControl:
    return fit_control(TRAIN)


def scores_of(head: FittedHead, video: ReadVideo) -> np.ndarray:
    assert video.states is not None
    return head.head.score(video.transcript, video.states)


def test_a_head_whose_states_tell_of_chapters_beats_the_control(head: FittedHead, control: FittedControl) -> None:
    assert head.loss < 0.6 * control.loss
    scores = np.concatenate([scores_of(head, v) for v in JUDGED])
    labels = np.concatenate([v.starts_chapter for v in JUDGED])
    assert scores[labels].mean() > scores[~labels].mean() + 2


def test_a_head_whose_states_tell_nothing_is_no_better_than_the_control() -> None:
    unknowing = videos(34, informative=0.0)
    assert fit_head(unknowing).loss > 0.95 * fit_control(unknowing).loss


def test_the_loss_is_that_on_channels_the_head_has_not_seen(head: FittedHead, control: FittedControl) -> None:
    for fitted, score in (
        (head, lambda v: scores_of(head, v)),
        (control, lambda v: score_control(v.transcript, control.weights, control.bounds)),
    ):
        assert measured_loss(TRAIN, score) < fitted.loss  # these it has seen
        assert measured_loss(JUDGED, score) == pytest.approx(fitted.loss, rel=0.5)


def test_a_channel_is_held_out_as_a_whole() -> None:
    # Each channel has its own sign of the direction that tells: known from its other videos, unknown without them.
    def signed(channel_of: Callable[[int], str]) -> list[ReadVideo]:
        found = []
        for number, video in enumerate(videos(24, 0.0)):
            assert video.states is not None
            last = video.states.last.copy()
            last[:, number // 4] += 6.0 * video.starts_chapter
            found.append(replace(video, channel=channel_of(number), states=States(video.states.mean, last)))
        return found

    apart, together = signed(lambda n: f"c{n // 4}"), signed(lambda n: f"c{n % 4}")
    assert fit_head(together).loss < 0.85 * fit_head(apart).loss


def same(one: FittedControl, other: FittedControl) -> bool:
    plain = (one.weights, one.priors, one.loss) == (other.weights, other.priors, other.loss)
    return plain and np.array_equal(one.bounds, other.bounds)


def test_fitting_twice_gives_the_same(head: FittedHead, control: FittedControl) -> None:
    again = fit_head(TRAIN)
    assert np.array_equal(again.head.weights, head.head.weights)
    assert (again.priors, again.loss) == (head.priors, head.loss)
    assert same(fit_control(TRAIN), control)


def test_the_control_does_not_look_at_the_states(control: FittedControl) -> None:
    unread = [replace(v, states=None) for v in TRAIN]
    assert same(fit_control(unread), control)
    with pytest.raises(ValueError, match="v0 was not read"):
        fit_head(unread)


def test_the_decoders_priors_know_how_far_gold_starts_lie_from_segments(control: FittedControl) -> None:
    assert control.priors.jitter == 0.0
    moved = fit_control([replace(v, offsets=[-0.5, 1.4, 30.0]) for v in TRAIN])
    assert moved.priors.jitter == pytest.approx(1.4 / np.log(2))


@pytest.mark.parametrize("count", [1, 2])
def test_one_channel_or_one_video_is_enough_to_fit(count: int) -> None:
    few = [replace(v, channel="only") for v in videos(count, 3.0, share=0.3)]
    assert np.isfinite(fit_head(few).loss)
    assert np.isfinite(fit_control(few).loss)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_labels_that_are_all_alike_give_a_head_that_says_so(share: float) -> None:
    fitted = fit_head(videos(6, 1.0, share=share))
    for video in videos(2, 1.0, seed=2):
        scores = scores_of(fitted, video)
        assert np.isfinite(scores).all()
        assert ((scores > 0) == (share > 1)).all()
    assert all(np.isfinite(v) for v in vars(fitted.priors).values())


def half_seen(video: ReadVideo, labels_there: bool) -> ReadVideo:
    """Nobody looked at the second half; what the labels say there is noise."""
    seen = np.arange(len(video.seen)) < len(video.seen) // 2
    return replace(video, seen=seen, starts_chapter=np.where(seen, video.starts_chapter, labels_there))


def test_where_nobody_looked_nothing_is_learned() -> None:
    with_noise, without = (fit_head([half_seen(v, noise) for v in videos(17, 3.0)]) for noise in (True, False))
    assert np.array_equal(with_noise.head.weights, without.head.weights)
    assert (with_noise.loss, with_noise.priors) == (without.loss, without.priors)


def test_a_video_without_weight_teaches_nothing() -> None:
    train = videos(17, 3.0)
    noise = [replace(v, starts_chapter=~v.starts_chapter) for v in train[:4]]
    weightless = fit_head([*train, *(replace(v, weight=0.0) for v in noise)])
    weighty = fit_head([*train, *noise])
    assert weightless.loss < weighty.loss - 0.1


def test_lengths_count_the_piece_before_the_first_chapter_and_a_start_at_zero_once() -> None:
    video = videos(1, 1.0)[0]

    def lengths(starts: list[float], first: list[bool]) -> list[float]:
        made = transcript(starts, ["w"] * len(starts), duration=100)
        return list(chapter_lengths(replace(video, transcript=made, starts_chapter=np.array(first))))

    assert lengths([0.0, 30.0, 60.0], [True, False, True]) == [60, 40]
    assert lengths([0.4, 30.0, 60.0], [True, True, False]) == [30, 70]
    assert lengths([5.0, 30.0, 60.0], [False, True, True]) == [30, 30, 40]
    assert lengths([5.0, 30.0, 60.0], [False, False, False]) == [100]


def test_the_videos_are_read_whole_from_their_windows(tiny_engine: TransformersEngine) -> None:
    builder = PromptBuilder(tiny_engine.tokenizer, timed=False)
    made = [long_transcript(n, seed=n, video_id=f"v{n}") for n in (40, 25)]
    windows = [
        window
        for video in made
        for window in training_windows(
            builder,
            video,
            chapters_at(0, 50, 100),
            channel="c",
            split="train",
            source="s",
            budget=400,
            overlap=0.25,
            counts=Counter(),
        )
    ]
    assert len(windows) > 2
    notes: list[str] = []
    read = read_videos(windows[::-1], lambda t: read_states(tiny_engine, builder, t, 400, 0.25), notes.append)
    assert {v.transcript.video_id: v.transcript for v in read} == {v.video_id: v for v in made}
    for video in read:
        states = read_states(tiny_engine, builder, video.transcript, 400, 0.25)
        assert video.states is not None
        assert np.array_equal(video.states.mean, states.mean)
        assert np.array_equal(video.states.last, states.last)
        assert video.starts_chapter.sum() == 3
        assert video.starts_chapter[0]
        assert video.seen.all()
        assert video.channel == "c"
        assert len(video.offsets) == 2  # the opening chapter at 0 is none
    assert notes == ["read 2 of 2 videos"]
    notes.clear()
    assert [v.states for v in read_videos(windows, None, notes.append)] == [None, None]
    assert notes == []
