"""How sure a mean over videos is: percentile intervals from resampling whole channels, and a bound to decide by.

Videos of one channel are alike, so a channel is drawn with all its videos (the cluster bootstrap: Davison and Hinkley
1997, section 3.8; percentile interval: Efron and Tibshirani 1993, chapter 13). The statistic is the mean over the drawn
videos, a ratio of two sums, so a channel with ten videos weighs ten times one with a single video.

With few channels the interval is too narrow. Share of intervals that hold the true mean, in a simulation with channel
effects as large as the spread within a channel: 49 % at 2 channels, 83 % at 5, 89 % at 10, 92 % at 20, 94 % at 40.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from chapter_assets.chapters.title_metrics import Matrix

LEVEL = 0.95
RESAMPLES = 2000
LEAST_CHANNELS = 6
"""With fewer there is no interval: five channels that all agree are still no evidence at 5 % (sign test: 2 / 2^5)."""
FEW_CHANNELS = 10
"""With fewer, the interval holds the truth clearly less often than its level says."""
_CELLS_AT_ONCE = 4_000_000  # resamples x channels held in memory: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the two ends of its interval, in the unit of what was averaged.

    `low` and `high` are None when fewer than `LEAST_CHANNELS` have a value; `value` is NaN when no video has one.
    """

    value: float
    low: float | None
    high: float | None


def channel_bootstrap(
    columns: Matrix, channels: Sequence[Any], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> list[Estimate]:
    """The mean of each column of `columns`, shape (videos, k), with its interval; `channels` has one key per video.

    NaN leaves a video out of that column. All columns share the same draws of channels, so the same seed and
    channels give the same result for a column whatever stands beside it.
    """
    names, channel_of = np.unique(np.asarray(channels, dtype=str), return_inverse=True)
    if columns.shape[0] != len(channel_of):
        raise ValueError(f"{columns.shape[0]} videos, but {len(channel_of)} channels")
    present = ~np.isnan(columns)
    sums, counts = np.zeros((2, len(names), columns.shape[1]))
    np.add.at(sums, channel_of, np.where(present, columns, 0.0))
    np.add.at(counts, channel_of, present)

    rng = np.random.default_rng(seed)
    means = np.empty((resamples, columns.shape[1]))
    step = max(1, _CELLS_AT_ONCE // max(len(names), 1))
    for first in range(0, resamples if len(names) >= LEAST_CHANNELS else 0, step):
        block = min(step, resamples - first)
        drawn = rng.integers(len(names), size=(block, len(names)))
        drawn += len(names) * np.arange(block)[:, None]
        times = np.bincount(drawn.ravel(), minlength=block * len(names)).reshape(block, -1).astype(np.float64)
        means[first : first + block] = _ratio(times @ sums, times @ counts)

    values = _ratio(sums.sum(axis=0), counts.sum(axis=0))
    tail = 50 * (1 - level)
    return [
        Estimate(float(value), *map(float, np.nanpercentile(means[:, k], [tail, 100 - tail])))
        if np.count_nonzero(counts[:, k]) >= LEAST_CHANNELS
        else Estimate(float(value), None, None)
        for k, value in enumerate(values)
    ]


def mean_interval(values: ArrayLike, channels: Sequence[Any], **options: Any) -> Estimate:
    """The mean of `values` (one per video, NaN = left out) with its interval; options as for `channel_bootstrap`."""
    return channel_bootstrap(np.asarray(values, dtype=np.float64)[:, None], channels, **options)[0]


def difference_interval(first: ArrayLike, second: ArrayLike, channels: Sequence[Any], **options: Any) -> Estimate:
    """The mean of `first` - `second`, two systems on the same videos, with its paired interval.

    A video where either is NaN is left out. Options as for `channel_bootstrap`.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return mean_interval(difference, channels, **options)


def lower_bound(values: ArrayLike, channels: Sequence[Any], level: float) -> float | None:
    """The mean over videos lies above this, but for a chance of `level` (0 to 1): a one-sided bound, in their unit.

    A t bound on the same ratio of channel sums as above: the variance by channel corrected for small samples (CR2), the
    degrees of freedom by Satterthwaite (Bell and McCaffrey 2002; Imbens and Kolesar 2016). With equal
    channels that is the t test of their means. Where a few channels lose much and many gain little, t bounds are too
    high: the quantile then grows by the skewness term of the Edgeworth expansion of a studentized mean (Hall 1992).
    A decision rests on this bound; how often it errs: benchmarks/gate/error_rates.py.

    None with so few channels that even one answer from all of them is no evidence at `level` (sign test: 1 / 2^C).
    """
    names, channel_of = np.unique(np.asarray(channels, dtype=str), return_inverse=True)
    if 0.5 ** len(names) > level:
        return None
    numbers = np.asarray(values, dtype=np.float64)
    mean = numbers.mean()
    share = np.bincount(channel_of) / len(numbers)
    off = np.bincount(channel_of, weights=numbers - mean) / len(numbers)
    pull = share**2 / (1 - share)
    quantile = stdtrit(1 / ((share**2).sum() + pull.sum() ** 2 - (pull**2).sum()), level)
    skewness = (off**3).sum() / max((off**2).sum() ** 1.5, 1e-300)
    quantile -= max(0.0, -skewness) * (2 * quantile**2 + 1) / 6
    return float(mean + quantile * np.sqrt((off**2 / (1 - share)).sum()))


def _ratio(sums: Matrix, counts: Matrix) -> Matrix:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
