"""The training set: the exact windows one finetune sees, what judges it, and the manifest of where each came from."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chapter_assets.errors import InputError, StoreError
from chapter_assets.feedback.effective import effective, read_verdicts
from chapter_assets.store import SCHEMA_VERSION, Artifact, Store, content_hash
from chapter_assets.transcripts.corpus import CHAPTERS
from chapter_assets.windows.window import SCHEMA, Window

JUDGED_ON = ("validation", "gate")
PUBLIC, FEEDBACK = "public", "feedback"  # domains of the judged videos
_SHARD_ASSETS = ("training_windows", "videos", "transcripts", "chapters")
_BATCH_ASSETS = ("feedback_windows", "feedback")
_SHINGLE_WORDS = 5
_SAME_TRANSCRIPT = 0.5  # estimated Jaccard similarity of the word shingles from which two transcripts count as one
_SHORTEST_MEAN_CHAPTER = 4.0  # s; lists finer than this are lyrics or shot lists


def manifest_of(
    store: Store,
    shards: Iterable[str],
    settings: dict[str, Any],
    batches: Iterable[str] = (),
    caps: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What a training set of `shards` and feedback `batches` is made of; its content hash is the set's version.

    `caps`: at most so many feedback records `per_user`, `per_video`, `per_channel` count.

    Published validation and test shards (`*_val`, `*_test`) that the store holds guard it, though they are no part of
    it: their channels stay out of training. Raises InputError when there is no shard, StoreError when a shard's
    windows were made with other `settings`.
    """
    keys = sorted(set(shards))
    if not keys:
        raise InputError(
            "No corpus shard has training windows, so there is nothing to train on",
            "Register one (`chapter-assets register`) and materialize training_windows for it",
        )
    guards = [k for k in store.partitions("training_windows") if k.endswith(("_val", "_test")) and k not in keys]
    said = sorted(set(batches))
    for asset, key in (*(("training_windows", k) for k in (*keys, *guards)), *(("feedback_windows", k) for k in said)):
        made_with = store.read(asset, key).details["settings"]
        if made_with != settings:
            raise StoreError(
                f"The {asset.replace('_', ' ')} of {key} were made with {made_with}, the settings now are {settings}",
                f"Materialize {asset} {key} again, or set the settings back",
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "shards": [_versions(store, key, _SHARD_ASSETS) for key in keys],
        "guards": [_versions(store, key, _SHARD_ASSETS) for key in guards],
        "feedback": [_versions(store, key, _BATCH_ASSETS) for key in said],
        "caps": dict(caps or {}) if said else {},
        "settings": settings,
        "curation": {"shortest_mean_chapter": _SHORTEST_MEAN_CHAPTER, "same_transcript": _SAME_TRANSCRIPT},
        "ancestors": [],
    }


def _versions(store: Store, key: str, assets: Sequence[str]) -> dict[str, str]:
    return {"key": key} | {asset: store.read(asset, key).version for asset in assets}


def check_asked(
    manifest: dict[str, Any], key: str, shards: Sequence[str] | None, batches: Sequence[str] | None = None
) -> None:
    """Refuse to pass the finetune `key` off as one of other `shards` or feedback `batches` than it holds.

    None asks for nothing.
    """
    for what, kind, wanted in (("shards", "shards", shards), ("feedback batches", "feedback", batches)):
        held = sorted(one["key"] for one in manifest.get(kind, ()))
        asked = held if wanted is None else sorted(set(wanted))
        if asked != held:
            raise InputError(
                f"The finetune {key} holds the {what} {', '.join(held) or 'none'}, not {', '.join(asked) or 'none'}",
                "A completed set never changes: use another finetune key",
            )


def check_unchanged(manifest: dict[str, Any], store: Store) -> None:
    """Make sure that the store still has what an existing manifest names as it was; else StoreError."""
    for shard in (*manifest["shards"], *manifest["guards"], *manifest.get("feedback", ())):
        for asset, recorded in shard.items():
            now = recorded if asset == "key" else store.read(asset, shard["key"]).version
            if now != recorded:
                raise StoreError(
                    f"The training set holds {asset} {shard['key']} at {recorded[:12]}, which is now {now[:12]}",
                    "A completed set never changes: start a new finetune, or bring that back as it was",
                )


def check_settings(manifest: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to train on, or to judge, a set that was frozen under other settings (base model, windows, chooser)."""
    if manifest["settings"] != settings:
        raise StoreError(
            f"The training set was frozen with {manifest['settings']}, the settings now are {settings}",
            "Set them back, or start a new finetune",
        )


def build_training_set(
    store: Store, manifest: dict[str, Any], folder: Path, note: Callable[[str], None]
) -> dict[str, Any]:
    """Write `dataset/` (windows: train, validation, gate) and the judged videos' tables; returns the counts.

    Evaluation wins over training: a channel held out in any shard is out of training in all of them, and so is a
    transcript that is nearly one of a held-out video. A user's list is a lesson of its own beside the corpus's list of
    that video. Counts: lessons in = kept + left out, by reason.
    """
    from datasets import Dataset, DatasetDict, Features

    sources = [("training_windows", shard["key"]) for shard in manifest["shards"]]
    sources += [("feedback_windows", batch["key"]) for batch in manifest.get("feedback", ())]
    guards = _lessons(store, [("training_windows", guard["key"]) for guard in manifest["guards"]])
    lessons = _lessons(store, sources)
    left_out = _unheard(store, lessons, manifest) + _leave_out(lessons, guards)
    note(f"{len(lessons)} chapter lists, of which {sum(left_out.values())} left out: {dict(left_out)}")

    features = Features.from_arrow_schema(SCHEMA)
    kept: dict[str, list[pa.Table]] = defaultdict(list)
    for asset, key in sources:
        windows = store.read(asset, key).table(asset)
        names = pc.replace_substring_regex(windows["window_id"], pattern="/[^/]*$", replacement="")
        for split in ("train", *JUDGED_ON):
            ids = [v.name for v in lessons if (v.asset, v.key) == (asset, key) and v.part == split]
            part = windows.filter(pc.is_in(names, pa.array(ids, pa.string())))
            column = pa.array([split] * len(part), pa.string())
            kept[split].append(part.set_column(part.schema.get_field_index("split"), "split", column))
    tables = {split: pa.concat_tables(parts).cast(features.arrow_schema) for split, parts in kept.items()}
    # `datasets` cannot load a part without rows again, so an empty one is left out.
    dataset = DatasetDict({split: Dataset(table) for split, table in tables.items() if len(table)})
    dataset.save_to_disk(folder / "dataset")

    judged: dict[str, list[pa.Table]] = defaultdict(list)
    for asset, key in sources:
        part = {v.name: v.part for v in lessons if (v.asset, v.key) == (asset, key) and v.part in JUDGED_ON}
        domain = PUBLIC if asset == "training_windows" else FEEDBACK
        read = _judged_corpus if domain == PUBLIC else _judged_feedback
        for name, table in read(store, key, part).items():
            if name == "videos":
                table = table.append_column("domain", pa.array([domain] * len(table), pa.string()))
            judged[name].append(table.append_column("shard", pa.array([key] * len(table), pa.string())))
    for name, parts in judged.items():
        pq.write_table(pa.concat_tables(parts), folder / f"{name}.parquet")

    return {
        "videos": {
            "in": len(lessons),
            "kept": dict(Counter(v.part for v in lessons if v.part)),
            "left_out": dict(left_out),
        },
        "windows": {split: len(table) for split, table in tables.items()},
        "tokens": {split: sum(table["tokens"].to_pylist()) for split, table in tables.items()},
        "channels": {split: len(set(table["channel"].to_pylist())) for split, table in tables.items()},
    }


def _judged_corpus(store: Store, shard: str, part: Mapping[str, str]) -> dict[str, pa.Table]:
    """`videos`, `transcripts` and `chapters` of the judged videos of a shard; `part`: video -> its part."""
    mine = pc.field("video_id").isin(pa.array(part, pa.string()))
    tables = {name: store.read(name, shard).table(name).filter(mine) for name in ("videos", "transcripts", "chapters")}
    # A refused duplicate has the id of the one that was kept.
    return tables | {"videos": _with_parts(tables["videos"].filter(pc.field("status") == "kept"), part)}


def _judged_feedback(store: Store, batch: str, part: Mapping[str, str]) -> dict[str, pa.Table]:
    """The same of a batch, a video for each transcript; `part`: feedback record -> its part."""
    said = store.read("feedback", batch)
    rows = [row for row in said.table("feedback").to_pylist() if row["feedback_id"] in part]
    part_of = {row["video_key"]: part[row["feedback_id"]] for row in rows}
    mine = pc.field("video_id").isin(pa.array(part_of, pa.string()))
    chapters = [
        {"video_id": row["video_key"], "chapter_index": index, **chapter}
        for row in rows
        for index, chapter in enumerate(row["chapters"])
    ]
    return {
        "videos": _with_parts(said.table("videos").filter(mine), part_of),
        "transcripts": said.table("transcripts").filter(mine),
        "chapters": pa.Table.from_pylist(chapters, schema=CHAPTERS),
    }


def _with_parts(videos: pa.Table, part: Mapping[str, str]) -> pa.Table:
    column = pa.array([part[video] for video in videos["video_id"].to_pylist()], pa.string())
    return videos.set_column(videos.schema.get_field_index("split"), "split", column)


@dataclass
class _Lesson:
    """A chapter list that may teach or judge; `key` is the shard's or batch's of the windows' `asset`."""

    name: str
    asset: str
    key: str
    channel: str
    part: str  # "" once left out
    text: str
    mean_chapter: float


def _lessons(store: Store, sources: Sequence[tuple[str, str]]) -> list[_Lesson]:
    found = []
    for asset, key in sources:
        windows = store.read(asset, key).table(asset)
        texts: dict[str, list[str]] = defaultdict(list)
        chapters: dict[str, set[float]] = defaultdict(set)
        rows: dict[str, dict[str, Any]] = {}
        columns = ["window_id", "video_id", "channel", "split", "duration", "segments", "chapters"]
        for row in windows.select(columns).to_pylist():
            name = row["window_id"].rsplit("/", 1)[0]
            rows.setdefault(name, row)
            texts[name].extend(s["text"] for s in row["segments"])
            chapters[name].update(c["start"] for c in row["chapters"])
        found += [
            _Lesson(
                name=name,
                asset=asset,
                key=key,
                channel=row["channel"],
                part=row["split"],
                text=" ".join(texts[name]),
                mean_chapter=row["duration"] / max(len(chapters[name]), 1),
            )
            for name, row in rows.items()
        ]
    return found


def _unheard(store: Store, lessons: Sequence[_Lesson], manifest: dict[str, Any]) -> Counter[str]:
    """Empty the part of each feedback record that does not count, and count why.

    Beside the reasons of `effective`: `judged_by_a_later_list`, where two records would judge one transcript.
    """
    tables = {
        batch["key"]: store.read("feedback", batch["key"]).table("feedback") for batch in manifest.get("feedback", ())
    }
    verdicts = [v for batch, table in tables.items() for v in read_verdicts(table, batch)]
    left_out = effective(verdicts, **manifest.get("caps", {})).left_out if verdicts else {}
    said_at = {v.name: v for v in verdicts}
    heard_of = {
        (batch, row["feedback_id"]): row["video_key"]
        for batch, table in tables.items()
        for row in table.select(["feedback_id", "video_key"]).to_pylist()
    }
    reasons: Counter[str] = Counter()
    judges: set[str] = set()
    mine = [v for v in lessons if v.asset == "feedback_windows"]
    for lesson in sorted(mine, key=lambda v: said_at[v.key, v.name], reverse=True):
        reason = left_out.get((lesson.key, lesson.name))
        if reason is None and lesson.part in JUDGED_ON:
            if heard_of[lesson.key, lesson.name] in judges:
                reason = "judged_by_a_later_list"
            judges.add(heard_of[lesson.key, lesson.name])
        if reason is not None:
            lesson.part = ""
            reasons[reason] += 1
    return reasons


def _leave_out(videos: list[_Lesson], guards: Sequence[_Lesson]) -> Counter[str]:
    """Empty the part of each video that must not be used, and count why. `guards` only keep others out."""
    reasons: Counter[str] = Counter()

    def leave_out(video: _Lesson, reason: str) -> None:
        video.part = ""
        reasons[reason] += 1

    parts = _part_of_channel([video for video in (*videos, *guards) if video.part])
    seen = {video.name: "a guard" for video in guards}
    heard = [video for video in videos if video.part]
    for video in sorted(heard, key=lambda v: v.part == "train"):  # a video in two shards: evaluation wins
        if seen.setdefault(video.name, video.key) != video.key:
            leave_out(video, "in_another_shard_too")
        elif video.part == "train" and parts[video.channel] != "train":
            leave_out(video, "channel_held_out_elsewhere")
        elif video.part == "train" and video.mean_chapter < _SHORTEST_MEAN_CHAPTER:
            leave_out(video, "chapters_too_short_to_learn")
        elif video.part != "train":
            video.part = parts[video.channel]
    for video in _near_duplicates([v for v in videos if v.part], guards):
        leave_out(video, "nearly_a_held_out_transcript")
    for video in videos:
        if video.part == "audit":
            leave_out(video, "audit")
    return reasons


def _part_of_channel(videos: Iterable[_Lesson]) -> dict[str, str]:
    """One part for each channel: a published shard's beats the hash's; then audit, gate, validation, train."""
    rank = {"train": 0, "validation": 1, "gate": 2, "audit": 3}
    best: dict[str, tuple[bool, int, str]] = {}
    for video in videos:
        published = video.asset == "training_windows" and video.key.endswith(("_val", "_test"))
        claim = (published, rank[video.part], video.part)
        best[video.channel] = max(best.get(video.channel, claim), claim)
    return {channel: part for channel, (_, _, part) in best.items()}


def _near_duplicates(videos: Sequence[_Lesson], guards: Sequence[_Lesson]) -> list[_Lesson]:
    """Videos whose transcript is nearly one of a part that is held further out (train < validation < gate < audit)."""
    from datasketch import MinHash, MinHashLSH

    def sketch(text: str) -> MinHash:
        words = text.casefold().split()
        shingles = {" ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(len(words) - _SHINGLE_WORDS + 1, 1))}
        minhash = MinHash(num_perm=64)
        minhash.update_batch([s.encode() for s in shingles])
        return minhash

    rank = {"audit": 0, "gate": 1, "validation": 2, "train": 3}
    index = MinHashLSH(threshold=_SAME_TRANSCRIPT, num_perm=64)
    found = []
    for number, video in enumerate(guards):
        index.insert(f"{video.part}:guard {number}", sketch(video.text))
    for number, video in enumerate(sorted(videos, key=lambda v: rank[v.part])):
        minhash = sketch(video.text)
        if any(other.split(":", 1)[0] != video.part for other in index.query(minhash)):
            found.append(video)
        elif video.part != "train":
            index.insert(f"{video.part}:{number}", minhash)
    return found


def manifest_version(manifest: dict[str, Any]) -> str:
    """The hash that names a training set, carried on by the adapter, the report and the champion."""
    return content_hash(manifest)


def load_windows(artifact: Artifact, part: str) -> list[Window]:
    """The windows of one part (train, validation, gate) of a training set."""
    from datasets import load_from_disk

    dataset = load_from_disk(str(artifact.folder / "dataset"))
    return [Window.from_row(row) for row in dataset[part]] if part in dataset else []


def channels_in_two_parts(artifact: Artifact) -> list[str]:
    """Channels whose windows are in more than one part; there should be none."""
    from datasets import load_from_disk

    dataset = load_from_disk(str(artifact.folder / "dataset"))
    parts = Counter(channel for part in dataset for channel in set(dataset[part]["channel"]))
    return sorted(channel for channel, number in parts.items() if number > 1)
