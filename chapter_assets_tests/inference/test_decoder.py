import math
import time
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.errors import InputError
from chapter_assets.inference.decoder import (
    Priors,
    Wishes,
    _best_list,
    _expected_f1,
    _heaviest_path,
    _jittered,
    _share_near,
    decode,
    fit_priors,
    probabilities,
)

EVERY_TEN = [10.0 * i for i in range(60)]  # ten minutes


def starts_of(
    starts: Sequence[float], scores: Sequence[float], duration: float, law: Priors, wishes: Wishes | None = None
) -> list[int]:
    return decode(starts, scores, duration, law, wishes).starts


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[float], list[float], float]:
    """Starts with silences before and crowds in one second, scores without sense, a duration just past the last."""
    start = st.integers(0, 300) | st.floats(0, 300)
    starts = sorted(float(s) for s in draw(st.lists(start, min_size=1, max_size=40)))
    scores = draw(st.lists(st.floats(-30, 30), min_size=len(starts), max_size=len(starts)))
    return starts, scores, starts[-1] + draw(st.sampled_from([0.01, 1.0, 50.0]))


priors = st.builds(
    Priors, scale=st.floats(0.05, 3), shift=st.floats(-5, 5), spread=st.floats(0, 2), evenness=st.floats(1, 5)
)


def check_valid(chosen: list[int], starts: list[float]) -> None:
    assert chosen
    assert all(isinstance(i, int) and 0 <= i < len(starts) for i in chosen)
    assert all(math.floor(starts[a]) < math.floor(starts[b]) for a, b in pairwise(chosen))


@settings(max_examples=60, deadline=None)
@given(
    scored(),
    priors,
    st.none()
    | st.builds(
        Wishes,
        count=st.none() | st.integers(1, 50),
        min_length=st.sampled_from([0.0, 5.0, 1000.0]),
        granularity=st.sampled_from([0.01, 1.0, 100.0]),
    ),
)
def test_whatever_the_scores_the_list_rises_has_no_second_twice_and_is_never_empty(
    case: tuple[list[float], list[float], float], law: Priors, wishes: Wishes | None
) -> None:
    starts, scores, duration = case
    check_valid(starts_of(starts, scores, duration, law, wishes), starts)


@pytest.mark.parametrize(
    ("starts", "duration"),
    [
        ([0.0], 0.5),
        ([7.0], 7.5),
        ([0.0, 0.2, 0.9], 30.0),  # all in the first second
        ([5.0, 5.0, 5.0], 6.0),
        ([0.0, 10.0], 10.2),
        ([3.0, 600.0], 3600.0),
    ],
)
@pytest.mark.parametrize("score", [-1e6, 0.0, 1e6])
def test_odd_videos_have_a_list_too(starts: list[float], duration: float, score: float) -> None:
    check_valid(starts_of(starts, [score] * len(starts), duration, Priors()), starts)


@pytest.mark.parametrize("wanted", [[0], [0, 3, 12, 20, 29, 40, 50, 55], list(range(0, 60, 6)), list(range(60))])
def test_strong_scores_are_followed(wanted: list[int]) -> None:
    scores = [12.0 if i in wanted else -12.0 for i in range(60)]
    assert starts_of(EVERY_TEN, scores, 600, Priors()) == wanted


@pytest.mark.parametrize("wanted", [[0, 20, 40], [0, 7, 8, 33], [0, 30]])
def test_strong_scores_are_followed_to_the_segment_in_long_chapters_too(wanted: list[int]) -> None:
    scores = [12.0 if i in wanted else -12.0 for i in range(60)]
    assert starts_of(EVERY_TEN, scores, 600, Priors()) == wanted


def test_a_video_may_begin_without_a_chapter() -> None:
    wanted = [6, 12, 20, 29, 40, 50, 55]
    scores = [12.0 if i in wanted else -12.0 for i in range(60)]
    assert starts_of(EVERY_TEN, scores, 600, Priors()) == wanted
    silent_start = [s + 30 for s in EVERY_TEN]
    assert starts_of(silent_start, scores, 630, Priors()) == wanted


def test_without_any_evidence_the_list_is_the_first_segment() -> None:
    assert starts_of(EVERY_TEN, [-40.0] * 60, 600, Priors()) == [0]


def test_of_segments_in_one_second_only_the_first_can_be_chosen() -> None:
    starts = [0.0, 100.0, 100.4, 100.8, 200.0]
    assert starts_of(starts, [9.0, -9.0, 9.0, 9.0, 9.0], 300, Priors(), Wishes(count=3)) == [0, 1, 4]


def test_a_long_video_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 8 * 3600, 3000))
    began = time.process_time()
    chosen = starts_of(list(starts), list(rng.normal(-3, 1.5, 3000)), 8 * 3600, Priors())
    assert time.process_time() - began < 8  # 2.5 s on an idle core; without its bounds it takes minutes
    check_valid(chosen, list(starts))
    assert len(chosen) > 20


@settings(max_examples=30, deadline=None)
@given(scored(), st.integers(1, 60))
def test_a_wished_number_of_chapters_is_kept_to_as_far_as_there_are_segments_for_it(
    case: tuple[list[float], list[float], float], count: int
) -> None:
    starts, scores, duration = case
    seconds = {math.floor(s) for s in starts}
    possible = sum(1 <= s <= duration - 1 for s in seconds) + (0 in seconds)
    chosen = starts_of(starts, scores, duration, Priors(), Wishes(count=count))
    assert len(chosen) == max(1, min(count, possible))


def test_the_wished_chapters_are_the_likeliest() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(-6, 0.1, 60)
    scores[[15, 30, 45]] = 6.0
    assert starts_of(EVERY_TEN, list(scores), 600, Priors(), Wishes(count=4)) == [0, 15, 30, 45]
    assert set(starts_of(EVERY_TEN, list(scores), 600, Priors(), Wishes(count=3))) < {0, 15, 30, 45}


def test_a_wish_for_many_chapters_is_kept_to_in_a_long_video() -> None:
    starts = [10.0 * i for i in range(400)]
    scores = list(np.random.default_rng(0).normal(-3, 1, 400))
    assert len(starts_of(starts, scores, 4000, Priors(), Wishes(count=150))) == 150


@settings(max_examples=30, deadline=None)
@given(scored(), st.floats(1, 200))
def test_no_chapter_is_shorter_than_wished(case: tuple[list[float], list[float], float], least: float) -> None:
    starts, scores, duration = case
    chosen = starts_of(starts, scores, duration, Priors(), Wishes(min_length=least))
    if len(chosen) > 1:
        edges = [math.floor(starts[i]) for i in chosen] + [duration]
        assert min(np.diff(edges)) >= least


def test_a_least_length_and_a_number_can_be_wished_together() -> None:
    scores = list(np.random.default_rng(0).normal(-2, 1, 60))
    chosen = starts_of(EVERY_TEN, scores, 600, Priors(), Wishes(count=5, min_length=100))
    assert len(chosen) == 5
    assert min(np.diff([EVERY_TEN[i] for i in chosen] + [600])) >= 100


def test_where_number_and_least_length_do_not_go_together_as_many_as_fit_are_chosen() -> None:
    scores = list(np.random.default_rng(0).normal(-2, 1, 60))
    chosen = starts_of(EVERY_TEN, scores, 600, Priors(), Wishes(count=8, min_length=100))
    assert len(chosen) == 6


def test_a_number_and_a_least_length_that_fit_are_kept_to_where_the_likely_starts_crowd() -> None:
    starts = [2.0 * i for i in range(500)]
    scores = [3.0 if 100 <= s <= 400 else -6.0 for s in starts]
    assert len(starts_of(starts, scores, 1000, Priors(), Wishes(count=9, min_length=100))) == 9


def test_finer_lists_have_more_chapters_than_coarser_ones() -> None:
    scores = list(np.random.default_rng(0).normal(-2, 1.5, 60))
    sizes = [len(starts_of(EVERY_TEN, scores, 600, Priors(), Wishes(granularity=g))) for g in (0.1, 1, 10)]
    assert sizes == sorted(set(sizes))


@settings(max_examples=10, deadline=None)
@given(scored())
def test_the_same_scores_give_the_same_list(case: tuple[list[float], list[float], float]) -> None:
    starts, scores, duration = case
    first = starts_of(starts, scores, duration, Priors())
    np.random.default_rng(7).random(100)
    assert starts_of(tuple(starts), np.array(scores), duration, Priors(), Wishes()) == first


def drawn_labels(
    scale: float, shift: float, spread: float, videos: int = 60, seed: int = 0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    scores = [rng.normal(-1.5, 2, 40) for _ in range(videos)]
    labels = [rng.random(40) < 1 / (1 + np.exp(-(scale * s + shift + spread * rng.normal()))) for s in scores]
    return scores, labels


@pytest.mark.parametrize(("scale", "shift", "spread"), [(1.0, 0.0, 0.0), (0.5, -1.0, 0.0), (1.0, 0.0, 1.2)])
def test_the_law_that_labels_were_drawn_from_is_found_again(scale: float, shift: float, spread: float) -> None:
    found = fit_priors(*drawn_labels(scale, shift, spread), [])
    assert found.scale == pytest.approx(scale, abs=0.12)
    assert found.shift == pytest.approx(shift, abs=0.25)
    assert found.spread == pytest.approx(spread, abs=0.35)


@pytest.mark.parametrize("evenness", [1.0, 1.5, 4.0])
def test_the_evenness_that_lengths_were_drawn_with_is_found_again(evenness: float) -> None:
    rng = np.random.default_rng(0)
    lengths = [rng.uniform(60, 3600) * rng.dirichlet([evenness] * rng.integers(2, 12)) for _ in range(300)]
    found = fit_priors(*drawn_labels(1, 0, 0, videos=3), lengths)
    assert found.evenness == pytest.approx(evenness, rel=0.12)


def test_without_videos_the_defaults_stand_and_odd_videos_do_not_break_the_fit() -> None:
    assert fit_priors([], [], []) == Priors()
    ones, zeros = np.ones(5, bool), np.zeros(5, bool)
    found = fit_priors([np.zeros(5), np.full(5, 50.0)], [zeros, ones], [np.array([9.0]), np.array([0.0, 9.0])])
    assert all(math.isfinite(v) for v in (found.scale, found.shift, found.spread, found.evenness))
    assert found.scale > 0


def test_probabilities_are_the_share_of_labels_that_come_true() -> None:
    scores, labels = drawn_labels(0.7, -0.5, 0.8, videos=400)
    chances = np.concatenate([probabilities(s, Priors(0.7, -0.5, 0.8)) for s in scores])
    came_true = np.concatenate(labels)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        near = (chances >= low) & (chances < low + 0.2)
        assert came_true[near].mean() == pytest.approx(chances[near].mean(), abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_the_heaviest_way_is_the_heaviest_of_all_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 7
    weights = np.where(np.triu(rng.random((n, n)) < 0.7, 1), rng.normal(size=(n, n)), -np.inf)
    for steps in range(1, n):
        ways = [[0, *inner, n - 1] for inner in combinations(range(1, n - 1), steps - 1)]
        values = [sum(weights[a, b] for a, b in pairwise(way)) for way in ways]
        value, way = _heaviest_path(weights, steps)
        assert value == pytest.approx(max(values))
        if value > -np.inf:
            assert way == ways[int(np.argmax(values))]


def expected_f1(times: list[float], edges: np.ndarray, drawn: list[np.ndarray]) -> float:
    """Mean F1 (x100) of the list that starts at 0 and `times` over the drawn ones, by the field's own measure."""
    predicted = [Chapter(t, "-") for t in (0.0, *times)]
    golds = ([Chapter(float(t), "-") for t in edges[path[:-1]]] for path in drawn)
    return float(np.mean([score_video(gold, predicted, float(edges[-1]))["f1"] for gold in golds]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("min_length", "pieces"), [(0.0, None), (2000.0, None), (0.0, 3), (500.0, 4)])
def test_the_list_with_the_highest_expected_f1_is_chosen_of_all_lists(
    seed: int, min_length: float, pieces: int | None
) -> None:
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.choice(np.arange(500, 9500), 5, replace=False))
    edges = np.array([0, *inner, 10007], float)
    drawn = [np.array([0, *np.flatnonzero(rng.random(5) < 0.5) + 1, 6]) for _ in range(6)]
    lists = []
    for size in range(6):
        for way in combinations(range(1, 6), size):
            lengths = np.diff(edges[[0, *way, 6]])
            if lengths.min() >= min_length and pieces in (None, size + 1):
                lists.append(list(way))
    values = {tuple(way): expected_f1(list(edges[way]), edges, drawn) for way in lists}
    chosen = tuple(_best_list(edges, drawn, [edges[path] for path in drawn], min_length, pieces))
    assert values[chosen] == pytest.approx(max(values.values()), abs=1e-3)


def test_halves_of_one_chapter_match_it_no_more_than_the_measure_says() -> None:
    from chapter_assets.inference.decoder import _share_matched

    shares = _share_matched(np.array([0.0, 50.0]), np.array([50.0, 100.0]), np.array([0.0, 100.0]))
    measured = score_video([Chapter(0, "-")], [Chapter(0, "-"), Chapter(50, "-")], 100)["f1"]
    assert 2 * shares.sum() / (2 + 1) * 100 == pytest.approx(measured)


@settings(max_examples=40, deadline=None)
@given(
    scored(),
    priors,
    st.builds(
        Wishes,
        count=st.none() | st.integers(1, 20),
        min_length=st.sampled_from([0.0, 20.0]),
        granularity=st.sampled_from([0.1, 10.0]),
    ),
)
def test_whatever_the_scores_each_start_has_a_probability_and_the_list_an_expected_f1(
    case: tuple[list[float], list[float], float], law: Priors, wishes: Wishes
) -> None:
    found = decode(*case, law, wishes)
    assert len(found.confidences) == len(found.starts)
    assert all(0 <= c <= 1 for c in found.confidences)
    assert 0 <= found.expected_f1 <= 100 + 1e-9
    assert decode(*case, law, wishes) == found


def test_certain_scores_are_sure_of_every_start_and_of_the_list() -> None:
    wanted = [0, 7, 20, 33, 45]
    found = decode(EVERY_TEN, [20.0 if i in wanted else -20.0 for i in range(60)], 600, Priors())
    assert found.starts == wanted
    assert found.confidences == pytest.approx([1.0] * 5)
    assert found.expected_f1 == pytest.approx(100)


def test_flat_scores_are_sure_of_nothing() -> None:
    wanted = [0, 7, 20, 33, 45]
    sure = decode(EVERY_TEN, [8.0 if i in wanted else -8.0 for i in range(60)], 600, Priors())
    flat = decode(EVERY_TEN, [-2.0] * 60, 600, Priors())
    assert max(flat.confidences) < 0.5 < min(sure.confidences)
    assert flat.expected_f1 < 50 < sure.expected_f1


def test_the_doubtful_start_of_a_list_is_the_one_of_little_confidence() -> None:
    scores = np.full(60, -9.0)
    scores[[0, 10, 30]] = 9.0, 9.0, 0.8
    found = decode(EVERY_TEN, list(scores), 600, Priors(spread=0.1, evenness=1.0))
    assert found.starts == [0, 10, 30]
    assert min(found.confidences[:2]) > 0.99
    assert 0.55 < found.confidences[2] < 0.8  # expit(0.8) = 0.69
    assert found.expected_f1 < 95


def test_a_true_start_less_than_five_seconds_off_counts_for_a_start_and_one_five_seconds_off_does_not() -> None:
    edges = np.array([0.0, 100.0, 104.0, 105.0, 300.0])
    drawn = [np.array([0, 1, 4]), np.array([0, 2, 4]), np.array([0, 3, 4]), np.array([0, 4])]
    assert _share_near(np.array([100.0, 300.0]), [edges[path] for path in drawn]) == [0.5, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_expected_f1_is_that_of_the_fields_measure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.array([0, *np.sort(rng.choice(np.arange(10, 590), 8, replace=False)), 600], float)
    drawn = [np.array([0, *np.flatnonzero(rng.random(8) < 0.5) + 1, 9]) for _ in range(20)]
    chosen = edges[[2, 5, 7]]
    assert _expected_f1(chosen, [edges[path] for path in drawn]) == pytest.approx(
        expected_f1(list(chosen), edges, drawn)
    )
    assert _expected_f1(edges[:1], [edges[path] for path in drawn]) == pytest.approx(
        expected_f1([], edges, drawn)
    )  # one chapter


@pytest.mark.parametrize(("starts", "duration"), [([0.0], 0.5), ([7.0], 7.5), ([0.0, 0.2], 30.0), ([5.0, 5.0], 6.0)])
def test_a_video_that_can_have_but_one_chapter_has_its_own_probability(starts: list[float], duration: float) -> None:
    low, high = (decode(starts, [score] * len(starts), duration, Priors()) for score in (-3.0, 3.0))
    assert len(low.starts) == len(low.confidences) == 1
    assert 0 <= low.confidences[0] < 0.5 < high.confidences[0] <= 1
    assert 0 <= low.expected_f1 <= 100


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"count": 0}, "cannot have 0 chapters"),
        ({"count": -3}, "cannot have -3 chapters"),
        ({"min_length": -1.0}, "at least -1 s"),
        ({"min_length": math.nan}, "at least nan s"),
        ({"granularity": 0.0}, "granularity of 0 "),
        ({"granularity": -2.0}, "granularity of -2 "),
        ({"granularity": math.inf}, "granularity of inf "),
    ],
)
def test_a_wish_that_no_list_can_fulfil_is_refused(wish: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Wishes(**wish)  # type: ignore[arg-type]
    assert caught.value.remedy.startswith(("Wish", "Use"))


def test_gold_that_lies_beside_segment_starts_makes_a_list_less_sure_and_never_leaves_the_video() -> None:
    starts, scores = list(np.arange(0.0, 120.0, 6.0)), [8.0 if i in (0, 5, 12) else -8.0 for i in range(20)]
    exact, vague = (decode(starts, scores, 120.0, Priors(jitter=jitter)) for jitter in (0.0, 3.0))
    assert exact.starts == vague.starts == [0, 5, 12]
    assert vague.expected_f1 < exact.expected_f1 - 5
    lists = _jittered([np.array([0.0, 2.0, 3.0, 118.0, 120.0])] * 200, 3.0)
    assert all((np.diff(times) >= 1).all() and times[0] == 0 and times[-1] == 120 for times in lists)
    moved = np.array([times[-2] for times in lists if len(times) == 5])
    assert 1.5 < np.abs(moved - 118).mean() < 4.5


def test_no_chapter_is_a_farewell_of_some_seconds_at_the_end_of_an_hour() -> None:
    starts = [*range(0, 3590, 10), 3597]
    scores = [-6.0] * len(starts)
    scores[100] = scores[-1] = 8.0
    found = decode(starts, scores, 3600.0, Priors())
    assert 100 in found.starts
    assert starts[found.starts[-1]] <= 3600 * 0.995
