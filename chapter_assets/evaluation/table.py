"""From predictions to the figures of a report: every system on the same videos, as JSON-able values and as tables."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chapter_assets.chapters import metrics
from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.title_metrics import Matrix
from chapter_assets.errors import InputError
from chapter_assets.evaluation import baselines, confidence
from chapter_assets.evaluation.bootstrap import FEW_CHANNELS, LEAST_CHANNELS, channel_bootstrap
from chapter_assets.evaluation.unlabelled import SPLIT as UNLABELLED

CONTROL = "control"
JUDGED = "finetuned"
CHAMPION, ANCHOR = "champion", "anchor"  # the finetune that serves when this one is judged, and the fixed older one
LABELS = {
    **baselines.LABELS,
    CONTROL: "Text-free control",
    "base_zero_shot": "Base model, zero-shot",
    ANCHOR: "Anchor",
    CHAMPION: "Champion",
    JUDGED: "Finetuned",
}
"""The systems in the order of every table; others follow under their own names."""

F1_AT = tuple(f"f1@{t:.2f}" for t in metrics.THRESHOLDS)
_DURATIONS = (
    (180, "under 3 min"),
    (600, "3 to 10 min"),
    (1800, "10 to 30 min"),
    (3600, "30 to 60 min"),
    (math.inf, "60 min and more"),
)
_COLUMNS = (
    *("video_id", "shard", "channel", "title", "duration", "chapters", "confidences", "expected_f1", "score"),
    *("unsupported", "raw", "valid_before_repair", "repairs", "seconds"),
)

Report = dict[str, Any]
Gold = Mapping[str, tuple[float, Sequence[Chapter]]]
_Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Video:
    """A judged video, its duration in seconds."""

    video_id: str
    title: str
    channel: str
    shard: str
    duration: float


def evaluate_systems(predictions: pa.Table, gold: Gold, split: str = "gate") -> Report:
    """Everything that a report says about the videos of one split, ready for JSON (NaN is null).

    `predictions`: one row per system and video, of the columns in `PREDICTIONS`; `gold`: video id -> (duration s,
    chapters). The videos of the split are those with a row from any system; a system scores 0 on one that it has no
    row or no chapter for.

    `outcome` of the finetuned model against the control: `better`, `worse`, `not_shown`, or `unknown` (nothing to
    compare, too few channels); `verdict`: the same in words. `head`: what was judged, and what was left out.
    `systems`: by name (in `order`) the figures of `metrics.summarize`, where `<score>_all` and `f1@<t>_all` are
    {value, low, high} with the ends of the 95 % interval (null with fewer than `LEAST_CHANNELS`). `skill` and
    `over_best_guess` are paired differences of `f1_all` to the control and to `best_guess`, the guess with the highest
    `f1_all` on these videos; null for that system itself. `slices`: `f1_all` and `skill` by duration and by shard.
    `videos`: F1 and chapter counts one by one. Of the finetuned model (null without one): `belief` and `titles` on
    these videos, `to_label` with the videos it is least sure of, as evaluation/confidence.py has them.

    Raises InputError when nothing can be judged, or a system has two rows for one video.
    """
    rows = _rows_by_system(predictions, split)
    in_split = {video: row for found in rows.values() for video, row in found.items()}
    videos = [_video(in_split[name], gold[name][0]) for name in sorted(in_split.keys() & gold.keys())]
    scorable = {v.video_id for v in videos if metrics.usable(gold[v.video_id][1], v.duration)[0]}
    no_gold = len(videos) - len(scorable)
    videos = [v for v in videos if v.video_id in scorable]
    if not videos:
        raise InputError(
            f"No video of the split {split!r} can be judged: {len(in_split)} have predictions, {len(gold)} have gold "
            f"chapters, {no_gold} of both have no usable gold chapter",
            f"Add shards with more channels, or raise CHAPTER_ASSETS_{split.upper()}_PERCENT, and predict again",
        )
    judged_gold = {v.video_id: gold[v.video_id] for v in videos}
    figures = {system: _figures(judged_gold, found) for system, found in rows.items()}

    f1 = {system: _column(found, "f1") for system, found in figures.items()}
    guesses = [system for system in baselines.LABELS if system in f1]
    best_guess = max(guesses, key=lambda system: float(f1[system].mean()), default=None)
    intervals = _intervals(
        {(s, f"{key}_all"): _column(found, key) for s, found in figures.items() for key in (*metrics.SCORES, *F1_AT)}
        | _differences(f1, "skill", CONTROL)
        | _differences(f1, "over_best_guess", best_guess),
        videos,
        range(len(videos)),
    )
    hours = sum(v.duration for v in videos) / 3600
    counts = {s: [int(v["predicted_chapters"]) for v in found] for s, found in figures.items()}
    gold_counts = [int(v["gold_chapters"]) for v in next(iter(figures.values()))]
    report: Report = {
        "schema_version": 1,
        "split": split,
        "head": {
            "videos": len(videos),
            "channels": len({v.channel for v in videos}),
            "shards": sorted({v.shard for v in videos}),
            "hours": hours,
            "mean_gold_chapters": float(np.mean(gold_counts)),
            "no_gold": no_gold,
            "not_in_gold": len(in_split.keys() - gold.keys()),
            "gold_without_rows": len(gold.keys() - _videos_with_rows(predictions)),
        },
        "order": list(rows),
        "best_guess": best_guess,
        "systems": {
            system: {
                "label": LABELS.get(system, system),
                **metrics.summarize(figures[system]),
                **{name: interval for (s, name), interval in intervals.items() if s == system},
                "skill": intervals.get((system, "skill")),
                "over_best_guess": intervals.get((system, "over_best_guess")),
                "mean_chapters": _mean(n for n in counts[system] if n),
                **_effort(found, {v.video_id: v.duration for v in videos}),
            }
            for system, found in rows.items()
        },
        "slices": list(_slices(f1, videos)),
        "videos": [
            {
                **asdict(video),
                "gold_chapters": gold_counts[i],
                "chapters": {system: counts[system][i] for system in rows},
                "f1": {system: float(f1[system][i]) for system in rows},
            }
            for i, video in enumerate(videos)
        ],
        **_own_view(rows.get(JUDGED, {}), predictions, judged_gold, f1.get(JUDGED, np.zeros(0))),
    }
    report = _plain(report)
    report["outcome"], report["verdict"] = _verdict(report)
    return report


def _rows_by_system(predictions: pa.Table, split: str) -> dict[str, _Rows]:
    """The rows of one split by system, in table order, and video; a system that only has rows elsewhere has none."""
    present = set(predictions["system"].unique().to_pylist())
    rows: dict[str, _Rows] = {system: {} for system in [*LABELS, *sorted(present - LABELS.keys())] if system in present}
    chosen = predictions.filter(pc.equal(predictions["split"], split)).select(["system", *_COLUMNS])
    for row in chosen.to_pylist():
        found = rows[row["system"]]
        if row["video_id"] in found:
            raise InputError(
                f"{row['system']!r} has two predictions for video {row['video_id']!r}", "Keep one row for each video"
            )
        found[row["video_id"]] = row
    return rows


def _own_view(rows: _Rows, predictions: pa.Table, gold: Gold, f1: Matrix) -> Report:
    """What the finetuned model itself makes of its lists; `f1` as `gold` is ordered, empty without that model."""
    judged = {video: row for video, row in rows.items() if video in gold}
    unlabelled = _rows_by_system(predictions, UNLABELLED).get(JUDGED, {})
    return {
        "belief": confidence.belief(judged, gold, dict(zip(gold, f1.tolist(), strict=False))),
        "titles": confidence.doubtful_titles([*judged.values()]) if judged else None,
        "to_label": confidence.least_sure([*unlabelled.values()], [*judged.values()]),
    }


def _videos_with_rows(predictions: pa.Table) -> set[str]:
    return set(predictions["video_id"].unique().to_pylist())


def _video(row: Mapping[str, Any], duration: float) -> _Video:
    return _Video(row["video_id"], row["title"] or "", row["channel"] or "", row["shard"] or "", duration)


def predicted_chapters(row: Mapping[str, Any]) -> list[Chapter]:
    """The chapters in one row of the predictions."""
    return [Chapter(c["start"], c["title"] or "") for c in row["chapters"] or ()]


def _figures(gold: Gold, rows: _Rows) -> list[dict[str, float]]:
    """The figures of each gold video, in its order."""
    predicted = {video: predicted_chapters(row) for video, row in rows.items() if video in gold}
    return list(metrics.score_videos(gold, predicted).values())


def _column(figures: Sequence[Mapping[str, float]], key: str) -> Matrix:
    return np.array([video[key] for video in figures], dtype=np.float64)


def _differences(f1: Mapping[str, Matrix], name: str, reference: str | None) -> dict[tuple[str, str], Matrix]:
    """F1 of each system minus that of `reference`, video by video; nothing when it is not there."""
    if reference is None or reference not in f1:
        return {}
    return {(system, name): column - f1[reference] for system, column in f1.items() if system != reference}


def _intervals(
    columns: Mapping[tuple[str, str], Matrix], videos: Sequence[_Video], chosen: Sequence[int]
) -> dict[tuple[str, str], dict[str, float | None]]:
    """{value, low, high} of each column over the `chosen` videos (indices)."""
    table = np.column_stack([column[list(chosen)] for column in columns.values()])
    estimates = channel_bootstrap(table, [videos[i].channel for i in chosen])
    return {key: asdict(estimate) for key, estimate in zip(columns, estimates, strict=True)}


def _effort(rows: _Rows, durations: Mapping[str, float]) -> dict[str, float]:
    """Over the rows there are: shares (0 to 1) valid before repair and repaired; seconds per video and per hour."""
    found = [(row, durations[video]) for video, row in rows.items() if video in durations]
    timed = [(row["seconds"], duration) for row, duration in found if row["seconds"] is not None]
    hours = sum(duration for _, duration in timed) / 3600
    return {
        "valid_before_repair": _mean(bool(row["valid_before_repair"]) for row, _ in found),
        "repaired": _mean(bool(row["repairs"]) for row, _ in found),
        "seconds_per_video": _mean(seconds for seconds, _ in timed),
        "seconds_per_hour_of_video": sum(seconds for seconds, _ in timed) / hours if hours else math.nan,
    }


def _slices(f1: Mapping[str, Matrix], videos: Sequence[_Video]) -> Iterable[dict[str, Any]]:
    for by, label_of, labels in (
        ("duration", lambda v: duration_label(v.duration), [label for _, label in _DURATIONS]),
        ("shard", lambda v: v.shard, sorted({v.shard for v in videos})),
    ):
        for name in labels:
            chosen = [i for i, video in enumerate(videos) if label_of(video) == name]
            if not chosen:
                continue
            columns = {(s, "f1_all"): column for s, column in f1.items()} | _differences(f1, "skill", CONTROL)
            intervals = _intervals(columns, videos, chosen)
            yield {
                "by": by,
                "label": name,
                "videos": len(chosen),
                "channels": len({videos[i].channel for i in chosen}),
                "hours": sum(videos[i].duration for i in chosen) / 3600,
                "systems": {s: {key: intervals.get((s, key)) for key in ("f1_all", "skill")} for s in f1},
            }


def duration_label(duration: float) -> str:
    """The slice that a video of so many seconds belongs to."""
    return next(label for end, label in _DURATIONS if duration < end)


def _verdict(report: Report) -> tuple[str, str]:
    """What the numbers allow one to say about the finetuned model: a word for machines, a sentence for people."""
    systems, head = report["systems"], report["head"]
    if JUDGED not in systems:
        return "unknown", "Nothing is shown: there is no finetuned model among these predictions."
    judged = systems[JUDGED]
    guess = _beside_best_guess(judged, systems.get(report["best_guess"]))
    if CONTROL not in systems:
        return "unknown", (
            "Whether the finetuned model understood the text cannot be told, since the text-free control is not among "
            f"these predictions{guess}."
        )
    skill = judged["skill"]
    basis = f"{plural(head['videos'], 'video')} of {plural(head['channels'], 'channel')}"
    if skill["low"] is None:
        return "unknown", (
            "Whether the finetuned model is better than the text-free control cannot be shown: the difference is "
            f"{signed(skill['value'])} F1 on {basis}, and it takes {LEAST_CHANNELS} channels to tell it from chance."
        )
    if skill["low"] > 0:
        outcome, words = "better", "is better than the text-free control by "
    elif skill["high"] < 0:
        outcome, words = "worse", "is worse than the text-free control: "
    else:
        outcome, words = "not_shown", "is not shown to be better than the text-free control: "
    sentence = (
        f"The finetuned model {words}{signed(skill['value'])} F1 "
        f"(95 % interval {signed(skill['low'])} to {signed(skill['high'])}) on {basis}"
    )
    sentence += guess
    if judged["missing"]:
        sentence += f"; {plural(judged['missing'], 'video')} without a prediction scored 0"
    if head["channels"] < FEW_CHANNELS:
        sentence += "; with so few channels the doubt is larger than the interval"
    return outcome, sentence + "."


def _beside_best_guess(judged: Mapping[str, Any], guess: Mapping[str, Any] | None) -> str:
    """A clause on the best guess when the model is not shown to be better than that; else nothing."""
    over = judged["over_best_guess"]
    if guess is None or over is None or (over["low"] is not None and over["low"] > 0):
        return ""
    difference = with_interval(over, signed).replace(" (", ", ").rstrip(")")
    return f"; it is not shown to beat the best guess, {guess['label'].lower()} ({difference})"


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _plain(value: Any) -> Any:
    """`value` with plain numbers of four decimals, and None for what is not a number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) + 0.0 if math.isfinite(value) else None  # + 0.0: no minus before zero
    return value


def number(value: float | None, digits: int = 1) -> str:
    """`value` with so many decimals; a dash for None."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float | None) -> str:
    """`value` with its sign and one decimal, more when that would round it to zero; a dash for None."""
    if value is None:
        return "-"
    return "0.0" if not value else f"{value:+.1f}" if abs(value) >= 0.05 else f"{value:+.1g}"


def share(value: float | None) -> str:
    """A share (0 to 1) in percent; 100 only when it is all, 0 only when it is none."""
    if value is None:
        return "-"
    percent = min(max(round(100 * value), 1), 99) if 0 < value < 1 else round(100 * value)
    return f"{percent} %"


def plural(count: int, noun: str) -> str:
    """`1 video`, `2 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def with_interval(estimate: Mapping[str, Any] | None, show: Callable[[float | None], str] = number) -> str:
    """`23.4 (18.9 to 28.1)`; without the brackets when there is no interval."""
    if estimate is None:
        return "-"
    ends = "" if estimate["low"] is None else f" ({show(estimate['low'])} to {show(estimate['high'])})"
    return show(estimate["value"]) + ends


HEADLINE: tuple[tuple[str, str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("F1", "(95 %)", lambda s: with_interval(s["f1_all"])),
    ("skill", "(95 %)", lambda s: with_interval(s["skill"], signed)),
    ("tIoU", "", lambda s: number(s["tiou_all"]["value"])),
    ("SODA_c", "rougeL", lambda s: number(s["soda_c_rougeL_all"]["value"])),
    ("CIDEr", "plain", lambda s: number(s["cider_plain_all"]["value"])),
    ("coverage", "", lambda s: share(s["coverage"])),
    ("valid before", "repair", lambda s: share(s["valid_before_repair"])),
    ("s per", "video", lambda s: number(s["seconds_per_video"])),
)
"""The columns of the headline table: the name in two parts, and what stands there for a system."""


def _cells(report: Report) -> list[list[str]]:
    systems = [report["systems"][name] for name in report["order"]]
    return [[system["label"], *(show(system) for _, _, show in HEADLINE)] for system in systems]


def markdown_table(report: Report) -> str:
    """The headline table as Markdown."""
    heads = ["system", *(f"{first} {second}".strip() for first, second, _ in HEADLINE)]
    bold = LABELS[JUDGED]
    rows = [[f"**{cell}**" if row[0] == bold else cell for cell in row] for row in _cells(report)]
    lines = [heads, ["---", *["---:"] * len(HEADLINE)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_table(report: Report) -> str:
    """The headline table for a terminal, with aligned columns, within 140 characters."""
    heads = [["system", *(first for first, _, _ in HEADLINE)], ["", *(second for _, second, _ in HEADLINE)]]
    rows = [[_shortened(row[0], 34), *row[1:]] for row in _cells(report)]
    widths = [max(map(len, column)) for column in zip(*heads, *rows, strict=True)]
    lines = [*heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def chapter_counts(report: Report, system: str) -> Counter[tuple[int, int]]:
    """How many videos have so many (gold, predicted) chapters."""
    return Counter((video["gold_chapters"], video["chapters"][system]) for video in report["videos"])
