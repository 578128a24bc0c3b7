"""How near predicted chapter lists are to the gold ones: per video, and averaged over videos.

Overlap, distance and count are computed here, what titles say in title_metrics.py. The formulas are those of the
published evaluation of VidChapters-7M (Yang et al. 2023) and Chapter-Llama (Ventura et al. 2025), so that figures can
stand beside theirs. Scores are x100. NaN means that a video is left out of a mean.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from chapter_assets.chapters import title_metrics
from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.title_metrics import Matrix, Pair
from chapter_assets.errors import InputError

THRESHOLDS = np.arange(50, 100, 5) / 100
DISTANCES = (3, 5, 10)  # seconds

_F1_AT = tuple(f"f1@{t:.2f}" for t in THRESHOLDS)
SCORES = (
    *("f1", "precision", "recall", "tiou", "soda_c_rougeL", "cider_plain"),
    *(f"{side}@{d}s" for d in DISTANCES for side in "PR"),
)
"""Where more is better and a missing prediction scores 0; 0 to 100, but `cider_plain` 0 to 1000."""
DROPPED = ("dropped_past_end", "dropped_no_time", "dropped_same_second")
"""Predicted chapters that were not scored: start at or past the end; negative or NaN; in the second of another."""

StartTitles = dict[int, str]
"""Title by start in whole seconds, rising."""


def usable(chapters: Iterable[Chapter], duration: float) -> tuple[StartTitles, Counter[str]]:
    """The chapters that can be scored, floored to whole seconds, and how many cannot, by the names in `DROPPED`.

    As `chapterlist.tidy`, but a chapter without a title stays: its boundary counts.
    """
    dropped: Counter[str] = Counter()
    inside = []
    for chapter in chapters:
        if chapter.start >= duration:
            dropped["dropped_past_end"] += 1
        elif not chapter.start >= 0:
            dropped["dropped_no_time"] += 1
        else:
            inside.append(chapter)
    kept: StartTitles = {}
    for chapter in sorted(inside, key=lambda c: c.start):
        kept.setdefault(int(chapter.start), chapter.title)
    dropped["dropped_same_second"] = len(inside) - len(kept)
    return kept, dropped


def segments(starts: Sequence[int], duration: float) -> Matrix:
    """Rising starts (s) as segments [start, next start or duration): shape (chapters, 2)."""
    return np.array([starts, [*starts[1:], duration]] if starts else [[], []], dtype=np.float64).T


def iou_matrix(gold: Matrix, pred: Matrix) -> Matrix:
    """Intersection over union of segments (n, 2) with segments (m, 2): shape (n, m), 0 to 1."""
    gold_start, gold_end = gold[:, :1], gold[:, 1:]
    pred_start, pred_end = pred.T
    overlap = np.minimum(gold_end, pred_end) - np.maximum(gold_start, pred_start)
    hull = np.maximum(gold_end, pred_end) - np.minimum(gold_start, pred_start)
    lengths = (gold_end - gold_start) + (pred_end - pred_start)
    result: Matrix = np.maximum(overlap, 0.0) / (np.minimum(hull, lengths) + 1e-8)
    return result


def matched_pairs(iou: Matrix) -> list[Pair]:
    """tIoU's pairs: all overlapping (gold, predicted) pairs in falling order of IoU, greedily one-to-one."""
    pairs = sorted(title_metrics.overlapping(iou), key=lambda pair: -iou[pair])  # stable, as the published code
    gold_taken, pred_taken, matched = set(), set(), []
    for i, j in pairs:
        if i not in gold_taken and j not in pred_taken:
            gold_taken.add(i)
            pred_taken.add(j)
            matched.append((i, j))
    return matched


def score_video(gold: Sequence[Chapter], pred: Sequence[Chapter], duration: float) -> dict[str, float]:
    """Every figure of one video of `duration` seconds.

    Scores (x100): `SCORES`, `f1@0.50` to `f1@0.95`; NaN in P@d and R@d where gold starts at 0 only.
    Titles: `rougeL` (x100, mean over tIoU's pairs; NaN without any), `repeated_titles` (% of the predicted ones).
    Counts: `chapter_count_error` (absolute, with the segment from 0, as published), `gold_chapters`,
    `predicted_chapters`, `gold_dropped` and `DROPPED`.

    An empty prediction scores 0. Without usable gold chapters every score is NaN. Raises InputError for a duration
    that is not a positive number.
    """
    if not 0 < duration < math.inf:
        raise InputError(f"The duration {duration} is not a positive number of seconds", "Give the video's length")
    gold_at, gold_dropped = usable(gold, duration)
    pred_at, dropped = usable(pred, duration)
    figures = dict.fromkeys((*SCORES, *_F1_AT, "rougeL", "repeated_titles", "chapter_count_error"), math.nan)
    if gold_at:
        figures |= _scores(gold_at, pred_at, duration)
    return figures | {
        "gold_chapters": len(gold_at),
        "predicted_chapters": len(pred_at),
        "gold_dropped": gold_dropped.total(),
        **{reason: dropped[reason] for reason in DROPPED},
    }


def _scores(gold_at: StartTitles, pred_at: StartTitles, duration: float) -> dict[str, float]:
    iou = _overlap(gold_at, pred_at, duration)
    n_gold, n_pred = iou.shape
    precision = (iou.max(axis=0, initial=0.0) >= THRESHOLDS[:, None]).sum(axis=1) / max(n_pred, 1)
    recall = (iou.max(axis=1, initial=0.0) >= THRESHOLDS[:, None]).sum(axis=1) / n_gold
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    pairs = matched_pairs(iou)

    titled = iou[n_gold - len(gold_at) :, n_pred - len(pred_at) :]
    gold_words, pred_words = [[title_metrics.words(t) for t in at.values()] for at in (gold_at, pred_at)]
    # from tIoU's indices, which count the segments put in front
    titled_pairs = [(i - n_gold + len(gold_at), j - n_pred + len(pred_at)) for i, j in pairs]
    rouge = {(i, j): title_metrics.rouge_l(gold_words[i], pred_words[j]) for i, j in title_metrics.overlapping(titled)}
    return {
        "f1": 100 * f1.mean(),
        "precision": 100 * precision.mean(),
        "recall": 100 * recall.mean(),
        **dict(zip(_F1_AT, (100 * f1).tolist(), strict=True)),
        "tiou": 100 * _mean(iou[pair] for pair in pairs) if pairs else 0.0,
        "soda_c_rougeL": 100 * title_metrics.soda_c(titled, lambda i, j: rouge[i, j]),
        "cider_plain": title_metrics.cider(titled, gold_words, pred_words),
        "rougeL": 100 * _mean(rouge[pair] for pair in titled_pairs if min(pair) >= 0),
        "repeated_titles": 100 * title_metrics.repeated(pred_words),
        "chapter_count_error": abs(n_gold - n_pred),
        **_distances([s for s in gold_at if s], [s for s in pred_at if s]),
    }


def _overlap(gold_at: StartTitles, pred_at: StartTitles, duration: float) -> Matrix:
    """IoU with the segment (0, own first start) in front of each list that does not start at 0, as F1 wants it."""
    starts = ([0, *at] if at and 0 not in at else [*at] for at in (gold_at, pred_at))
    return iou_matrix(*(segments(s, duration) for s in starts))


def _distances(gold: list[int], pred: list[int]) -> dict[str, float]:
    """P@d and R@d of starts (s) without 0: found when nearer than d seconds."""
    if not gold:
        return {}
    apart = np.abs(np.subtract.outer(np.array(gold, dtype=np.float64), pred))
    pred_nearest, gold_nearest = apart.min(axis=0, initial=np.inf), apart.min(axis=1, initial=np.inf)
    found = {f"P@{d}s": 100 * (pred_nearest < d).sum() / max(len(pred), 1) for d in DISTANCES}
    return found | {f"R@{d}s": 100 * (gold_nearest < d).sum() / len(gold) for d in DISTANCES}


def score_videos(
    gold: Mapping[str, tuple[float, Sequence[Chapter]]],
    pred: Mapping[str, Sequence[Chapter]],
    published_titles: bool = False,
) -> dict[str, dict[str, float]]:
    """`score_video` for each gold video of (duration in s, chapters); a video without a prediction has an empty one.

    `published_titles` adds the published `soda_c` and `cider`, which need Java (`title_metrics.published`).
    Raises InputError for a bad duration, and when there are predictions, but for none of the gold videos.
    """
    if gold and pred and gold.keys().isdisjoint(pred):
        raise InputError(
            f"None of the {len(pred)} predicted videos (such as {next(iter(pred))!r}) is among the {len(gold)} gold "
            f"videos (such as {next(iter(gold))!r})",
            "Check that both files are of the same videos, under the same ids",
        )
    figures = {}
    for video, (duration, chapters) in gold.items():
        try:
            figures[video] = score_video(chapters, pred.get(video, ()), duration)
        except InputError as error:
            raise InputError(f"Video {video!r}: {error.problem}", error.remedy) from None
    if published_titles:
        titled = {}
        for video, (duration, chapters) in gold.items():
            gold_at, pred_at = (usable(c, duration)[0] for c in (chapters, pred.get(video, ())))
            iou = iou_matrix(segments([*gold_at], duration), segments([*pred_at], duration))
            titled[video] = iou, list(gold_at.values()), list(pred_at.values())
        for video, scores in title_metrics.published(titled).items():
            figures[video] |= scores
    return figures


def summarize(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The table over videos from their `score_video` figures, for all of them or any slice.

    `SCORES`, `f1@t`, `rougeL`, `chapter_count_mae`, `repeated_titles` (and `soda_c`, `cider` where computed): means
    over the videos with a prediction, the published convention. `<score>_all` for each of `SCORES`: over all videos,
    a missing or empty prediction scoring 0. `coverage`: share (0 to 1) of videos with a prediction.
    Counts: `videos`, `missing` (no usable predicted chapter), `no_gold` (left out everywhere), `distance_skipped`
    (gold starts at 0 only; left out of P@d and R@d), `soda_c_skipped`, `cider_skipped` (a title without a readable
    word, left out as published), and chapters: `gold_dropped` and `DROPPED`.
    A mean over nothing is NaN.
    """
    every = list(figures)
    scorable = [video for video in every if video["gold_chapters"]]
    answered = [video for video in scorable if video["predicted_chapters"]]
    published = [key for key in ("soda_c", "cider") if any(key in video for video in every)]
    return {
        **{key: _mean(v[key] for v in answered) for key in (*SCORES, *_F1_AT, *published, "rougeL", "repeated_titles")},
        **{f"{key}_all": _mean(v[key] for v in scorable) for key in SCORES},
        "chapter_count_mae": _mean(v["chapter_count_error"] for v in answered),
        "coverage": len(answered) / len(scorable) if scorable else math.nan,
        "videos": len(every),
        "missing": len(scorable) - len(answered),
        "no_gold": len(every) - len(scorable),
        "distance_skipped": sum(math.isnan(v[f"P@{DISTANCES[0]}s"]) for v in scorable),
        **{key: sum(v[key] for v in every) for key in ("gold_dropped", *DROPPED)},
        **{f"{key}_skipped": sum(math.isnan(v[key]) for v in answered) for key in published},
    }


def evaluate(
    gold: Mapping[str, tuple[float, Sequence[Chapter]]],
    pred: Mapping[str, Sequence[Chapter]],
    published_titles: bool = False,
) -> dict[str, float]:
    """The table over all gold videos: `summarize` of `score_videos`, with `not_in_gold`, the predictions not used."""
    table = summarize(score_videos(gold, pred, published_titles).values())
    return table | {"not_in_gold": len(pred.keys() - gold.keys())}


def _mean(values: Iterable[float]) -> float:
    """The mean of what is not NaN; NaN when nothing is left."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan
