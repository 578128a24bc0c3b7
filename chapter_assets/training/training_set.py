"""The training set: the exact windows one finetune sees, what judges it, and the manifest of where each came from."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chapter_assets.errors import InputError, StoreError
from chapter_assets.store import SCHEMA_VERSION, Artifact, Store, content_hash
from chapter_assets.windows.window import SCHEMA, Window

JUDGED_ON = ("validation", "gate")
_SHINGLE_WORDS = 5
_SAME_TRANSCRIPT = 0.5  # estimated Jaccard similarity of the word shingles from which two transcripts count as one
_SHORTEST_MEAN_CHAPTER = 4.0  # s; lists finer than this are lyrics or shot lists


def manifest_of(store: Store, shards: Iterable[str], settings: dict[str, Any]) -> dict[str, Any]:
    """What a training set of `shards` is made of; its content hash is the set's version.

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
    for key in (*keys, *guards):
        made_with = store.read("training_windows", key).details["settings"]
        if made_with != settings:
            raise StoreError(
                f"The training windows of {key} were made with {made_with}, the settings now are {settings}",
                f"Materialize training_windows {key} again, or set the settings back",
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "shards": [_versions(store, key) for key in keys],
        "guards": [_versions(store, key) for key in guards],
        "settings": settings,
        "curation": {"shortest_mean_chapter": _SHORTEST_MEAN_CHAPTER, "same_transcript": _SAME_TRANSCRIPT},
        "ancestors": [],
    }


def _versions(store: Store, key: str) -> dict[str, str]:
    assets = ("training_windows", "videos", "transcripts", "chapters")
    return {"key": key} | {asset: store.read(asset, key).version for asset in assets}


def check_asked(manifest: dict[str, Any], key: str, shards: Sequence[str]) -> None:
    """Refuse to pass the finetune `key` off as one of other `shards` than it holds."""
    held = sorted(shard["key"] for shard in manifest["shards"])
    if shards and sorted(set(shards)) != held:
        raise InputError(
            f"The finetune {key} holds the shards {', '.join(held)}, not {', '.join(sorted(set(shards)))}",
            "A completed set never changes: use another finetune key",
        )


def check_unchanged(manifest: dict[str, Any], store: Store) -> None:
    """Make sure that the store still has the shards of an existing manifest as they were; else StoreError."""
    for shard in (*manifest["shards"], *manifest["guards"]):
        for asset, recorded in shard.items():
            now = recorded if asset == "key" else store.read(asset, shard["key"]).version
            if now != recorded:
                raise StoreError(
                    f"The training set holds {asset} {shard['key']} at {recorded[:12]}, which is now {now[:12]}",
                    "A completed set never changes: start a new finetune, or bring the shard back as it was",
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
    transcript that is nearly one of a held-out video. Counts: videos in = kept + left out, by reason.
    """
    from datasets import Dataset, DatasetDict, Features

    shards = [shard["key"] for shard in manifest["shards"]]
    guards = _videos(store, [shard["key"] for shard in manifest["guards"]])
    videos = _videos(store, shards)
    left_out = _leave_out(videos, guards)
    note(f"{len(videos)} videos, of which {sum(left_out.values())} left out: {dict(left_out)}")

    features = Features.from_arrow_schema(SCHEMA)
    kept: dict[str, list[pa.Table]] = defaultdict(list)
    for shard in shards:
        windows = store.read("training_windows", shard).table("training_windows")
        for split in ("train", *JUDGED_ON):
            ids = [v.video_id for v in videos if v.shard == shard and v.part == split]
            part = windows.filter(pc.field("video_id").isin(pa.array(ids, pa.string())))
            column = pa.array([split] * len(part), pa.string())
            kept[split].append(part.set_column(part.schema.get_field_index("split"), "split", column))
    tables = {split: pa.concat_tables(parts).cast(features.arrow_schema) for split, parts in kept.items()}
    # `datasets` cannot load a part without rows again, so an empty one is left out.
    dataset = DatasetDict({split: Dataset(table) for split, table in tables.items() if len(table)})
    dataset.save_to_disk(folder / "dataset")

    for name in ("videos", "transcripts", "chapters"):
        judged = []
        for shard in shards:
            ids = [v.video_id for v in videos if v.shard == shard and v.part in JUDGED_ON]
            table = store.read(name, shard).table(name).filter(pc.field("video_id").isin(pa.array(ids, pa.string())))
            if name == "videos":  # a refused duplicate has the id of the one that was kept
                table = table.filter(pc.field("status") == "kept")
                part = {v.video_id: v.part for v in videos if v.shard == shard}
                column = pa.array([part[i] for i in table["video_id"].to_pylist()], pa.string())
                table = table.set_column(table.schema.get_field_index("split"), "split", column)
            judged.append(table.append_column("shard", pa.array([shard] * len(table), pa.string())))
        pq.write_table(pa.concat_tables(judged), folder / f"{name}.parquet")

    parts = Counter(v.part for v in videos if v.part)
    return {
        "videos": {"in": len(videos), "kept": dict(parts), "left_out": dict(left_out)},
        "windows": {split: len(table) for split, table in tables.items()},
        "tokens": {split: sum(table["tokens"].to_pylist()) for split, table in tables.items()},
        "channels": {split: len(set(table["channel"].to_pylist())) for split, table in tables.items()},
    }


@dataclass
class _Video:
    video_id: str
    shard: str
    channel: str
    part: str  # "" once left out
    text: str
    mean_chapter: float


def _videos(store: Store, shards: Sequence[str]) -> list[_Video]:
    found = []
    for shard in shards:
        windows = store.read("training_windows", shard).table("training_windows")
        texts: dict[str, list[str]] = defaultdict(list)
        chapters: dict[str, set[float]] = defaultdict(set)
        rows: dict[str, dict[str, Any]] = {}
        for row in windows.select(["video_id", "channel", "split", "duration", "segments", "chapters"]).to_pylist():
            rows.setdefault(row["video_id"], row)
            texts[row["video_id"]].extend(s["text"] for s in row["segments"])
            chapters[row["video_id"]].update(c["start"] for c in row["chapters"])
        found += [
            _Video(
                video_id=id_,
                shard=shard,
                channel=row["channel"],
                part=row["split"],
                text=" ".join(texts[id_]),
                mean_chapter=row["duration"] / max(len(chapters[id_]), 1),
            )
            for id_, row in rows.items()
        ]
    return found


def _leave_out(videos: list[_Video], guards: Sequence[_Video]) -> Counter[str]:
    """Empty the part of each video that must not be used, and count why. `guards` only keep others out."""
    reasons: Counter[str] = Counter()

    def leave_out(video: _Video, reason: str) -> None:
        video.part = ""
        reasons[reason] += 1

    parts = _part_of_channel((*videos, *guards))
    seen = {video.video_id: "a guard" for video in guards}
    for video in sorted(videos, key=lambda v: v.part == "train"):  # a video in two shards: evaluation wins
        if seen.setdefault(video.video_id, video.shard) != video.shard:
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


def _part_of_channel(videos: Iterable[_Video]) -> dict[str, str]:
    """One part for each channel: a published shard's beats the hash's; then audit, gate, validation, train."""
    rank = {"train": 0, "validation": 1, "gate": 2, "audit": 3}
    best: dict[str, tuple[bool, int, str]] = {}
    for video in videos:
        published = video.shard.endswith(("_val", "_test"))
        claim = (published, rank[video.part], video.part)
        best[video.channel] = max(best.get(video.channel, claim), claim)
    return {channel: part for channel, (_, _, part) in best.items()}


def _near_duplicates(videos: Sequence[_Video], guards: Sequence[_Video]) -> list[_Video]:
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
