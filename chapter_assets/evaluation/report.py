"""The report that a person reads before a model serves: one HTML file, the same figures as JSON, plots and Markdown."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from chapter_assets.chapters import metrics
from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.timecodes import format_time
from chapter_assets.evaluation.bootstrap import FEW_CHANNELS, LEAST_CHANNELS, RESAMPLES
from chapter_assets.evaluation.table import (
    CONTROL,
    F1_AT,
    JUDGED,
    LABELS,
    Gold,
    Report,
    chapter_counts,
    markdown_table,
    number,
    plural,
    predicted_chapters,
    share,
    signed,
    with_interval,
)
from chapter_assets.store import write_json

PICTURED = 12
"""Videos shown as timelines: the worst half of them, and as many spread evenly over the rest up to the best."""
FOUND_IOU = 0.5
"""A predicted chapter counts as found in a timeline when it overlaps a gold one at least so much."""
_TICK_STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # s
_MOST_TICKS = 7


def write_report(report: Report, predictions: pa.Table, gold: Gold, about: Mapping[str, Any], folder: Path) -> Path:
    """Write `report.json` and `report.html` into `folder`, and return the path of the page.

    `report` is what `evaluate_systems` made of `predictions` and `gold`. `about`: what is known of the model, in the
    order to show it in; `finetune` names the report, a mapping as a value becomes `name value` pairs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", {"about": _jsonable(about), **report})
    page = folder / "report.html"
    page.write_text(_html(report, predictions, gold, about), encoding="utf-8")
    return page


def report_markdown(report: Report) -> str:
    """The verdict, the headline table, the slices, and what the model makes of its own lists, as Markdown."""
    parts = [report["verdict"], judged_videos(report), markdown_table(report), *_slices_markdown(report)]
    if report["belief"]:
        cells = [[b["between"], f"{b['boundaries']:,}", b["right"]] for b in _bins(report)]
        parts += [
            "### How far its own confidence can be trusted",
            *belief_sentences(report["belief"]),
            _markdown_rows(["confidence", "boundaries", "right within 5 s"], cells),
        ]
    if report["titles"]:
        parts += ["### Titles to doubt", title_sentence(report["titles"])]
    if report["to_label"]:
        cells = [[_in_cell(v["name"]), *v["figures"]] for v in _to_label(report)]
        parts += ["### What to label next", label_sentence(report), _markdown_rows(_LABEL_HEADS, cells)]
    return "\n\n".join(parts)


def belief_sentences(belief: Mapping[str, Any]) -> list[str]:
    """What the reliability and the rank correlations say, for people."""
    said = []
    if belief["boundaries"]:
        sure, right = (
            sum(b["boundaries"] * b[key] for b in belief["reliability"]) / belief["boundaries"]
            for key in ("confidence", "right")
        )
        error = belief["calibration_error"]
        said.append(
            f"Of {belief['boundaries']:,} boundaries it is {share(sure)} sure on average, and {share(right)} are right "
            "(a gold start within 5 s). "
            f"Confidence and truth are {number(100 * error)} points apart on average over the bins."
        )
    expected, score = belief["expected_f1"], belief["score"]
    if expected["videos"]:
        said.append(
            f"It expects an F1 of {number(expected['mean'])}; the true one is {number(expected['mean_f1'])}. "
            f"Whether it knows which lists are good: rank correlation with the true F1, over "
            f"{plural(expected['videos'], 'video')}, is {_correlation(expected)} for the expected F1 and "
            f"{_correlation(score)} for the score without gold (1: the same order, 0: no relation"
            + ("" if expected["chance"] is None else f"; within ±{number(expected['chance'], 2)} it may be chance")
            + ")."
        )
    return said


def _correlation(figure: Mapping[str, Any]) -> str:
    return "unknown" if figure["rank_correlation"] is None else number(figure["rank_correlation"], 2)


def title_sentence(titles: Mapping[str, Any]) -> str:
    """What is doubtful in the titles, for people."""
    said = f"{titles['unsupported']:,}"
    if titles["unsupported"]:
        words = ", ".join(titles["unsupported_words"])
        said += f", in {plural(titles['videos_with_unsupported'], 'video')} ({words})"
    return (
        f"{plural(titles['titles'], 'title')}. Names and numbers that nobody said: {said}. Repeated in their list: "
        f"{titles['repeated']:,}. Preambles (“Here is …:”) taken off: {titles['preambles']:,}."
    )


def label_sentence(report: Report) -> str:
    """What the list of videos to label is, and whether the model is known to choose well, for people."""
    to_label, expected = report["to_label"], report["belief"]["expected_f1"] if report["belief"] else {}
    shown = (expected.get("rank_correlation") or 0) > (expected.get("chance") or 0)
    doubt = (
        "" if shown else " That its expected F1 tells poor lists from good ones is not shown here: take it as a hint."
    )
    looked_at = plural(to_label["looked_at"], "video")
    if to_label["kind"] == "unlabelled":
        return (
            f"Of {looked_at} without chapters, those of which the model is least sure, the lowest expected F1 first: "
            f"a person's list adds most there.{doubt}"
        )
    return (
        "The shards hold no video that has a transcript but no chapters. In its place: the judged videos of which the "
        f"model is least sure, of {looked_at}. They have their chapters; label others like them.{doubt}"
    )


_LABEL_HEADS = ["video", "shard", "length", "predicted chapters", "expected F1", "score"]


def _to_label(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "name": video["title"] or video["video_id"],
            "video_id": video["video_id"],
            "figures": [
                video["shard"] or "-",
                _clock(video["duration"]),
                f"{video['chapters']:,}",
                number(video["expected_f1"]),
                number(video["score"]),
            ],
        }
        for video in report["to_label"]["videos"]
    ]


def _bins(report: Report) -> list[dict[str, Any]]:
    """The bins of confidence, as words."""
    return [
        {**b, "between": f"{round(100 * b['low'])} to {share(b['high'])}", "right": share(b["right"])}
        for b in report["belief"]["reliability"]
    ]


def _in_cell(text: str) -> str:
    """`text` as it can stand in a Markdown table: no markup, no pipe, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#!])", r"\\\1", " ".join(text.split()))


def _markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def judged_videos(report: Report) -> str:
    """One line on what the figures stand on, and what was left out."""
    head = report["head"]
    shards = " of " + ", ".join(head["shards"]) if any(head["shards"]) else ""
    line = (
        f"{plural(head['videos'], 'video')} of {plural(head['channels'], 'channel')} ({number(head['hours'])} h), "
        f"the {report['split']} part{shards}; {number(head['mean_gold_chapters'])} gold chapters per video."
    )
    for key, what in (
        ("no_gold", "without a usable gold chapter"),
        ("not_in_gold", "with predictions but no gold list"),
        ("gold_without_rows", "with gold chapters but no row from any system"),
    ):
        if head[key]:
            line += f" Left out: {plural(head[key], 'video')} {what}."
    return line


def _slices_markdown(report: Report) -> list[str]:
    shown = shown_slices(report)
    if not shown:
        return []
    judged = judged_system(report)
    order = [judged, *(system for system in report["order"] if system != judged)]
    labels = [f"F1, {report['systems'][system]['label'].lower()}" for system in order]
    heads = ["slice", "videos", "channels", labels[0], "skill", *labels[1:]]
    lines = []
    for part in shown:
        f1 = [with_interval(part["systems"][system]["f1_all"]) for system in order]
        skill = with_interval(part["systems"][judged]["skill"], signed)
        lines.append([part["label"], f"{part['videos']:,}", f"{part['channels']:,}", f1[0], skill, *f1[1:]])
    return [_markdown_rows(heads, lines)]


def shown_slices(report: Report) -> list[dict[str, Any]]:
    """The slices worth showing: a division into one part says nothing new."""
    parts = [part["by"] for part in report["slices"]]
    return [part for part in report["slices"] if parts.count(part["by"]) > 1]


def judged_system(report: Report) -> str:
    """The finetuned model, or the last system where there is none."""
    return JUDGED if JUDGED in report["systems"] else report["order"][-1]


def plots(report: Report) -> dict[str, bytes]:
    """PNG pictures for places that show no HTML: `f1` (mean and interval per system), `chapter_counts`, `reliability`.

    The last only where the finetuned model is sure or unsure of its boundaries.
    """
    found = {"f1": _f1_plot(report), "chapter_counts": _counts_plot(report)}
    if report["belief"] and report["belief"]["boundaries"]:
        found["reliability"] = _reliability_plot(report)
    return found


_INK, _SOFT, _RULE, _ACCENT, _GREY = "#1d2126", "#5b6470", "#d9dde2", "#0b7263", "#8a94a0"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_RULE)
    axes.tick_params(colors=_SOFT, length=0)
    axes.grid(color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _f1_plot(report: Report) -> bytes:
    order = report["order"]
    figure, axes = _figure(7.5, 0.8 + 0.42 * len(order))
    for row, name in enumerate(order):
        f1 = report["systems"][name]["f1_all"]
        color = _ACCENT if name == JUDGED else _GREY
        if f1["low"] is not None:
            axes.plot([f1["low"], f1["high"]], [row, row], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
        axes.plot(f1["value"], row, "o", color=color, markersize=8)
        axes.annotate(
            number(f1["value"]), (f1["value"], row), (0, 8), textcoords="offset points", ha="center", color=_INK
        )
    axes.set_yticks(range(len(order)), [report["systems"][name]["label"] for name in order], color=_INK)
    axes.set_ylim(len(order) - 0.5, -0.7)
    axes.set_xlim(0, _axis_end(report))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"F1 (mean over {plural(report['head']['videos'], 'video')}, with 95 % interval)", color=_SOFT)
    return _png(figure)


def _counts_plot(report: Report) -> bytes:
    judged = judged_system(report)
    counts = chapter_counts(report, judged)
    figure, axes = _figure(5, 4.6)
    least, most = min(1, *map(min, counts)), max(map(max, counts))
    axes.plot([least, most + 1], [least, most + 1], color=_SOFT, linewidth=1, linestyle="--")
    gold, predicted = zip(*counts, strict=True)
    axes.scatter(gold, predicted, [24 * n for n in counts.values()], color=_ACCENT, alpha=0.6, linewidth=0)
    for set_scale in (axes.set_xscale, axes.set_yscale):
        set_scale("symlog", linthresh=1, base=2)
    ticks = _count_ticks(least, most)
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_yticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(least - 0.3, 1.3 * most + 1)
    axes.set_ylim(least - 0.3, 1.3 * most + 1)
    axes.set_xlabel("gold chapters of a video", color=_SOFT)
    axes.set_ylabel(f"predicted chapters ({report['systems'][judged]['label'].lower()})", color=_SOFT)
    return _png(figure)


def _reliability_plot(report: Report) -> bytes:
    figure, axes = _figure(5, 4.6)
    axes.plot([0, 100], [0, 100], color=_SOFT, linewidth=1, linestyle="--")
    for b in report["belief"]["reliability"]:
        at = 100 * b["confidence"], 100 * b["right"]
        axes.plot(*at, "o", color=_ACCENT, alpha=0.6, markersize=min(4 + math.sqrt(b["boundaries"]), 20), linewidth=0)
        axes.annotate(f"{b['boundaries']:,}", at, (0, 11), textcoords="offset points", ha="center", color=_INK)
    axes.set_xlim(-3, 103)
    axes.set_ylim(-3, 108)
    axes.set_xlabel("confidence of a boundary (%, mean of the bin)", color=_SOFT)
    axes.set_ylabel("right: a gold start within 5 s (%)", color=_SOFT)
    return _png(figure)


def _count_ticks(least: int, most: int) -> list[int]:
    """Powers of two from `least`, 0 or 1, to beyond `most`."""
    return [*([0] if least == 0 else []), *(2**power for power in range(1 + math.ceil(math.log2(max(most, 2)))))]


def _axis_end(report: Report) -> int:
    """The right end of the F1 axis: the next multiple of ten."""
    ends = [s["f1_all"]["high"] or s["f1_all"]["value"] for s in report["systems"].values()]
    return min(100, 10 * (int(max(ends) // 10) + 1))


def _html(report: Report, predictions: pa.Table, gold: Gold, about: Mapping[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chapter_assets", "evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shows = {show.__name__: _typeset(show) for show in (number, signed, share)}
    environment.filters |= {**shows, "typeset": _typeset(str)}
    environment.globals |= shows
    judged = judged_system(report)
    systems = [{"name": system, **report["systems"][system]} for system in report["order"]]
    return environment.get_template("report.html").render(
        report=report,
        name=str(about.get("finetune") or "a finetune"),
        facts=[(_fact_name(key), _fact(value)) for key, value in about.items() if key != "finetune"],
        basis=judged_videos(report),
        resamples=RESAMPLES,
        systems=systems,
        judged_first=sorted(systems, key=lambda system: system["name"] != judged),
        judged=judged,
        guess_label=report["systems"].get(report["best_guess"], {}).get("label"),
        control_label=LABELS[CONTROL],
        slices=shown_slices(report),
        least_channels=LEAST_CHANNELS,
        few_channels=FEW_CHANNELS,
        axis=_axis(report),
        details=_details(report),
        lines=_threshold_lines(report),
        counts=_counts_drawing(report, judged),
        belief=_belief_drawing(report),
        title_sentence=report["titles"] and title_sentence(report["titles"]),
        to_label=report["to_label"]
        and {"sentence": label_sentence(report), "heads": _LABEL_HEADS, "videos": _to_label(report)},
        timelines=_timelines(report, predictions, gold, judged),
        found_percent=round(100 * FOUND_IOU),
    )


def _typeset(show: Any) -> Any:
    """`show` with typographic signs: a minus as wide as a plus, a dash for nothing, no line break before %."""

    def shown(value: Any, *options: Any) -> str:
        text: str = show(value, *options)
        return "–" if text == "-" else re.sub(r"(?<!\w)-(?=\d)", "−", text.replace(" %", "\u00a0%"))

    return shown


def _fact_name(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(key).replace('_', ' ')} {_fact(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_fact, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _axis(report: Report) -> dict[str, Any]:
    end = _axis_end(report)
    step = 10 if end <= 60 else 20
    return {"end": end, "ticks": [(tick, 100 * tick / end) for tick in range(0, end + 1, step)]}


def _details(report: Report) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The figures behind the headline: (name, what it is, for each system the figure and its interval)."""
    systems = [report["systems"][name] for name in report["order"]]

    def row(name: str, what: str, key: str, show: Any = number) -> tuple[str, str, list[tuple[str, str]]]:
        return name, what, [(_typeset(show)(_value(system[key])), "") for system in systems]

    over = [with_interval(system["over_best_guess"], signed).rstrip(")").partition(" (") for system in systems]
    near = {"P": "predicted starts near a gold one", "R": "gold starts that were found"}
    return [
        ("F1 beyond the best guess", "paired difference", [(_typeset(str)(v), _typeset(str)(i)) for v, _, i in over]),
        row("F1, published", "without missing videos", "f1"),
        row("Precision", "", "precision_all"),
        row("Recall", "", "recall_all"),
        *(row(f"{side}@{d} s", near[side], f"{side}@{d}s_all") for d in metrics.DISTANCES for side in near),
        *(row(key.replace("f", "F"), "", f"{key}_all") for key in F1_AT),
        row("ROUGE-L of titles", "over paired chapters", "rougeL"),
        row("Repeated titles", "% of a list", "repeated_titles"),
        row("Chapters per video", f"gold {number(report['head']['mean_gold_chapters'])}", "mean_chapters"),
        row("Chapter count error", "mean absolute", "chapter_count_mae"),
        row("Repaired", "share of predictions", "repaired", share),
        row("Seconds per hour of video", "", "seconds_per_hour_of_video"),
    ]


def _value(figure: Any) -> Any:
    return figure["value"] if isinstance(figure, Mapping) else figure


_PLOT_WIDTH, _PLOT_HEIGHT = 400, 260  # in SVG units, one a pixel at full size


def _threshold_lines(report: Report) -> dict[str, Any]:
    """F1 at each IoU threshold as SVG polylines in a box of 400 x 260."""
    end = 10 * (1 + int(max(s[f"{F1_AT[0]}_all"]["value"] for s in report["systems"].values()) // 10))
    step = 10 if end <= 50 else 20
    across = [_PLOT_WIDTH * i / (len(F1_AT) - 1) for i in range(len(F1_AT))]
    drawn = []
    for name in report["order"]:
        values = [report["systems"][name][f"{key}_all"]["value"] for key in F1_AT]
        points = " ".join(f"{x:.1f},{_PLOT_HEIGHT * (1 - v / end):.1f}" for x, v in zip(across, values, strict=True))
        drawn.append({"name": name, "label": report["systems"][name]["label"], "points": points})
    return {
        "drawn": drawn,
        "x": [(key.removeprefix("f1@"), x) for key, x in list(zip(F1_AT, across, strict=True))[::2]],
        "y": [(tick, _PLOT_HEIGHT * (1 - tick / end)) for tick in range(0, end + 1, step)],
    }


def _counts_drawing(report: Report, judged: str) -> dict[str, Any]:
    """Gold against predicted chapter counts as circles in a box of 260 x 260, both axes logarithmic."""
    counts = chapter_counts(report, judged)
    least, most = min(1, *map(min, counts)), max(map(max, counts))

    def steps(count: int) -> float:
        return math.log2(count) + 1 - least if count else 0.0

    def along(count: int) -> float:
        return _PLOT_HEIGHT * steps(count) / steps(2 * most)

    few = sum(n for (gold, predicted), n in counts.items() if predicted < gold)
    many = sum(n for (gold, predicted), n in counts.items() if predicted > gold)
    return {
        "size": _PLOT_HEIGHT,
        "label": report["systems"][judged]["label"],
        "circles": [
            {
                "x": along(g),
                "y": _PLOT_HEIGHT - along(p),
                "r": min(3.5 * math.sqrt(n), 16),
                "gold": g,
                "predicted": p,
                "n": n,
            }
            for (g, p), n in sorted(counts.items())
        ],
        "ticks": [(tick, along(tick)) for tick in _count_ticks(least, most) if along(tick) <= _PLOT_HEIGHT],
        "few": few,
        "many": many,
        "same": counts.total() - few - many,
    }


def _belief_drawing(report: Report) -> dict[str, Any] | None:
    """Confidence against share that is right, as circles in a box of 260 x 260, with the bins as words."""
    if not report["belief"]:
        return None
    bins = [
        b
        | {"x": _PLOT_HEIGHT * raw["confidence"], "y": _PLOT_HEIGHT * (1 - raw["right"])}
        | {"r": min(3.5 * math.sqrt(raw["boundaries"]), 16)}
        for b, raw in zip(_bins(report), report["belief"]["reliability"], strict=True)
    ]
    ticks = [(tick, _PLOT_HEIGHT * tick / 100) for tick in range(0, 101, 20)]
    return {"size": _PLOT_HEIGHT, "bins": bins, "ticks": ticks, "sentences": belief_sentences(report["belief"])}


def _timelines(report: Report, predictions: pa.Table, gold: Gold, judged: str) -> list[dict[str, Any]]:
    """The pictured videos, worst F1 of the judged system first."""
    shown = pictured(report["videos"], judged)
    guess = report["best_guess"]
    names = [judged, *([guess] if guess not in (None, judged) else [])]
    wanted = pc.and_(
        pc.and_(
            pc.equal(predictions["split"], report["split"]),
            pc.is_in(predictions["video_id"], pa.array([v["video_id"] for v in shown], pa.string())),
        ),
        pc.is_in(predictions["system"], pa.array(names)),
    )
    rows = {
        (row["system"], row["video_id"]): predicted_chapters(row)
        for row in predictions.filter(wanted).select(["system", "video_id", "chapters"]).to_pylist()
    }
    drawn = []
    for video in shown:
        duration, chapters = gold[video["video_id"]]
        lists = [_row("Gold", chapters, duration)]
        for name in names:
            label = "Best guess" if name == guess else report["systems"][name]["label"]
            row = _row(label, rows.get((name, video["video_id"]), []), duration, chapters)
            lists.append({**row, "f1": video["f1"][name]})
        drawn.append(
            {
                "title": video["title"] or video["video_id"],
                "video_id": video["video_id"],
                "f1": video["f1"][judged],
                "length": _clock(duration),
                "rows": lists,
                "ticks": _time_ticks(duration),
            }
        )
    return drawn


def pictured(videos: Sequence[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """The videos to draw, worst F1 first: the worst `PICTURED` / 2, and as many spread evenly over the rest."""
    ranked = sorted(videos, key=lambda video: (video["f1"][system], video["video_id"]))
    if len(ranked) <= PICTURED:
        return ranked
    half = PICTURED // 2
    rest = ranked[half:]
    spread = [rest[round((i + 1) * len(rest) / half) - 1] for i in range(half)]
    return ranked[:half] + spread


def _row(
    label: str, chapters: Sequence[Chapter], duration: float, gold: Sequence[Chapter] | None = None
) -> dict[str, Any]:
    """One list as blocks in percent of the duration; `found` tells whether it overlaps a gold one by `FOUND_IOU`."""
    titles = metrics.usable(chapters, duration)[0]
    spans = metrics.segments([*titles], duration)
    found = [True] * len(titles)
    if gold is not None:
        truth = metrics.segments([*metrics.usable(gold, duration)[0]], duration)
        found = (metrics.iou_matrix(truth, spans).max(axis=0, initial=0.0) >= FOUND_IOU).tolist()
    return {
        "label": label,
        "gold": gold is None,
        "f1": None,
        "blocks": [
            {
                "title": title or "(no title)",
                "time": _clock(start),
                "left": 100 * start / duration,
                "width": 100 * (end - start) / duration,
                "found": hit,
            }
            for (start, end), title, hit in zip(spans.tolist(), titles.values(), found, strict=True)
        ],
    }


def _clock(seconds: float) -> str:
    """`M:SS` or `H:MM:SS`."""
    return format_time(seconds).removeprefix("00:").removeprefix("0")


def _time_ticks(duration: float) -> list[tuple[str, float]]:
    """Round times for an axis, and where they are in percent."""
    step = next(
        (s for s in _TICK_STEPS if duration / s <= _MOST_TICKS), math.ceil(duration / 3600 / _MOST_TICKS) * 3600
    )
    return [(_clock(tick), 100 * tick / duration) for tick in range(0, math.ceil(duration), step)]
