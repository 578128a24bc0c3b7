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
from chapter_assets.training.splits import HELD_OUT
from chapter_assets.windows.window import SCHEMA, Window

JUDGED_ON = ("validation", "gate")
_SHINGLE_WORDS = 5
_SAME_TRANSCRIPT = 0.5  # estimated Jaccard similarity of the word shingles from which two transcripts count as one
_SHORTEST_MEAN_CHAPTER = 4.0  # s; lists finer than this are lyrics or shot lists


@dataclass(frozen=True)
class ShardVersion:
    """One corpus shard as it goes into a training set."""

    key: str
    windows: str
    corpus: str


def manifest_of(shards: Sequence[ShardVersion], settings: dict[str, Any]) -> dict[str, Any]:
    """What a training set is made of; its content hash is the set's version."""
    return {
        "schema_version": SCHEMA_VERSION,
        "shards": [
            {"key": s.key, "training_windows": s.windows, "corpus": s.corpus}
            for s in sorted(shards, key=lambda shard: shard.key)
        ],
        "settings": settings,
        "ancestors": [],
    }


def current_shards(store: Store, keys: Iterable[str]) -> list[ShardVersion]:
    """The versions that the shards' windows and tables have now; InputError when there is none."""
    found = [
        ShardVersion(key, store.read("training_windows", key).version, store.read("transcripts", key).version)
        for key in sorted(keys)
    ]
    if not found:
        raise InputError(
            "No corpus shard has training windows, so there is nothing to train on",
            "Register one (`chapter-assets register`) and materialize training_windows for it",
        )
    return found


def check_unchanged(manifest: dict[str, Any], store: Store) -> list[ShardVersion]:
    """The shards of an existing manifest, sure that the store still has them as they were."""
    for shard in manifest["shards"]:
        for asset, recorded in (("training_windows", shard["training_windows"]), ("transcripts", shard["corpus"])):
            now = store.read(asset, shard["key"]).version
            if now != recorded:
                raise StoreError(
                    f"The training set holds {asset} {shard['key']} at {recorded[:12]}, which is now {now[:12]}",
                    "A completed set never changes: start a new finetune, or bring the shard back as it was",
                )
    return [ShardVersion(s["key"], s["training_windows"], s["corpus"]) for s in manifest["shards"]]


def build_training_set(
    store: Store, shards: Sequence[ShardVersion], folder: Path, note: Callable[[str], None]
) -> dict[str, Any]:
    """Write `dataset/` (windows: train, validation, gate) and the judged videos' tables; returns the counts.

    Evaluation wins over training: a channel held out in any shard is out of training in all of them, and so is a
    transcript that is nearly one of a held-out video. Counts: videos in = kept + left out, by reason.
    """
    from datasets import Dataset, DatasetDict, Features

    videos = _videos(store, shards)
    left_out = _leave_out(videos)
    note(f"{len(videos)} videos, of which {sum(left_out.values())} left out: {dict(left_out)}")

    features = Features.from_arrow_schema(SCHEMA)
    kept: dict[str, list[pa.Table]] = defaultdict(list)
    for shard in shards:
        windows = store.read("training_windows", shard.key).table("training_windows")
        for split in ("train", *JUDGED_ON):
            ids = [v.video_id for v in videos if v.shard == shard.key and v.part == split]
            kept[split].append(windows.filter(pc.field("video_id").isin(ids)))
    dataset = DatasetDict(
        {split: Dataset(pa.concat_tables(tables).cast(features.arrow_schema)) for split, tables in kept.items()}
    )
    dataset.save_to_disk(folder / "dataset")

    for name in ("videos", "transcripts", "chapters"):
        tables = []
        for shard in shards:
            ids = [v.video_id for v in videos if v.shard == shard.key and v.part in JUDGED_ON]
            table = store.read(name, shard.key).table(name).filter(pc.field("video_id").isin(ids))
            tables.append(table.append_column("shard", pa.array([shard.key] * len(table), pa.string())))
        pq.write_table(pa.concat_tables(tables), folder / f"{name}.parquet")

    parts = Counter(v.part for v in videos if v.part)
    return {
        "videos": {"in": len(videos), "kept": dict(parts), "left_out": dict(left_out)},
        "windows": {split: len(dataset[split]) for split in dataset},
        "tokens": {split: int(sum(dataset[split]["tokens"])) for split in dataset},
        "channels": {split: len(set(dataset[split]["channel"])) for split in dataset},
    }


@dataclass
class _Video:
    video_id: str
    shard: str
    channel: str
    part: str  # "" once left out
    text: str
    mean_chapter: float


def _videos(store: Store, shards: Sequence[ShardVersion]) -> list[_Video]:
    found = []
    for shard in shards:
        windows = store.read("training_windows", shard.key).table("training_windows")
        texts: dict[str, list[str]] = defaultdict(list)
        chapters: Counter[str] = Counter()
        rows: dict[str, dict[str, Any]] = {}
        for row in windows.select(["video_id", "channel", "split", "duration", "segments", "chapters"]).to_pylist():
            rows.setdefault(row["video_id"], row)
            texts[row["video_id"]].extend(s["text"] for s in row["segments"])
            chapters[row["video_id"]] += len(row["chapters"])
        found += [
            _Video(
                id_,
                shard.key,
                row["channel"],
                row["split"],
                " ".join(texts[id_]),
                row["duration"] / max(chapters[id_], 1),
            )
            for id_, row in rows.items()
        ]
    return found


def _leave_out(videos: list[_Video]) -> Counter[str]:
    """Empty the part of each video that must not be used, and count why."""
    reasons: Counter[str] = Counter()

    def leave_out(video: _Video, reason: str) -> None:
        video.part = ""
        reasons[reason] += 1

    held_out_channels = {v.channel for v in videos if v.part in HELD_OUT}
    seen: dict[str, str] = {}
    for video in sorted(videos, key=lambda v: v.part == "train"):  # a video in two shards: evaluation wins
        if seen.setdefault(video.video_id, video.shard) != video.shard:
            leave_out(video, "in_another_shard_too")
        elif video.part == "audit":
            leave_out(video, "audit")
        elif video.part == "train" and video.channel in held_out_channels:
            leave_out(video, "channel_held_out_elsewhere")
        elif video.part == "train" and video.mean_chapter < _SHORTEST_MEAN_CHAPTER:
            leave_out(video, "chapters_too_short_to_learn")
    for video in _near_duplicates([v for v in videos if v.part]):
        leave_out(video, "nearly_a_held_out_transcript")
    return reasons


def _near_duplicates(videos: Sequence[_Video]) -> list[_Video]:
    """Training videos whose transcript is nearly that of a held-out one; validation against gate likewise."""
    from datasketch import MinHash, MinHashLSH

    def sketch(text: str) -> MinHash:
        words = text.casefold().split()
        shingles = {" ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(len(words) - _SHINGLE_WORDS + 1, 1))}
        minhash = MinHash(num_perm=64)
        minhash.update_batch([s.encode() for s in shingles])
        return minhash

    rank = {"gate": 0, "validation": 1, "train": 2}
    index = MinHashLSH(threshold=_SAME_TRANSCRIPT, num_perm=64)
    found = []
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

    return [Window.from_row(row) for row in load_from_disk(str(artifact.folder / "dataset"))[part]]


def channels_in_two_parts(artifact: Artifact) -> list[str]:
    """Channels whose windows are in more than one part; there should be none."""
    from datasets import load_from_disk

    dataset = load_from_disk(str(artifact.folder / "dataset"))
    parts = Counter(channel for part in dataset for channel in set(dataset[part]["channel"]))
    return sorted(channel for channel, number in parts.items() if number > 1)
