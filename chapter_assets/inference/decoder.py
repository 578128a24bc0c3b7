"""From a score per segment to one chapter list: the list with the highest expected F1.

Scores are calibrated to probabilities. Lists are then drawn from the model of what the gold may look like (how many
chapters a video has varies from one publisher to the next; lengths within one video are more even than chance), and
the list is chosen whose expected F1 against the drawn lists is highest. F1 is the field's (chapters/metrics.py).
For IoU thresholds from 0.5 on a match is one-to-one, so the expected F1 of a list is a sum over its segments once
the number of segments is fixed, and a dynamic program finds the best list exactly. The same drawn lists tell how
sure each start is, and how good the list can be expected to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, gammaln, logsumexp

from chapter_assets.errors import InputError

Floats = NDArray[np.float64]

_THRESHOLDS = np.arange(0.50, 0.96, 0.05)
_MOST_CANDIDATES = 500  # of a video's segments, by score, may start a chapter; bounds 8-hour videos
_MOST_EDGES = 120  # of the candidates, by how often they are drawn, may be chosen
_DRAWS = 196
_NEARNESS = 1e-3  # of starts that F1 cannot tell apart, the one with more overlap
_QUANTILES = 7
_SHORTEST_LAST = 0.005  # of the video: a farewell two seconds before the end of an hour is no chapter
NEAR = 5  # s; a start nearer than this to a true one is right, as in P@5s of chapters/metrics.py


@dataclass(frozen=True)
class Priors:
    """What the gold of the validation part says about scores, counts and lengths.

    `scale`, `shift`: logit of a segment = scale * score + shift. `spread`: standard deviation, between videos, of a
    shift of all logits of a video (some publishers cut finer). `evenness`: shape of the gamma law of a chapter's
    length over the video's mean (1 = chance). `jitter` (s): mean distance of a gold start from the start of the segment
    that is nearest to it; people and recognizers do not hear the same beginnings.
    """

    scale: float = 1.0
    shift: float = 0.0
    spread: float = 0.5
    evenness: float = 1.5
    jitter: float = 0.0


@dataclass(frozen=True)
class Wishes:
    """What a caller asks of the list: a number of chapters, a least length (s), finer (>1) or coarser (<1).

    Raises InputError for what no list can fulfil.
    """

    count: int | None = None
    min_length: float = 0.0
    granularity: float = 1.0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise InputError(f"A list cannot have {self.count} chapters", "Wish for a count of 1 or more, or for none")
        if not 0 <= self.min_length < np.inf:
            raise InputError(
                f"No chapter can be at least {self.min_length:g} s long",
                "Wish for a least length of 0 s (any) or more, e.g. 60",
            )
        if not 0 < self.granularity < np.inf:
            raise InputError(
                f"A granularity of {self.granularity:g} is neither finer nor coarser than anything",
                "Use a number above 0: 2 for finer lists, 0.5 for coarser ones, 1 as it comes",
            )


@dataclass(frozen=True)
class Decoded:
    """The list that was decoded, and what the drawn lists say of it.

    `starts`: indices of the segments that start a chapter, rising, at least one. `confidences`: for each, the
    probability (0 to 1) that it is right, a true start being nearer than `NEAR`. `expected_f1`: 0 to 100. Both are the
    model's own belief: what they are worth, only gold can show.
    """

    starts: list[int]
    confidences: list[float]
    expected_f1: float


@lru_cache(maxsize=8)
def _normal_quantiles(n: int) -> Floats:
    from scipy.stats import norm

    return norm.ppf((np.arange(n) + 0.5) / n)


def fit_priors(
    scores: Sequence[Floats],
    labels: Sequence[NDArray[np.bool_]],
    lengths: Sequence[Floats],
    offsets: Sequence[float] = (),
) -> Priors:
    """Fit by maximum likelihood: per video the scores (logits) and labels of its segments, and its chapter lengths (s).

    `offsets` (s): from the start of a segment to the gold start that it stands for, over all videos.
    Videos without both a label and a non-label still count. With no video at all, the defaults stand.
    """
    if not scores:
        return Priors()
    z = _normal_quantiles(_QUANTILES)

    def loss(parameters: Floats) -> float:
        scale, shift, log_spread = parameters
        total = 0.0
        for s, y in zip(scores, labels, strict=True):
            logits = scale * s[None, :] + shift + np.exp(log_spread) * z[:, None]
            signed = np.where(y[None, :], logits, -logits)
            total += logsumexp(-np.logaddexp(0, -signed).sum(axis=1)) - np.log(len(z))
        weak_prior = 0.5 * ((scale - 1) ** 2 + shift**2 + (log_spread + 0.7) ** 2)
        return -total + weak_prior

    fitted = minimize(loss, np.array([1.0, 0.0, -0.7]), method="Nelder-Mead", options={"maxiter": 300}).x

    shares = [x / x.sum() for x in lengths if len(x) > 1 and (x > 0).all()]

    def dirichlet_loss(evenness: float) -> float:
        return -sum(
            gammaln(evenness * len(x)) - len(x) * gammaln(evenness) + (evenness - 1) * np.log(x).sum() for x in shares
        )

    evenness = minimize_scalar(dirichlet_loss, bounds=(1.0, 5.0), method="bounded").x if shares else 1.5
    # From the median: a gold start in the middle of a long segment is no jitter.
    jitter = float(np.median(np.abs(offsets)) / np.log(2)) if len(offsets) else 0.0
    return Priors(float(max(fitted[0], 0.05)), float(fitted[1]), float(np.exp(fitted[2])), float(evenness), jitter)


def probabilities(scores: Floats, priors: Priors) -> Floats:
    """Calibrated probability that a chapter starts at each segment, averaged over how finely publishers cut."""
    return _averaged(priors.scale * scores + priors.shift, priors)


def _averaged(logits: Floats, priors: Priors) -> Floats:
    return expit(logits[None, :] + priors.spread * _normal_quantiles(_QUANTILES)[:, None]).mean(axis=0)


def decode(
    starts: Sequence[float], scores: Sequence[float], duration: float, priors: Priors, wishes: Wishes | None = None
) -> Decoded:
    """The list with the highest expected F1, how sure each start is, and that expected F1.

    `starts` (s) are the segments' starts, `scores` their logits, `duration` in seconds. The result is the same for
    the same input: draws are seeded. Wishes are honoured exactly where enough segments exist; lists are drawn under
    the wished number or granularity, so confidences and expected F1 take it for granted.
    """
    wishes = wishes or Wishes()
    seconds = np.floor(np.asarray(starts, float))
    logits = priors.scale * np.asarray(scores, float) + priors.shift + np.log(wishes.granularity)
    shortest_last = _SHORTEST_LAST if wishes.count is None else 0.0
    inner = _candidates(seconds, logits, duration, wishes.min_length, shortest_last)
    can_open = bool(seconds[0] < 1)  # a chapter at the very start: no edge for F1, which begins a segment there anyway
    opens = can_open and (logits[0] >= 0 or wishes.count is not None)
    chosen: list[int] = []
    edges = np.concatenate([[0.0], seconds[inner], [float(duration)]])
    golds = [np.array([0.0, float(duration)])]  # where nothing may start inside, the whole is all there can be
    if len(inner):
        drawn = _draw(edges, logits[inner], priors, wishes.count)
        golds = _jittered([edges[path] for path in drawn], priors.jitter)
        pieces = None if wishes.count is None else wishes.count + (not can_open)
        chosen = [int(inner[i - 1]) for i in _best_list(edges, drawn, golds, wishes.min_length, pieces)]
    chosen = [0, *chosen] if opens or not chosen else chosen
    confidences = _share_near(seconds[chosen], golds)
    if chosen[0] == 0 and (can_open or not len(inner)):  # no edge of any drawn list: the segment's own probability
        confidences[0] = float(_averaged(logits[:1], priors)[0])
    return Decoded(chosen, confidences, _expected_f1(seconds[chosen], golds))


def _jittered(lists: Sequence[Floats], jitter: float) -> list[Floats]:
    """The lists (s) with each inner start moved by Laplace noise of mean size `jitter`, seeded; still rising."""
    rng = np.random.default_rng(1)
    moved = []
    for times in lists:
        inner = np.floor(times[1:-1] + rng.laplace(scale=jitter, size=len(times) - 2))
        inside = inner[(inner >= 1) & (inner < times[-1])]
        moved.append(np.concatenate([times[:1], np.unique(inside), times[-1:]]))
    return moved


def _share_near(starts: Floats, golds: Sequence[Floats]) -> list[float]:
    """For each start (s), the share of the drawn lists that have an inner edge nearer than `NEAR`."""
    near = np.zeros(len(starts))
    for gold in golds:
        near += (np.abs(starts[:, None] - gold[1:-1]) < NEAR).any(axis=1)
    return [float(share) for share in near / len(golds)]


def _expected_f1(starts: Floats, golds: Sequence[Floats]) -> float:
    """Mean F1 (0 to 100) of the list that starts at `starts` (s, rising) with the drawn lists as gold."""
    own = np.concatenate([[0.0], starts[starts > 0], golds[0][-1:]])
    total = 0.0
    for gold in golds:
        matched = _share_matched(own[:-1], own[1:], gold, nearness=0.0).sum()
        total += 2 * matched / (len(own) + len(gold) - 2)
    return 100 * float(total) / len(golds)


def _candidates(
    seconds: Floats, logits: Floats, duration: float, min_length: float, shortest_last: float
) -> NDArray[np.intp]:
    """Segments that may start a chapter: in a second of their own, after the first, not too near the ends."""
    _, first_in_second = np.unique(seconds, return_index=True)
    least = max(min_length, 1.0)
    latest = duration - max(least, shortest_last * duration)
    able = [i for i in first_in_second if least <= seconds[i] <= latest]
    if len(able) > _MOST_CANDIDATES:
        able = sorted(sorted(able, key=lambda i: -logits[i])[:_MOST_CANDIDATES])
    return np.array(able, dtype=np.intp)


def _draw(edges: Floats, logits: Floats, priors: Priors, count: int | None) -> list[NDArray[np.intp]]:
    """Draw lists (indices into `edges`, both ends included) from the semi-Markov model, seeded."""
    rng = np.random.default_rng(0)
    lists = []
    shifts = priors.spread * _normal_quantiles(_QUANTILES)
    if count is not None:  # all draws as fine as the wish: the shift whose expected number of starts is the count
        low, high = -20.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if expit(logits + middle).sum() < count - 1 else (low, middle)
        shifts = np.full(1, low)
    k = priors.evenness
    gaps = edges[None, :] - edges[:, None]
    for shift in shifts:
        tuned = logits + shift
        mean = edges[-1] / (1 + expit(tuned).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.where(gaps > 0, gaps / mean, np.nan)
            length_term = k * np.log(k) - gammaln(k) + (k - 1) * (np.log(u) - u)
        step = np.where(gaps > 0, length_term, -np.inf)
        step[:, 1:-1] += tuned[None, :]
        n = len(edges)
        ahead = np.full(n, -np.inf)  # log weight of all lists from here on
        ahead[-1] = 0.0
        cumulated: dict[int, Floats] = {}
        for j in range(n - 2, -1, -1):
            ahead[j] = logsumexp(step[j, j + 1 :] + ahead[j + 1 :])
        for _ in range(_DRAWS // len(shifts)):
            at, path = 0, [0]
            while at < n - 1:
                if at not in cumulated:
                    cumulated[at] = np.cumsum(np.exp(step[at, at + 1 :] + ahead[at + 1 :] - ahead[at]))
                chances = cumulated[at]
                at += 1 + min(int(np.searchsorted(chances, rng.random() * chances[-1])), len(chances) - 1)
                path.append(at)
            lists.append(np.array(path))
    return lists


def _best_list(
    edges: Floats, drawn: Sequence[NDArray[np.intp]], golds: Sequence[Floats], min_length: float, pieces: int | None
) -> list[int]:
    """Indices into `edges` of the inner starts of the list with the highest expected F1 against `golds`.

    `drawn`: the lists as indices into `edges`; `golds`: the same in seconds, as a person may have set them.

    `pieces`: into how many the video is to be cut; None leaves it free.
    """
    frequency = np.bincount(np.concatenate(drawn), minlength=len(edges)).astype(float)
    frequency[[0, -1]] = np.inf
    # With a least length, the likeliest of each stretch of that length come first, so that they can be put together.
    stretch = np.floor(edges / min_length) if min_length else np.zeros(len(edges))
    order = np.lexsort((-frequency, stretch))
    rank = np.empty(len(edges))
    rank[order] = np.arange(len(edges)) - np.searchsorted(stretch[order], stretch[order])
    rank[[0, -1]] = -1
    most_edges = max(_MOST_EDGES, (pieces or 0) + 20)
    kept = np.sort(np.lexsort((-frequency, rank if min_length else np.zeros(len(edges))))[:most_edges])
    time = edges[kept]
    n = len(kept)
    left, right = np.triu_indices(n, 1)
    if min_length:
        long_enough = time[right] - time[left] >= min_length
        left, right = left[long_enough], right[long_enough]
    matched = np.empty((len(left), len(golds)), np.float32)
    for column, gold in enumerate(golds):
        matched[:, column] = _share_matched(time[left], time[right], gold)
    sizes = np.array([len(gold) - 1 for gold in golds], np.float32)
    counts = range(1, int(min(sizes.max() + 1, n - 1)) + 1) if pieces is None else range(min(pieces, n - 1), 0, -1)
    best_value, best_way = -1.0, [0, n - 1]
    for count in counts:
        weights = np.full((n, n), -np.inf)
        weights[left, right] = matched @ (2.0 / (count + sizes) / len(drawn))
        value, way = _heaviest_path(weights, count)
        if value > best_value:
            best_value, best_way = value, way
        if pieces is not None and value >= 0:
            break  # as many as were wished, or as fit
    return [int(kept[node]) for node in best_way[1:-1]]


def _share_matched(start: Floats, end: Floats, edges: Floats, nearness: float = _NEARNESS) -> Floats:
    """For each stretch, the share of IoU thresholds at which it matches a segment between two of `edges`.

    `nearness` times the overlap beyond half is added, so that shares that tie can be told apart.
    """
    overlap = np.minimum(end[:, None], edges[None, 1:]) - np.maximum(start[:, None], edges[None, :-1])
    union = (end - start)[:, None] + np.diff(edges)[None, :] - overlap
    iou = (overlap / union).max(axis=1)
    # An overlap of exactly 50, 55, … % is no match (chapters/metrics.py adds 1e-8 below the line).
    share = np.clip(np.floor((iou - _THRESHOLDS[0]) / 0.05 + 1 - 1e-6), 0, len(_THRESHOLDS)) / len(_THRESHOLDS)
    return share + nearness * np.maximum(iou - _THRESHOLDS[0], 0)


def _heaviest_path(weights: Floats, steps: int) -> tuple[float, list[int]]:
    """The heaviest way from the first node to the last in exactly `steps` steps; -inf when there is none."""
    n = len(weights)
    value = np.full(n, -np.inf)
    value[0] = 0.0
    came_from = np.zeros((steps, n), np.intp)
    for step in range(steps):
        through = value[:, None] + weights
        came_from[step] = through.argmax(axis=0)
        value = through.max(axis=0)
    path = [n - 1]
    for step in range(steps - 1, -1, -1):
        path.append(int(came_from[step, path[-1]]))
    return float(value[-1]), path[::-1]
