"""What lies on disk and is not in the graph yet: corpus shards and sealed feedback files, and which to take in."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from chapter_assets.errors import InputError
from chapter_assets.feedback.batches import list_batches
from chapter_assets.settings import Settings
from chapter_assets.store import content_hash, file_hash
from chapter_assets.transcripts.corpus import find_shard

Kind = Literal["corpus_shard", "feedback_batch"]


@dataclass(frozen=True)
class Found:
    """A shard or a feedback file on disk."""

    kind: Kind
    key: str
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Kind and key, as one word."""
        return f"{self.kind}/{self.key}"

    def stamp(self) -> str:
        """Changes when a file is written to; costs no reading."""
        stats = [path.stat() for path in self.files]
        return " ".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)

    def content(self) -> str:
        """sha256 of the files' hashes."""
        return content_hash([file_hash(path) for path in self.files])


class Seen(NamedTuple):
    """What the last look saw of one thing: its stamp, and whether its intake was asked for."""

    stamp: str
    asked: bool


@dataclass(frozen=True)
class Intake:
    """An intake to ask for: `content` is the hash of what is to be taken in."""

    found: Found
    content: str


def on_disk(settings: Settings) -> tuple[list[Found], list[str]]:
    """All shards and feedback files, by key, and for each thing that looks like one and is none the reason.

    Raises InputError when the feedback folder cannot be listed.
    """
    found, unusable = [], []
    folders = settings.corpus_dir.iterdir() if settings.corpus_dir.is_dir() else ()
    for folder in sorted(f for f in folders if f.is_dir() and not f.name.startswith(".")):
        try:
            files = find_shard(settings.corpus_dir, folder.name)
            found.append(Found("corpus_shard", folder.name, (files.chapters, files.asrs)))
        except InputError as error:
            unusable.append(f"{folder}: {error.problem}")
    batches, refused = list_batches(settings.feedback_dir)
    found += [Found("feedback_batch", key, (path,)) for key, path in batches.items()]
    unusable += [f"{settings.feedback_dir / name}: {reason}" for name, reason in refused.items()]
    return found, unusable


def intakes(
    found: Iterable[Found],
    seen: Mapping[str, Seen],
    most: int,
    until: float,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Intake], dict[str, Seen]]:
    """Which intakes to ask for now, and what was seen, for the next look.

    Asked for is what lies as the look before saw it, so that nobody is still writing to it, and was not asked for
    since. At most `most` at once, and none after the time `until` of `clock`: the rest is for the next look. Without
    `seen` everything is asked for again, which does nothing: the run_key of the same content is the same.
    """
    asked: list[Intake] = []
    now_seen: dict[str, Seen] = {}
    for thing in found:
        try:
            stamp = thing.stamp()
            before = seen.get(thing.name, Seen("", False))
            ask = before.stamp == stamp and not before.asked and len(asked) < most and clock() < until
            if ask:
                asked.append(Intake(thing, thing.content()))
            now_seen[thing.name] = Seen(stamp, ask or (before.stamp == stamp and before.asked))
        except OSError:
            continue  # taken away, or not readable now: the next look sees it as new
    return asked, now_seen


def dump_seen(seen: Mapping[str, Seen]) -> str:
    """What was seen, as a cursor."""
    return json.dumps(seen)


def load_seen(cursor: str | None) -> dict[str, Seen]:
    """The cursor of the look before; a missing or damaged one has seen nothing."""
    try:
        return {name: Seen(str(stamp), bool(asked)) for name, (stamp, asked) in json.loads(cursor or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}
