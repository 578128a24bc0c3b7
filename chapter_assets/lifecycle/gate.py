"""The gate: whether a finetune may serve, by paired evidence on the gate videos, and the record of its looks at them.

Every look at the same videos is another chance for a finetune that is no better to seem so. So the chance of 5 % in a
year (`gate_alpha`) is shared out: each look gets an equal part of it, and when the parts of 365 days are spent, nothing
more is judged until the oldest is a year old. Whatever the looks have to do with each other, the chance that any of
them is wrong is at most the sum of the parts (Bonferroni's inequality; spending it: Lan and DeMets 1983). The parts are
equal, since nobody knows beforehand which finetune will be the good one.

The other questions (not worse by a margin) need no part of it: all of them have to be answered well, which no single
chance can bring about (intersection-union test: Berger 1982).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chapter_assets.chapters.chapterlist import problems
from chapter_assets.chapters.metrics import score_video, usable
from chapter_assets.errors import StoreError
from chapter_assets.evaluation.bootstrap import lower_bound
from chapter_assets.evaluation.table import (
    ANCHOR,
    CHAMPION,
    CONTROL,
    JUDGED,
    Gold,
    duration_label,
    number,
    plural,
    predicted_chapters,
    signed,
)
from chapter_assets.lifecycle.champion import Pinned
from chapter_assets.settings import Settings
from chapter_assets.store import Journal, Store

YEAR = timedelta(days=365)
RULES = (
    *("gate_alpha", "gate_looks_per_year", "gate_margin_f1", "gate_margin_soda", "gate_budget_f1", "gate_budget_soda"),
    *("gate_margin_level", "gate_least_channels"),
)
"""The settings that a decision depends on."""
_NAMED = 3  # failures told one by one in a reason

Question = Literal["better", "not worse", "within the budget"]
Score = Literal["F1", "SODA_c rougeL"]
_SCORES: tuple[Score, ...] = ("F1", "SODA_c rougeL")


@dataclass(frozen=True, slots=True)
class GateVideo:
    """One gate video, `duration` in s; `scores` (0 to 100) by system: the finetuned one, and whom it is judged against.

    `missing`: the finetuned one has no list for it, which scores 0; `invalid`: it has one that is not in order.
    """

    video_id: str
    channel: str
    source: str
    duration: float
    domain: Literal["public", "feedback"]
    scores: Mapping[str, Mapping[Score, float]]
    missing: bool = False
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """One judgement that spent a part of the year's chance (`level`, 0 to 1); `look` names what was looked at."""

    look: str
    finetune: str
    at: datetime
    level: float
    promoted: bool

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """From a line of the journal; KeyError, TypeError or ValueError when it is something else."""
        fields = {name: value[name] for name in cls.__slots__}
        return cls(**fields | {"at": datetime.fromisoformat(value["at"])})


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question to the videos: the mean difference in `score` to the system `against`, and a bound under it.

    `passed` when `bound`, which holds but for a chance of `level`, is above `margin` below zero (at it, for a loss of
    nothing); None: reported and not judged. `bound` is None with too few channels for any.
    """

    question: Question
    score: Score
    on: str
    against: str
    estimate: float | None
    bound: float | None
    level: float
    margin: float
    videos: int
    channels: int
    passed: bool | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the finetune may serve, why in plain words, and every number that it rests on.

    `level`: the part of the year's chance that was spent; None when nothing was looked at.
    """

    promoted: bool
    reason: str
    level: float | None = None
    comparisons: tuple[Comparison, ...] = ()
    missing: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)

    @property
    def regressions(self) -> list[Comparison]:
        """The comparisons that leave room for a loss of more than a margin."""
        return [c for c in self.comparisons if c.passed is False and c.question != "better"]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """From what `asdict` made of one."""
        return cls(**dict(value) | {"comparisons": tuple(Comparison(**c) for c in value["comparisons"])})


def judge(
    videos: Sequence[GateVideo],
    against: Mapping[str, str],
    settings: Settings,
    looks: Sequence[Look],
    look: str,
    at: datetime,
) -> Decision:
    """Decide on the finetune whose scores are in `videos`, one of each video; changes nothing.

    `against`: the finetunes of the champion and, where it is another, of the anchor, by system name; without a champion
    the text-free control is to be beaten. `looks`: the record so far; `look`: the name of this one, which spends
    nothing when it is in the record; `at`: now.
    """
    missing = sorted(video.video_id for video in videos if video.missing)
    invalid = sorted(video.video_id for video in videos if video.invalid)
    level = level_left(looks, look, at, settings)
    primary = _primary(videos, CHAMPION if CHAMPION in against else CONTROL, settings, level)
    looked = primary.bound is not None and level is not None and not missing and not invalid
    if not looked:
        primary = replace(primary, passed=None)
    comparisons = (primary, *_not_worse(videos, against, settings))

    kept = [
        *([f"{plural(len(missing), 'video')} without a prediction ({', '.join(missing[:_NAMED])})"] if missing else []),
        *([f"{plural(len(invalid), 'list')} that break the rules ({', '.join(invalid[:_NAMED])})"] if invalid else []),
        *([_no_level(looks, at, settings)] if level is None else []),
        *([_too_few(primary)] if primary.bound is None else []),
    ]
    failed = [_failure(c, against) for c in comparisons if c.passed is False]
    kept += failed[:_NAMED]
    if len(failed) > _NAMED:
        kept.append(f"and {len(failed) - _NAMED} more like that")
    reason = f"Kept: {'; '.join(kept)}." if kept else _success(primary, against)
    return Decision(not kept, reason, level if looked else None, comparisons, missing, invalid)


def level_left(looks: Sequence[Look], look: str, at: datetime, settings: Settings) -> float | None:
    """The level (0 to 1) for this look: what it was given before, else a year's part; None when they are spent.

    The levels given within any 365 days sum to `gate_alpha` at most, also when the settings change in between.
    """
    given = [earlier.level for earlier in looks if earlier.look == look]
    return given[0] if given else _part(settings) if _fits(looks, at, settings) else None


def _part(settings: Settings) -> float:
    return settings.gate_alpha / settings.gate_looks_per_year


def _fits(looks: Sequence[Look], at: datetime, settings: Settings) -> bool:
    spent = sum(earlier.level for earlier in looks if at - earlier.at < YEAR)
    return spent + _part(settings) <= settings.gate_alpha * (1 + 1e-9)  # twenty twentieths are not quite one


def _no_level(looks: Sequence[Look], at: datetime, settings: Settings) -> str:
    recent = sorted(earlier.at + YEAR for earlier in looks if at - earlier.at < YEAR)
    until = next(free for free in recent if _fits(looks, free, settings))
    return (
        f"no level is left until {until:%Y-%m-%d}, since {plural(len(recent), 'look')} within 365 days have spent "
        f"{_percent(settings.gate_alpha)}; until then only a person can promote"
    )


def _primary(videos: Sequence[GateVideo], against: str, settings: Settings, level: float | None) -> Comparison:
    """F1 on the videos from feedback if they have channels enough, else on the public ones."""
    feedback = [video for video in videos if video.domain == "feedback"]
    on, chosen = "the gate videos from feedback", feedback
    if len({video.channel for video in feedback}) < settings.gate_least_channels:
        on, chosen = _public(videos)
    return _compare("better", "F1", on, chosen, against, _part(settings) if level is None else level, 0.0)


def _public(videos: Sequence[GateVideo]) -> tuple[str, list[GateVideo]]:
    return "the public gate set", [video for video in videos if video.domain == "public"]


def _not_worse(videos: Sequence[GateVideo], against: Mapping[str, str], settings: Settings) -> Iterator[Comparison]:
    """Champion and anchor, on the public set and on each slice, in F1 and in titles."""
    public, *slices = _public(videos), *_slices(videos)
    asked: tuple[tuple[str, Question, tuple[float, float]], ...] = (
        (CHAMPION, "not worse", (settings.gate_margin_f1, settings.gate_margin_soda)),
        (ANCHOR, "within the budget", (settings.gate_budget_f1, settings.gate_budget_soda)),
    )
    for system, question, margins in asked:
        for on, chosen in (public, *slices) if system in against else ():
            for score, margin in zip(_SCORES, margins, strict=True):
                found = _compare(question, score, on, chosen, system, settings.gate_margin_level, margin)
                judged = on == public[0] or found.channels >= settings.gate_least_channels
                yield found if judged else replace(found, passed=None)


def _slices(videos: Sequence[GateVideo]) -> Iterator[tuple[str, list[GateVideo]]]:
    """The videos by duration, shortest first, and by source; not a slice that holds them all."""
    by_duration: dict[str, list[GateVideo]] = {}
    by_source: dict[str, list[GateVideo]] = {}
    for video in sorted(videos, key=lambda v: v.duration):
        by_duration.setdefault(f"videos {duration_label(video.duration)}", []).append(video)
        by_source.setdefault(f"videos from {video.source}", []).append(video)
    for on, chosen in (*by_duration.items(), *sorted(by_source.items())):
        if len(chosen) < len(videos):
            yield on, chosen


def _compare(
    question: Question,
    score: Score,
    on: str,
    videos: Sequence[GateVideo],
    against: str,
    level: float,
    margin: float,
) -> Comparison:
    differences = [video.scores[JUDGED][score] - video.scores[against][score] for video in videos]
    channels = [video.channel for video in videos]
    bound = lower_bound(differences, channels, level)
    return Comparison(
        question,
        score,
        on,
        against,
        float(np.mean(differences)) if differences else None,
        bound,
        level,
        margin,
        len(videos),
        len(set(channels)),
        bound is not None and bound > -margin,
    )


def _named(comparison: Comparison, against: Mapping[str, str]) -> str:
    finetune = against.get(comparison.against)
    return f"the {comparison.against} {finetune}" if finetune else "the text-free control"


def _numbers(comparison: Comparison) -> str:
    return (
        f"{signed(comparison.estimate)} {comparison.score}, lower bound {signed(comparison.bound)} at level "
        f"{_percent(comparison.level)}, {plural(comparison.videos, 'video')} of "
        f"{plural(comparison.channels, 'channel')}"
    )


def _too_few(comparison: Comparison) -> str:
    return (
        f"{plural(comparison.channels, 'channel')} in {comparison.on} cannot show anything at level "
        f"{_percent(comparison.level)}"
    )


def _failure(comparison: Comparison, against: Mapping[str, str]) -> str:
    whom = _named(comparison, against)
    if comparison.question == "better":
        return f"it is not shown to be better than {whom} on {comparison.on} ({_numbers(comparison)})"
    return (
        f"it may lose more than {number(comparison.margin)} {comparison.score} to {whom} on {comparison.on} "
        f"({_numbers(comparison)})"
    )


def _success(primary: Comparison, against: Mapping[str, str]) -> str:
    rest = ", and nowhere worse by more than the margins" if against else ""
    return f"Promoted: better than {_named(primary, against)} on {primary.on} ({_numbers(primary)}){rest}."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def decision_markdown(decision: Decision, against: Mapping[str, str]) -> str:
    """The reason, and every comparison with what it asks for, as Markdown."""
    heads = ["question", "score", "on", "against", "difference", "lower bound", "must be above", "level"]
    lines = [[*heads, "videos", "channels", "answer"], [*["---"] * 4, *["---:"] * 6, "---"]]
    for c in decision.comparisons:
        lines.append(
            [
                *(c.question, c.score, c.on.replace("|", "\\|"), _named(c, against)),
                *(signed(c.estimate), signed(c.bound), signed(-c.margin), _percent(c.level)),
                *(f"{c.videos:,}", f"{c.channels:,}"),
                "not judged" if c.passed is None else "yes" if c.passed else "**no**",
            ]
        )
    return "\n\n".join([decision.reason, "\n".join(f"| {' | '.join(line)} |" for line in lines)])


def gate_videos(
    predictions: pa.Table, gold: Gold, against: Mapping[str, Pinned], feedback: frozenset[str]
) -> list[GateVideo]:
    """What `judge` needs to know of every gate video with usable gold chapters.

    `predictions`: the columns in `PREDICTIONS`; `gold`: video id -> (duration s, chapters); `feedback`: the ids of the
    videos whose gold came from users. Raises StoreError when champion, anchor or control lack a video.
    """
    rows: dict[str, dict[str, Any]] = {}
    for row in predictions.filter(pc.field("split") == "gate").to_pylist():
        rows.setdefault(row["system"], {})[row["video_id"]] = row
    opponents = tuple(against) or (CONTROL,)
    found = []
    for video_id, (duration, chapters) in sorted(gold.items()):
        if not usable(chapters, duration)[0]:
            continue
        lists = {s: predicted_chapters(rows.get(s, {}).get(video_id, {"chapters": ()})) for s in (JUDGED, *opponents)}
        if lacking := [system for system in opponents if not lists[system]]:
            raise StoreError(
                f"There is no list of the {lacking[0]} for the gate video {video_id}",
                "Materialize chapter_predictions of this finetune again",
            )
        scores = {system: score_video(chapters, predicted, duration) for system, predicted in lists.items()}
        row = rows[opponents[0]][video_id]
        found.append(
            GateVideo(
                video_id,
                row["channel"],
                row["shard"],
                duration,
                "feedback" if video_id in feedback else "public",
                {s: {"F1": figures["f1"], "SODA_c rougeL": figures["soda_c_rougeL"]} for s, figures in scores.items()},
                missing=not lists[JUDGED],
                invalid=bool(lists[JUDGED] and problems(lists[JUDGED], duration)),
            )
        )
    return found


def take_look(
    store: Store, finetune: str, look: str, videos: Sequence[GateVideo], against: Mapping[str, str], settings: Settings
) -> Decision:
    """`judge`, and write down the look if it was one; taken again under the same name it is the same look.

    Raises StoreError when the record (`<store>/gate/looks.jsonl`) is damaged.
    """
    journal = Journal(store.root / "gate" / "looks.jsonl")
    at = datetime.now(UTC)
    with journal.lock():
        looks = read_looks(journal)
        decision = judge(videos, against, settings, looks, look, at)
        if decision.level is not None and all(earlier.look != look for earlier in looks):
            taken = Look(look, finetune, at, decision.level, decision.promoted)
            journal.append(asdict(taken) | {"at": at.isoformat(timespec="seconds")})
    return decision


def read_looks(journal: Journal) -> list[Look]:
    """Every look, oldest first; StoreError when a line is damaged."""
    looks = []
    for number_, line in enumerate(journal.read(), start=1):
        try:
            looks.append(Look.of(line))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"Line {number_} of {journal.path} is no look of the gate: {error!r}", "Mend or delete that line"
            ) from error
    return looks
