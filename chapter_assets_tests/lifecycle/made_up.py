"""Made-up finetunes for the tests of their lives."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chapter_assets.lifecycle.finetunes import Evidence, Finetune, State, Transition
from chapter_assets.lifecycle.retrain import Batch, Limits
from chapter_assets.store import Store, write_json

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMITS = Limits(min_edits=200, min_batches=3, max_attempts=3, most_hours=24)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def evidence(*batches: str) -> Evidence:
    """Of batches written `name` (at version 1) or `name@version`."""
    pairs = sorted((name, version or "1") for name, _, version in (batch.partition("@") for batch in batches))
    return Evidence(batches=tuple(pairs), base_model="model", recipe="recipe")


def batch(name: str, edits: int = 10) -> Batch:
    ((key, version),) = evidence(name).batches
    return Batch(key, version, edits)


def finetune(key: str, state: State, *batches: str, attempt: int = 1, frozen: bool = False, **more: Any) -> Finetune:
    """A finetune in `state` since now, claimed by the sensor unless said otherwise."""
    step = Transition(at=NOW, state="set_frozen", attempt=1, run=None, reason="")
    last = Transition(at=NOW, state=state, attempt=attempt, run=None, reason="out of memory")
    values: dict[str, Any] = {
        "key": key,
        "state": state,
        "attempt": attempt,
        "by_hand": False,
        "evidence": evidence(*batches),
        "heartbeat": NOW,
        "history": (*((step,) if frozen else ()), last),
    }
    return Finetune(**values | more)


def freeze(store: Store, key: str, *batches: str) -> None:
    """Put a training set into the store whose manifest holds these feedback batches."""
    feedback = [{"key": name, "feedback_windows": version} for name, version in evidence(*batches).batches]
    make(store, "training_set", key, {"manifest": {"feedback": feedback, "settings": {"base_model_hash": "model"}}})


def make(store: Store, asset: str, key: str, details: dict[str, Any] | None = None, version: str = "1") -> None:
    """Put an artifact without files into the store."""
    pointer = {"version": version, "inputs": "", "folder": "none", "files": {}, "details": details or {}}
    write_json(store.place(asset, key) / "current.json", pointer)
