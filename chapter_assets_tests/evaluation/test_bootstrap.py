import time

import numpy as np
import pytest
from scipy import stats

from chapter_assets.evaluation.bootstrap import (
    LEAST_CHANNELS,
    Estimate,
    channel_bootstrap,
    difference_interval,
    lower_bound,
    mean_interval,
)

TRUTH = 30.0


def a_sample(rng, channels=40):
    """Scores of videos whose channels differ as much as the videos inside one."""
    sizes = 1 + rng.poisson(3, channels)
    channel_of = np.repeat(np.arange(channels), sizes)
    return TRUTH + rng.normal(0, 15, channels)[channel_of] + rng.normal(0, 15, len(channel_of)), channel_of


def test_the_interval_holds_the_truth_about_95_times_in_100_and_one_by_video_does_not():
    rng = np.random.default_rng(7)
    by_channel, by_video, wider = [], [], []
    for seed in range(400):
        values, channel_of = a_sample(rng)
        ours = mean_interval(values, channel_of, resamples=500, seed=seed)
        naive = mean_interval(values, np.arange(len(values)), resamples=500, seed=seed)
        by_channel.append(ours.low <= TRUTH <= ours.high)
        by_video.append(naive.low <= TRUTH <= naive.high)
        wider.append(ours.high - ours.low > naive.high - naive.low)
    assert 0.90 <= np.mean(by_channel) <= 0.98
    assert np.mean(by_video) < 0.85
    assert np.mean(wider) > 0.95


def test_the_value_is_the_mean_over_videos_not_over_channels():
    values = [10.0, 10.0, 10.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0]
    assert mean_interval(values, list("aaabcdefg")).value == pytest.approx(np.mean(values))


def test_an_interval_of_independent_videos_is_the_textbook_one():
    values = np.random.default_rng(0).normal(40, 20, 400)
    found = mean_interval(values, np.arange(400))
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.3)
    assert found.high == pytest.approx(values.mean() + half, abs=0.3)


def test_pairing_leaves_out_what_two_systems_have_in_common():
    rng = np.random.default_rng(3)
    values, channel_of = a_sample(rng)
    better = values + 2 + rng.normal(0, 1, len(values))
    found = difference_interval(better, values, channel_of)
    assert 1.5 < found.low < found.value < found.high < 2.5
    alone = mean_interval(values, channel_of)
    assert alone.high - alone.low > 5


def test_a_system_differs_from_itself_by_zero_with_a_zero_wide_interval():
    values, channel_of = a_sample(np.random.default_rng(1))
    assert difference_interval(values, values, channel_of) == Estimate(0.0, 0.0, 0.0)


@pytest.mark.parametrize("channels", range(LEAST_CHANNELS))
def test_too_few_channels_give_a_value_and_no_interval(channels):
    values = np.arange(3.0 * channels)
    found = mean_interval(values, np.repeat(np.arange(channels), 3))
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(values.mean()) if channels else np.isnan(found.value)


def test_a_video_that_is_left_out_of_one_column_stays_in_the_others():
    both = np.array([[1.0, 1.0], [3.0, np.nan], [5.0, 5.0], [7.0, np.nan], [9.0, np.nan], [11.0, np.nan]])
    full, partial = channel_bootstrap(both, list("abcdef"))
    assert (full.value, partial.value) == (6.0, 3.0)
    assert full.low is not None
    assert partial.low is None  # two channels are left


def test_a_column_has_the_same_interval_alone_and_beside_others():
    values, channel_of = a_sample(np.random.default_rng(5))
    beside = channel_bootstrap(np.column_stack([values, values**2]), channel_of)[0]
    alone = mean_interval(values, channel_of)
    assert (beside.low, beside.high) == pytest.approx((alone.low, alone.high))
    assert alone == mean_interval(values, channel_of)
    assert alone != mean_interval(values, channel_of, seed=1)


def test_a_stricter_level_is_wider():
    values, channel_of = a_sample(np.random.default_rng(5))
    loose, strict = (mean_interval(values, channel_of, level=level) for level in (0.8, 0.99))
    assert strict.low < loose.low < loose.high < strict.high


def test_ten_thousand_videos_take_about_a_second():
    values = np.random.default_rng(0).normal(size=(10_000, 20))
    began = time.process_time()
    channel_bootstrap(values, np.arange(10_000))
    assert time.process_time() - began < 3


def test_the_bound_of_channels_of_one_size_is_the_t_bound_of_their_means():
    half = np.random.default_rng(2).normal(3, 10, 18)
    values = np.r_[half, 6 - half]  # without skewness
    means = values.reshape(12, 3).mean(axis=1)
    expected = means.mean() - stats.t.ppf(0.99, 11) * means.std(ddof=1) / np.sqrt(12)
    assert lower_bound(values, np.repeat(np.arange(12), 3), 0.01) == pytest.approx(expected)


@pytest.mark.parametrize("channels", [10, 20, 40])
def test_the_bound_errs_as_rarely_as_its_level_says_where_the_percentile_interval_does_not(channels):
    rng = np.random.default_rng(channels)
    bounds, percentiles = [], []
    for seed in range(600):
        values, channel_of = a_sample(rng, channels)
        bounds.append(lower_bound(values, channel_of, 0.05) > TRUTH)
        percentiles.append(mean_interval(values, channel_of, level=0.9, resamples=300, seed=seed).low > TRUTH)
    assert np.mean(bounds) < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 600)
    assert np.mean(bounds) <= np.mean(percentiles)


def test_gains_here_and_there_that_a_few_heavy_losses_undo_are_seldom_taken_for_a_gain():
    rng = np.random.default_rng(3)
    ours, plain_t = [], []
    for _ in range(1500):
        values = 0.5 - rng.exponential(1, 30) * (rng.random(30) < 0.5)
        ours.append(lower_bound(values, np.arange(30), 0.01) > 0)
        plain_t.append(values.mean() > stats.t.ppf(0.99, 29) * values.std(ddof=1) / np.sqrt(30))
    assert np.mean(ours) < 0.6 * np.mean(plain_t)


def test_one_large_channel_among_small_ones_counts_as_the_one_opinion_that_it_is():
    values = np.r_[np.full(200, 5.0), np.random.default_rng(0).normal(0, 1, 20)]
    apart = lower_bound(values, np.arange(220), 0.05)
    together = lower_bound(values, np.r_[np.zeros(200), np.arange(1, 21)], 0.05)
    assert apart > 3
    assert together < 0


def test_there_is_no_bound_where_even_agreement_of_all_channels_would_be_chance():
    assert lower_bound(np.ones(8), np.arange(8), 0.0025) is None  # 1 / 2^8 = 0.4 %
    assert lower_bound(np.ones(9), np.arange(9), 0.0025) == 1.0
    assert lower_bound([], [], 0.4) is None


def test_a_bound_at_a_stricter_level_is_lower():
    values, channel_of = a_sample(np.random.default_rng(5))
    levels = [lower_bound(values, channel_of, level) for level in (0.2, 0.05, 0.01, 0.001)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] < values.mean()
