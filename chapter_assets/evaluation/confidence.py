"""What a model's belief in its own lists is worth, which titles are doubtful, and which videos it knows least."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.title_metrics import repeated, words
from chapter_assets.inference.decoder import NEAR
from chapter_assets.inference.titlers import count_preambles

BINS = 10
"""Of equal width; a bin of few boundaries says little, so each shows how many it has."""
LEAST_RANKED = 10
"""Videos from which a rank correlation is given: with fewer, one of 0.6 is still chance (5 %, two-sided)."""
LISTED = 10
"""Videos named for labelling, and words named that nobody said."""

Row = Mapping[str, Any]
Gold = Mapping[str, tuple[float, Sequence[Chapter]]]


def belief(rows: Mapping[str, Row], gold: Gold, f1: Mapping[str, float]) -> dict[str, Any] | None:
    """How the beliefs in `rows` (by video) agree with gold; None when no row has any. `f1`: by video, 0 to 100.

    `reliability`: of each filled bin {low, high, boundaries, confidence (mean), right (share)}, over all boundaries of
    the videos in `gold`; `right` means a gold start nearer than 5 s. `calibration_error`: mean over boundaries of the
    distance (0 to 1) between confidence and share right in their bin (expected calibration error, Guo et al. 2017).
    `expected_f1` and `score`: {mean, mean_f1, rank_correlation (Spearman's, null with fewer than `LEAST_RANKED` videos
    or no difference between them), chance (95 % of unrelated orders stay within it: 1.96 / sqrt(videos - 1)), videos}.
    """
    pairs = [pair for video in gold if video in rows for pair in _judged_boundaries(rows[video], gold[video][1])]
    figures = {name: _ranking(rows, f1, name) for name in ("expected_f1", "score")}
    if not pairs and not any(figure["videos"] for figure in figures.values()):
        return None
    reliability = _reliability(pairs)
    distance = sum(b["boundaries"] * abs(b["confidence"] - b["right"]) for b in reliability)
    return {
        "reliability": reliability,
        "boundaries": len(pairs),
        "calibration_error": distance / len(pairs) if pairs else math.nan,
        **figures,
    }


def _judged_boundaries(row: Row, gold: Sequence[Chapter]) -> list[tuple[float, bool]]:
    """Each boundary's confidence, and whether it is right: as P@5s, but a start at 0 may be right by one at 0 too."""
    starts = [c.start for c in gold]
    inner = [start for start in starts if int(start)]
    return [
        (confidence, any(abs(c["start"] - start) < NEAR for start in (inner if int(c["start"]) else starts)))
        for c, confidence in zip(row["chapters"] or (), row["confidences"] or (), strict=False)
    ]


def _reliability(pairs: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in pairs:
        bins.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, right))
    return [
        {
            "low": place / BINS,
            "high": (place + 1) / BINS,
            "boundaries": len(inside),
            "confidence": float(np.mean([confidence for confidence, _ in inside])),
            "right": float(np.mean([right for _, right in inside])),
        }
        for place, inside in sorted(bins.items())
    ]


def _ranking(rows: Mapping[str, Row], f1: Mapping[str, float], column: str) -> dict[str, float]:
    """How well the numbers in `column` put the videos into the order of their F1."""
    videos = [video for video in f1 if video in rows and rows[video][column] is not None]
    believed, true = np.array([(rows[video][column], f1[video]) for video in videos]).reshape(-1, 2).T
    return {
        "mean": float(believed.mean()) if videos else math.nan,
        "mean_f1": float(true.mean()) if videos else math.nan,
        "rank_correlation": _spearman(believed, true),
        "chance": 1.96 / math.sqrt(len(videos) - 1) if len(videos) >= LEAST_RANKED else math.nan,
        "videos": len(videos),
    }


def _spearman(first: Any, second: Any) -> float:
    from scipy.stats import spearmanr

    if len(first) < LEAST_RANKED or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)


def doubtful_titles(rows: Sequence[Row]) -> dict[str, Any]:
    """What is doubtful in the titles of `rows`, as counts.

    `titles`; `unsupported`: names and numbers that nobody said, of which `unsupported_words` are the commonest, in
    `videos_with_unsupported`; `repeated`: titles that stood earlier in their list; `preambles`: lines of the raw
    answers that began with one, which was taken off.
    """
    unsupported = Counter(word for row in rows for word in row["unsupported"] or ())
    lists = [[words(c["title"] or "") for c in row["chapters"] or ()] for row in rows]
    return {
        "titles": sum(map(len, lists)),
        "unsupported": unsupported.total(),
        "unsupported_words": sorted(unsupported, key=lambda word: (-unsupported[word], word))[:LISTED],
        "videos_with_unsupported": sum(bool(row["unsupported"]) for row in rows),
        "repeated": sum(round(repeated(titles) * len(titles)) for titles in lists),
        "preambles": sum(count_preambles(row["raw"] or "") for row in rows),
    }


def least_sure(unlabelled: Sequence[Row], judged: Sequence[Row]) -> dict[str, Any] | None:
    """The `LISTED` videos of the lowest expected F1: of those without chapters, else of the judged ones; None without.

    A list that the model expects to be poor is where a person's list adds most (uncertainty sampling, Lewis and Gale
    1994). `kind`: `unlabelled` or `judged`; `looked_at`: how many were ranked.
    """
    for kind, rows in (("unlabelled", unlabelled), ("judged", judged)):
        ranked = sorted(
            (row for row in rows if row["expected_f1"] is not None),
            key=lambda row: (row["expected_f1"], row["video_id"]),
        )
        if ranked:
            shown = ("video_id", "title", "shard", "duration", "expected_f1", "score")
            return {
                "kind": kind,
                "looked_at": len(ranked),
                "videos": [
                    {name: row[name] for name in shown} | {"chapters": len(row["chapters"] or ())}
                    for row in ranked[:LISTED]
                ],
            }
    return None
