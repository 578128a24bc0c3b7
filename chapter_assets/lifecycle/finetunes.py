"""What became of each finetune: one file each in the store, moved from state to state, never guessed.

`<store>/lifecycle/finetunes/ft-0007.json` is the state. `<store>/lifecycle/evidence/<hash>.json` is the claim of a
finetune that started by itself: its atomic create takes the evidence and, under a lock, the number. The state is made
from the claim; where the claimer was killed in between, whoever looks next makes it.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from chapter_assets.errors import InputError, StoreError
from chapter_assets.store import Store, canonical_json, check_partition_key, content_hash, write_json

State = Literal[
    "claimed", "set_frozen", "trained", "served_checked", "evaluated", "kept", "promoted", "failed", "abandoned"
]
IN_PROGRESS: tuple[State, ...] = ("claimed", "set_frozen", "trained", "served_checked", "evaluated")
_ORDER: tuple[State, ...] = (*IN_PROGRESS, "kept", "promoted")
_NEXT: dict[State, tuple[State, ...]] = {
    "claimed": ("set_frozen", "failed"),
    "set_frozen": ("trained", "failed"),
    "trained": ("served_checked", "evaluated", "failed"),
    "served_checked": ("evaluated", "failed"),
    "evaluated": ("kept", "promoted", "failed"),
    "kept": ("promoted",),  # by a person's hand
    "promoted": (),
    "failed": ("claimed", "abandoned", "failed"),  # the last: given attempts anew
    "abandoned": ("claimed", "failed"),  # taken up by hand; given attempts anew
}
_MADE_BY: dict[State, str] = {
    "set_frozen": "training_set",
    "trained": "lora_adapter",
    "served_checked": "served_model",
    "evaluated": "eval_report",
}
_SECONDS_BETWEEN_BEATS = 60.0


class OvertakenError(StoreError):
    """Somebody else claimed the evidence, or moved the finetune on, since it was looked at."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(_Record):
    """What a finetune consumes: sorted (feedback batch, data version), the hashes of base model and recipe."""

    batches: tuple[tuple[str, str], ...]
    base_model: str
    recipe: str

    @property
    def hash(self) -> str:
        """sha256 that names this evidence."""
        return content_hash([self.batches, self.base_model, self.recipe])


class Transition(_Record):
    """One step of a finetune's history."""

    at: datetime
    state: State
    attempt: int
    run: str | None
    reason: str


class Finetune(_Record):
    """The state of one finetune.

    `attempt` counts from 1; `forgiven` of them do not count, since a person gave it new ones. `runs` are the Dagster
    runs that moved this attempt on. `by_hand`: nobody claimed it, its evidence is what its manifest holds. Times are
    UTC; `heartbeat` is the last sign of life.
    """

    schema_version: Literal[1] = 1
    key: str
    state: State
    attempt: int
    forgiven: int = 0
    by_hand: bool
    evidence: Evidence
    runs: tuple[str, ...] = ()
    heartbeat: datetime
    history: tuple[Transition, ...]

    @property
    def frozen(self) -> bool:
        """Whether any attempt froze the training set."""
        return any(step.state == "set_frozen" for step in self.history)

    @property
    def reason(self) -> str:
        """Why it is in its state."""
        return self.history[-1].reason

    def to(self, state: State, now: datetime, reason: str, run: str | None = None) -> "Finetune":
        """This finetune one step on; InputError when no step leads there."""
        if state not in _NEXT[self.state]:
            raise InputError(
                f"{self.key} cannot go from {self.state} to {state}",
                f"From there it can become {' or '.join(_NEXT[self.state]) or 'nothing else'}",
            )
        attempt = self.attempt + (state == "claimed")
        return self.model_copy(
            update={
                "state": state,
                "attempt": attempt,
                "runs": () if state == "claimed" else self.runs,
                "heartbeat": now,
                "history": (
                    *self.history,
                    Transition(at=now, state=state, attempt=attempt, run=run, reason=reason),
                ),
            }
        )


class _Claim(_Record):
    schema_version: Literal[1] = 1
    key: str
    evidence: Evidence
    at: datetime
    reason: str

    def state(self) -> Finetune:
        first = Transition(at=self.at, state="claimed", attempt=1, run=None, reason=self.reason)
        return Finetune(
            key=self.key,
            state="claimed",
            attempt=1,
            by_hand=False,
            evidence=self.evidence,
            heartbeat=self.at,
            history=(first,),
        )


def next_key(keys: Iterable[str]) -> str:
    """The first number above all of `keys`, as `ft-0007`; keys that are no numbers do not count."""
    numbers = [int(key[3:]) for key in keys if key.startswith("ft-") and key[3:].isdecimal()]
    return f"ft-{max(numbers, default=0) + 1:04d}"


def read_all(store: Store) -> list[Finetune]:
    """Every finetune's state, by key; makes the state of a claim whose claimer was killed. StoreError when damaged."""
    _finish_claims(store)
    return [_read_state(path) for path in sorted(_states(store).glob("*.json"))]


def find(store: Store, key: str) -> Finetune | None:
    """The state of one finetune, None when it has none; StoreError when it is damaged."""
    with contextlib.suppress(StoreError):  # another one's claim: `read_all` names it
        _finish_claims(store)
    path = _states(store) / f"{check_partition_key(key)}.json"
    return _read_state(path) if path.exists() else None


def feedback_in(manifest: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The sorted (feedback batch, data version) that a training set's manifest holds."""
    return tuple(sorted((batch["key"], batch["feedback_windows"]) for batch in manifest.get("feedback", ())))


def claim(
    store: Store, evidence: Evidence, seen: Sequence[Finetune], keys: Iterable[str], reason: str, now: datetime
) -> Finetune:
    """A new finetune of `evidence`, numbered above `keys` and all that the store knows.

    Raises OvertakenError when the evidence was claimed before, or when the finetunes are no longer as they were
    `seen`: another evidence may hold some of the same batches.
    """
    with _locked(store):
        finetunes = read_all(store)
        if finetunes != list(seen):
            raise OvertakenError("A finetune was claimed or moved on in the meantime", "Look at them again")
        known = {finetune.key for finetune in finetunes} | set(store.partitions("training_set"))
        taken = _Claim(key=next_key({*known, *keys}), evidence=evidence, at=now, reason=reason)
        path = _claims(store) / f"{evidence.hash}.json"
        if not _create(path, taken):
            raise OvertakenError(f"{_read_claim(path).key} has claimed this evidence", "Nothing is to be done")
        _create(_states(store) / f"{taken.key}.json", taken.state())
        return taken.state()


def move(store: Store, before: Finetune, state: State, reason: str, now: datetime) -> Finetune:
    """Move a finetune on that is still as it was read, `before`; else OvertakenError, and nothing is changed."""
    with _locked(store):
        return _write(store, _unchanged(store, before).to(state, now, reason))


def renew(store: Store, before: Finetune, now: datetime) -> Finetune:
    """Give a finetune that is still as it was read a new sign of life; else OvertakenError."""
    with _locked(store):
        return _write(store, _unchanged(store, before).model_copy(update={"heartbeat": now}))


def advance(store: Store, key: str, state: State, run: str, reason: str = "", now: datetime | None = None) -> Finetune:
    """Write down that `run` brought a finetune to `state`; called by the asset that made it so.

    What was passed before is a sign of life and no step back. A finetune that nobody claimed gets its state here. One
    that had failed or was abandoned is taken up again as a new attempt, from where its artifacts in the store are.
    Raises InputError when a step in between was never made, StoreError when a frozen set does not hold the claim.
    """
    now = now or datetime.now(UTC)
    with _locked(store):
        finetune = find(store, key) or _started_by_hand(store, key, run, now)
        if finetune.state in ("failed", "abandoned"):
            finetune = finetune.to("claimed", now, f"taken up by run {run[:8]}", run)
        steps = _ORDER[_ORDER.index(finetune.state) + 1 : _ORDER.index(state) + 1]
        for step in steps:
            made_before = step in _MADE_BY and store.exists(_MADE_BY[step], key)
            if step == state or made_before:
                if step == "set_frozen":
                    check_claim(store, key, store.details("training_set", key).get("manifest", {}))
                finetune = finetune.to(step, now, reason if step == state else "made before", run)
        if not steps and finetune.state not in IN_PROGRESS:
            return finetune
        runs = dict.fromkeys((*finetune.runs, run))
        return _write(store, finetune.model_copy(update={"runs": tuple(runs), "heartbeat": now}))


def feedback_for(store: Store, key: str, ready: Iterable[str]) -> list[str] | None:
    """The feedback batches that a claimed finetune learns from; None when nobody claimed it.

    Those that it claimed, and of the batches that are `ready` all that others were evaluated with before: it starts
    from the base model.
    """
    finetune = find(store, key)
    if finetune is None or finetune.by_hand:
        return None
    done = [f for f in read_all(store) if f.state in ("evaluated", "kept", "promoted")]
    learned = {batch for f in done for batch, _ in f.evidence.batches}
    return sorted(dict(finetune.evidence.batches).keys() | (learned & set(ready)))


def check_claim(store: Store, key: str, manifest: dict[str, Any]) -> None:
    """Refuse a training set of a claimed finetune that does not hold the feedback that was claimed; else StoreError."""
    finetune = find(store, key)
    if finetune is None or finetune.by_hand:
        return
    if missing := set(finetune.evidence.batches) - set(feedback_in(manifest)):
        lacks = ", ".join(f"{batch} at {version[:12]}" for batch, version in sorted(missing))
        raise StoreError(
            f"The training set of {key} is not what it claimed: it lacks {lacks}",
            "What was claimed is tried again by itself; use another finetune key for a set of your own",
        )


def give_attempts(store: Store, key: str, why: str, now: datetime) -> Finetune:
    """Give an abandoned (or failed) finetune its attempts anew: a person found out why it failed, and says so."""
    if not why.strip():
        raise InputError("Attempts anew need a reason", 'Say what was mended, e.g. --why "more memory"')
    with _locked(store):
        finetune = find(store, key)
        if finetune is None or finetune.by_hand or finetune.state not in ("failed", "abandoned"):
            found = "unknown" if finetune is None else f"{finetune.state}{', started by hand' * finetune.by_hand}"
            raise InputError(
                f"{key} is {found}: only a failed or abandoned finetune that started by itself can be tried again",
                "`chapter-assets finetunes` lists them; run one that was started by hand again by hand",
            )
        return _write(store, finetune.to("failed", now, why).model_copy(update={"forgiven": finetune.attempt}))


def beating(store: Store, key: str, note: Callable[[str], None]) -> Callable[[str], None]:
    """`note`, which also writes down that the finetune is alive, at most once a minute."""
    last = -_SECONDS_BETWEEN_BEATS

    def note_and_beat(message: str) -> None:
        nonlocal last
        note(message)
        if time.monotonic() - last >= _SECONDS_BETWEEN_BEATS:
            last = time.monotonic()
            with contextlib.suppress(StoreError):  # the sensor names a damaged state; the work itself goes on
                beat(store, key, datetime.now(UTC))

    return note_and_beat


def beat(store: Store, key: str, now: datetime) -> None:
    """Write down that a finetune in progress is alive."""
    with _locked(store):
        finetune = find(store, key)
        if finetune is not None and finetune.state in IN_PROGRESS:
            _write(store, finetune.model_copy(update={"heartbeat": now}))


def _unchanged(store: Store, before: Finetune) -> Finetune:
    if find(store, before.key) != before:
        raise OvertakenError(f"{before.key} was moved on, or showed life, in the meantime", "Look at it again")
    return before


def _started_by_hand(store: Store, key: str, run: str, now: datetime) -> Finetune:
    manifest = store.details("training_set", key).get("manifest", {})
    first = Transition(at=now, state="claimed", attempt=1, run=run, reason="started by hand")
    return Finetune(
        key=key,
        state="claimed",
        attempt=1,
        by_hand=True,
        evidence=Evidence(
            batches=feedback_in(manifest),
            base_model=manifest.get("settings", {}).get("base_model_hash", ""),
            recipe="",
        ),
        heartbeat=now,
        history=(first,),
    )


def _states(store: Store) -> Path:
    return store.root / "lifecycle" / "finetunes"


def _claims(store: Store) -> Path:
    return store.root / "lifecycle" / "evidence"


@contextlib.contextmanager
def _locked(store: Store) -> Iterator[None]:
    (store.root / "lifecycle").mkdir(parents=True, exist_ok=True)
    with (store.root / "lifecycle" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _finish_claims(store: Store) -> None:
    for path in sorted(_claims(store).glob("*.json")):
        claimed = _read_claim(path)
        state = _states(store) / f"{claimed.key}.json"
        if not state.exists():
            _create(state, claimed.state())


def _create(path: Path, record: _Record) -> bool:
    """Whether `path` could be made, whole and in one step; False when it was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            file.write(canonical_json(record.model_dump(mode="json")))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _write(store: Store, finetune: Finetune) -> Finetune:
    write_json(_states(store) / f"{finetune.key}.json", finetune.model_dump(mode="json"))
    return finetune


def _read_state(path: Path) -> Finetune:
    try:
        finetune = Finetune.model_validate_json(path.read_bytes())
        if not finetune.history or finetune.key != path.stem:
            raise ValueError("it is not what a finetune's state looks like")
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged: {_first_line(error)}",
            "Bring it back from a backup, or delete it: what was claimed is then tried again from its claim, what was "
            "started by hand gets a state with its next run",
        ) from error
    return finetune


def _read_claim(path: Path) -> _Claim:
    try:
        claimed = _Claim.model_validate_json(path.read_bytes())
        if claimed.evidence.hash != path.stem:
            raise ValueError("its name is not the hash of its evidence")
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged: {_first_line(error)}",
            "Bring it back from a backup; delete it only if no finetune holds its evidence: it would be claimed anew",
        ) from error
    return claimed


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
    return str(error)
