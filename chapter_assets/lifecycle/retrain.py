"""When the next finetune starts: which feedback is pending, and what one tick of the sensor does about it.

Everything is decided from what is there now; nothing is remembered between ticks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from chapter_assets.lifecycle import finetunes as states
from chapter_assets.lifecycle.finetunes import IN_PROGRESS, Evidence, Finetune, OvertakenError
from chapter_assets.store import Store

_ANSWERED_WITHIN = timedelta(minutes=5)  # a tick has 60 s; a claim without a run is asked for again after this

RunStatus = Literal["none", "in_progress", "succeeded", "failed"]
Phase = Literal["completed", "in_progress", "unstarted", "failed", "abandoned", "resting"]


@dataclass(frozen=True)
class Batch:
    """A feedback batch that is registered and whose windows are materialized."""

    key: str
    version: str
    edits: int


@dataclass(frozen=True)
class Run:
    """What Dagster knows of the runs of a finetune's current attempt; `why` it failed, if it did."""

    status: RunStatus
    why: str = ""


@dataclass(frozen=True)
class Limits:
    """From how much feedback on a finetune starts, how often it is tried, how many hours of silence mean death."""

    min_edits: int
    min_batches: int
    max_attempts: int
    most_hours: float


@dataclass(frozen=True)
class View:
    """What a tick looks at. `unreadable`: batches whose windows are there and cannot be read now."""

    batches: Sequence[Batch]
    finetunes: Sequence[Finetune]
    runs: Mapping[str, Run]
    base_model: str
    recipe: str
    unreadable: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Launch:
    """Claim this evidence, unless a finetune is no longer as it was seen, and ask for the run of the new finetune."""

    evidence: Evidence
    seen: Sequence[Finetune]
    reason: str


@dataclass(frozen=True)
class Retry:
    """Claim a failed finetune again, and ask for the run of its next attempt."""

    finetune: Finetune
    reason: str


@dataclass(frozen=True)
class AskAgain:
    """Ask for the run of a claim that has none: the tick that claimed died before its answer."""

    finetune: Finetune
    reason: str


@dataclass(frozen=True)
class Abandon:
    """Give a failed finetune up; a person is told."""

    finetune: Finetune
    reason: str


@dataclass(frozen=True)
class Skip:
    """Start nothing, and say why."""

    reason: str


Decision = Launch | Retry | AskAgain | Abandon | Skip


@dataclass(frozen=True)
class Asked:
    """The run that a tick asks Dagster for."""

    finetune: str
    attempt: int
    run_key: str
    reason: str


class Judged(NamedTuple):
    """Where a finetune really stands, and why."""

    phase: Phase
    why: str


def run_key(evidence: Evidence, attempt: int) -> str:
    """What Dagster knows an attempt by; it starts one run for it, ever."""
    return f"{evidence.hash}-{attempt}"


def judge(finetune: Finetune, run: Run, limits: Limits, now: datetime) -> Judged:
    """Where a finetune stands, from its state, its runs and its last sign of life.

    `resting` is what was started by hand and goes on only by hand: it holds nothing and blocks nothing. A sign of life
    that lies in the future counts as one that is as old: clocks jump.
    """
    if finetune.state in ("promoted", "kept"):
        return Judged("completed", finetune.reason)
    if finetune.state == "abandoned":
        return Judged("abandoned", finetune.reason)
    if finetune.state == "failed":
        if finetune.by_hand:
            return Judged("resting", finetune.reason)
        left = finetune.attempt - finetune.forgiven < limits.max_attempts
        return Judged("failed" if left else "abandoned", finetune.reason)
    silent = abs(now - finetune.heartbeat)
    match run.status:
        case "failed":
            return Judged("failed", run.why or "its run failed")
        case "succeeded" if finetune.state == "evaluated":
            return Judged("completed", "evaluated")
        case "succeeded" if finetune.by_hand:
            return Judged("resting", f"only {finetune.state}")
        case "succeeded":
            return Judged("failed", f"its run ended well, but it is only {finetune.state}")
        case "none" if finetune.state == "claimed":
            return Judged("unstarted", f"claimed {silent.total_seconds():.0f} s ago, its run is being started")
        case "none":
            return Judged("failed", "its run was deleted")
    if silent > timedelta(hours=limits.most_hours):
        return Judged("failed", f"no sign of life for {silent.total_seconds() / 3600:.0f} h")
    return Judged("in_progress", f"{finetune.state}, attempt {finetune.attempt}")


def pending(batches: Iterable[Batch], judged: Sequence[tuple[Finetune, Phase]]) -> list[Batch]:
    """The batches that no finetune consumed or is about to; an abandoned one's come back together with a new batch."""
    held = {
        batch
        for finetune, phase in judged
        if phase in ("completed", "in_progress", "unstarted", "failed")
        for batch in finetune.evidence.batches
    }
    given_up = {b for finetune, phase in judged if phase == "abandoned" for b in finetune.evidence.batches} - held
    free = [batch for batch in batches if (batch.key, batch.version) not in held]
    return free if any((batch.key, batch.version) not in given_up for batch in free) else []


def decide(view: View, limits: Limits, now: datetime) -> Decision:
    """What one tick does; at most one thing."""
    judged = {f.key: judge(f, view.runs.get(f.key, Run("none")), limits, now) for f in view.finetunes}
    by_phase: dict[Phase, list[Finetune]] = {}
    for finetune in view.finetunes:
        by_phase.setdefault(judged[finetune.key].phase, []).append(finetune)
    failed = [f for f in by_phase.get("failed", ()) if f.state == "failed"]

    for finetune in by_phase.get("abandoned", ()):
        if finetune.state == "failed":
            return Abandon(finetune, f"failed {finetune.attempt} times, at last: {finetune.reason}")
    for finetune in failed:
        if gone := _gone(finetune, view):
            return Abandon(finetune, f"{gone} was made again or taken away before the set was frozen")

    ready = pending(view.batches, [(f, judged[f.key].phase) for f in view.finetunes])
    edits = sum(batch.edits for batch in ready)
    numbers = f"{len(ready)} of {limits.min_batches} batches, {edits} of {limits.min_edits} edits pending"
    for finetune in view.finetunes:
        if judged[finetune.key].phase == "in_progress":
            return Skip(f"{finetune.key} is in progress ({judged[finetune.key].why}); {numbers}")
        if judged[finetune.key].phase == "failed" and finetune.state != "failed":
            return Skip(f"{finetune.key} has just failed: {judged[finetune.key].why}; {numbers}")
    for finetune in by_phase.get("unstarted", ()):
        if abs(now - finetune.heartbeat) <= _ANSWERED_WITHIN:
            return Skip(f"{finetune.key} was {judged[finetune.key].why}; {numbers}")
        return AskAgain(finetune, f"claimed at {finetune.heartbeat:%Y-%m-%d %H:%M} UTC, but it has no run")
    for finetune in failed:
        anew = finetune.forgiven == finetune.attempt
        said = "given attempts anew" if anew else f"attempt {finetune.attempt} failed"
        return Retry(finetune, f"{said}: {finetune.reason}")
    if ready and (edits >= limits.min_edits or len(ready) >= limits.min_batches):
        batches = tuple(sorted((batch.key, batch.version) for batch in ready))
        evidence = Evidence(batches=batches, base_model=view.base_model, recipe=view.recipe)
        return Launch(evidence, view.finetunes, numbers)
    return Skip(numbers + _asides(view, by_phase.get("abandoned", ())))


def _gone(finetune: Finetune, view: View) -> str:
    """The first batch that an unfrozen claim can no longer get in the version it claimed, else ''."""
    if finetune.frozen:
        return ""
    now = {(batch.key, batch.version) for batch in view.batches}
    lost = (key for key, version in finetune.evidence.batches if (key, version) not in now)
    return next((key for key in lost if key not in view.unreadable), "")


def _asides(view: View, abandoned: Sequence[Finetune]) -> str:
    current = {(batch.key, batch.version) for batch in view.batches}
    waiting = [f.key for f in abandoned if current & set(f.evidence.batches)]
    told = f"; abandoned: {', '.join(waiting)} (`chapter-assets retry`)" if waiting else ""
    return told + (f"; cannot be read: {', '.join(view.unreadable)}" if view.unreadable else "")


def settle(
    store: Store, finetunes: Iterable[Finetune], runs: Mapping[str, Run], limits: Limits, now: datetime
) -> list[Finetune]:
    """Write down which finetunes in progress have failed, as their runs say; returns those."""
    failed = []
    for finetune in finetunes:
        judged = judge(finetune, runs.get(finetune.key, Run("none")), limits, now)
        if finetune.state in IN_PROGRESS and judged.phase == "failed":
            try:
                failed.append(states.move(store, finetune, "failed", judged.why, now))
            except OvertakenError:
                continue  # it was alive after all, or somebody else wrote it down
    return failed


def carry_out(store: Store, decision: Decision, keys: Iterable[str], now: datetime) -> Asked | Skip:
    """Do what was decided: claim, claim again, or give up; returns the run to ask for, or why there is none.

    `keys` are the registered finetunes. Of two ticks that decided the same, one claims and the other skips.
    """
    try:
        match decision:
            case Launch(evidence, seen, reason):
                finetune = states.claim(store, evidence, seen, keys, reason, now)
            case Retry(finetune, reason):
                finetune = states.move(store, finetune, "claimed", reason, now)
            case AskAgain(finetune, _):
                finetune = states.renew(store, finetune, now)
            case Abandon(finetune, reason):
                states.move(store, finetune, "abandoned", reason, now)
                return Skip(
                    f"{finetune.key} is abandoned: {reason}. Its feedback comes back with the next new batch, or find "
                    f"out why and say `chapter-assets retry {finetune.key} --why …`"
                )
            case Skip():
                return decision
    except OvertakenError as error:
        return Skip(f"Another tick was faster: {error.problem}")
    return Asked(finetune.key, finetune.attempt, run_key(finetune.evidence, finetune.attempt), decision.reason)
