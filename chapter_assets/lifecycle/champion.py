"""The champion: which finetune serves and since when, kept as one small file and an append-only history.

Every change is a line of `<store>/champion/history.jsonl` first, with the whole state after it; then `champion.json`
beside it is replaced. A crash in between, or a damaged `champion.json`, loses nothing: the last line is the truth.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from chapter_assets.errors import InputError, StoreError
from chapter_assets.evaluation.table import ANCHOR, CHAMPION
from chapter_assets.store import SCHEMA_VERSION, Artifact, Journal, Store, write_json


@dataclass(frozen=True, slots=True)
class Pinned:
    """A finetune, and the version of its adapter that is meant."""

    finetune: str
    adapter: str


@dataclass(frozen=True, slots=True)
class Champion:
    """What serves: finetune, versions of adapter, training set (the hash of its manifest) and report, the anchor.

    `since`: UTC, ISO 8601; `by`: the gate or a person's hand; `why`: in words.
    """

    finetune: str
    adapter: str
    training_set: str
    report: str
    since: str
    by: Literal["gate", "hand"]
    why: str
    anchor: Pinned

    @property
    def pinned(self) -> Pinned:
        """The finetune with the version of its adapter."""
        return Pinned(self.finetune, self.adapter)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """From JSON; KeyError or TypeError when it is something else."""
        fields = {name: value[name] for name in cls.__slots__}
        anchor = Pinned(**value["anchor"])
        said = {**fields, "anchor": anchor.finetune, "the anchor's adapter": anchor.adapter}
        if wrong := [name for name, text in said.items() if not isinstance(text, str)]:
            raise TypeError(f"no text: {', '.join(wrong)}")
        return cls(**fields | {"anchor": anchor})


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history: what was done, when (UTC, ISO 8601), by whom, why, and the champion after it.

    `decision` is the id of the gate's decision, empty by hand.
    """

    what: Literal["promoted", "rolled back", "anchor set"]
    at: str
    by: Literal["gate", "hand"]
    why: str
    champion: Champion
    decision: str = ""

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """From a line of the journal; KeyError or TypeError when it is something else."""
        fields = {name: value[name] for name in cls.__slots__}
        return cls(**fields | {"champion": Champion.of(value["champion"])})


@dataclass(frozen=True, slots=True)
class Judged:
    """What a decision of the gate rests on: its id, the adapter it judged, the champion it was judged against."""

    decision: str
    adapter: str
    champion: Pinned | None


def _place(store: Store) -> Path:
    return store.root / "champion" / "champion.json"


def _journal(store: Store) -> Journal:
    return Journal(_place(store).with_name("history.jsonl"))


def read(store: Store) -> Champion | None:
    """The champion, None before the first; StoreError when its file is damaged or was deleted."""
    place = _place(store)
    try:
        return Champion.of(json.loads(place.read_text()))
    except FileNotFoundError:
        if not _journal(store).read():
            return None
        problem = f"{place} is missing, though there is a history beside it"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{place} is damaged: {error!r}"
    raise StoreError(problem, "Run `chapter-assets champion recover`, which restores it from the history")


def history(store: Store) -> list[Change]:
    """Every change, oldest first; StoreError when a line is damaged."""
    journal = _journal(store)
    changes = []
    for number, line in enumerate(journal.read(), start=1):
        try:
            changes.append(Change.of(line))
        except (KeyError, TypeError) as error:
            raise StoreError(
                f"Line {number} of {journal.path} is no change of the champion: {error!r}", "Mend or delete that line"
            ) from error
    return changes


def history_markdown(changes: Sequence[Change]) -> str:
    """Every change as a Markdown table, the newest first."""
    lines = ["| at | what | champion | anchor | by | why |", "| --- " * 6 + "|"]
    for change in reversed(changes):
        why = " ".join(change.why.split()).replace("|", "\\|")
        after = change.champion
        cells = (change.at, change.what, after.finetune, after.anchor.finetune, change.by, why)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def recover(store: Store) -> Champion:
    """Restore champion.json from the history; StoreError when there is no history."""
    with _journal(store).lock():
        changes = history(store)
        if not changes:
            raise StoreError(
                f"There is no history in {_journal(store).path}", "Promote a finetune, by the command or the gate"
            )
        _write(store, changes[-1].champion)
        return changes[-1].champion


def promote(store: Store, finetune: str, why: str, judged: Judged | None = None) -> Champion:
    """Let `finetune` serve, by the gate's decision `judged` or else by hand; returns the champion there is then.

    The first champion becomes the anchor. A decision counts once: promoted again, it changes nothing, whatever was
    done by hand since. Raises StoreError when the finetune is not whole, or is not what was judged, or another
    champion serves than it was judged against; InputError when a hand promotes what serves already, or says not why.
    """
    with _changing(store) as (changes, change):
        before = changes[-1].champion if changes else None
        if judged is not None and any(c.decision == judged.decision for c in changes):
            return changes[-1].champion
        adapter = store.read("lora_adapter", finetune)
        if judged is None:
            _check_why(why)
            if before is not None and before.pinned == Pinned(finetune, adapter.version):
                raise InputError(f"{finetune} serves already, since {before.since}", "Promote another finetune")
        else:
            _check_judged(finetune, adapter, before, judged)
        champion = Champion(
            finetune,
            adapter.version,
            adapter.details["training_set"],
            store.read("eval_report", finetune).version,
            _now(),
            "hand" if judged is None else "gate",
            why,
            Pinned(finetune, adapter.version) if before is None else before.anchor,
        )
        decision = "" if judged is None else judged.decision
        return change(Change("promoted", champion.since, champion.by, why, champion, decision))


def rollback(store: Store, why: str) -> Champion:
    """Let the champion before this one serve again, by hand; InputError when there is none, StoreError when it is gone.

    Rolling back twice goes back twice. The anchor stays.
    """
    with _changing(store) as (changes, change):
        _check_why(why)
        reigns = _reigns(changes)
        if len(reigns) < 2:
            raise InputError("There is no champion to go back to", "Promote one: `chapter-assets champion promote`")
        before = replace(reigns[-2], since=_now(), by="hand", why=why, anchor=changes[-1].champion.anchor)
        adapter_of(store, before.pinned)
        return change(Change("rolled back", before.since, "hand", why, before))


def set_anchor(store: Store, finetune: str, why: str) -> Champion:
    """Make `finetune` the anchor, by hand; InputError before the first champion, StoreError when it is not whole."""
    with _changing(store) as (changes, change):
        _check_why(why)
        if not changes:
            raise InputError("Without a champion there is no anchor", "The first champion becomes the anchor")
        anchor = Pinned(finetune, store.read("lora_adapter", finetune).version)
        return change(Change("anchor set", _now(), "hand", why, replace(changes[-1].champion, anchor=anchor)))


def adapter_of(store: Store, pinned: Pinned) -> Artifact:
    """The adapter that is meant; StoreError when the finetune has another one by now, or none."""
    adapter = store.read("lora_adapter", pinned.finetune)
    if adapter.version != pinned.adapter:
        raise StoreError(
            f"The adapter of {pinned.finetune} is {adapter.version[:12]} now, but {pinned.adapter[:12]} was promoted",
            "Make it again as it was, or choose by `chapter-assets champion promote` and `champion anchor`",
        )
    return adapter


def opponents(store: Store, finetune: str) -> dict[str, Pinned]:
    """Whom `finetune` is to be judged against: the champion, and the anchor where that is another; by system name.

    The champion itself is not judged again: those are its opponents that it was predicted beside.
    """
    champion = read(store)
    if champion is None:
        return {}
    if champion.finetune == finetune:
        against = store.details("chapter_predictions", finetune).get("against", {})
        return {system: Pinned(**pinned) for system, pinned in against.items()}
    found = {CHAMPION: champion.pinned}
    if champion.anchor != champion.pinned and champion.anchor.finetune != finetune:
        found[ANCHOR] = champion.anchor
    return found


def serving_adapter(store: Store) -> Artifact:
    """The champion's adapter, else that of the newest finetune with a report; InputError when there is neither."""
    champion = read(store)
    if champion is not None:
        return adapter_of(store, champion.pinned)
    newest = store.newest("eval_report")
    if newest is None:
        raise InputError(
            "There is no finished finetune to predict with",
            "Run `make demo`, or give --adapter FOLDER or --baseline NAME",
        )
    return store.read("lora_adapter", newest)


@contextmanager
def _changing(store: Store) -> Iterator[tuple[list[Change], Callable[[Change], Champion]]]:
    """The history, and what to call with the next change; alone, and with champion.json mended first."""
    journal = _journal(store)
    with journal.lock():
        changes = history(store)
        if changes:
            _write(store, changes[-1].champion)
        elif _place(store).exists():
            raise StoreError(
                f"{_place(store)} names a champion, but its history {journal.path} is gone",
                f"Bring the history back from a backup; or delete {_place(store).name} to begin without a champion",
            )

        def change(to: Change) -> Champion:
            journal.append(asdict(to))
            _write(store, to.champion)
            return to.champion

        yield changes, change


def _write(store: Store, champion: Champion) -> None:
    write_json(_place(store), {"schema_version": SCHEMA_VERSION, **asdict(champion)})


def _reigns(changes: list[Change]) -> list[Champion]:
    """The champions that a rollback can still reach, the present one last."""
    reigns: list[Champion] = []
    for change in changes:
        if change.what == "promoted":
            reigns.append(change.champion)
        elif change.what == "rolled back":
            reigns.pop()
    return reigns


def _check_why(why: str) -> None:
    if not why.strip():
        raise InputError("A change by hand needs a reason", 'Say why, e.g. --why "better on the pilot videos"')


def _check_judged(finetune: str, adapter: Artifact, before: Champion | None, judged: Judged) -> None:
    serving = None if before is None else before.pinned
    if adapter.version != judged.adapter:
        raise StoreError(
            f"The adapter of {finetune} is {adapter.version[:12]} now, but {judged.adapter[:12]} was judged",
            f"Materialize chapter_predictions, eval_report and promotion {finetune} again",
        )
    if serving != judged.champion:
        was, now = (pinned.finetune if pinned else "no champion" for pinned in (judged.champion, serving))
        raise StoreError(
            f"{finetune} was judged against {was}, but now {now} serves",
            f"Materialize chapter_predictions, eval_report and promotion {finetune} again",
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
