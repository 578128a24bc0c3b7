"""Training sets from shards whose tables are written here, without a tokenizer or a model."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import InputError, StoreError
from chapter_assets.store import Artifact, Store, TableWriter
from chapter_assets.training.training_set import (
    build_training_set,
    channels_in_two_parts,
    check_asked,
    check_settings,
    check_unchanged,
    load_windows,
    manifest_of,
    manifest_version,
)
from chapter_assets.transcripts.corpus import CHAPTERS, TRANSCRIPTS, VIDEOS
from chapter_assets.windows.window import SCHEMA, LabelledSegment, Window
from chapter_assets_tests.made_up import chatter

SENTENCES = 12


@dataclass(frozen=True)
class Video:
    """A video of ten-second sentences, chapters every minute; `seed` makes its words, `changed` some of them others."""

    video_id: str
    channel: str
    split: str
    seed: int
    changed: int = 0
    chapter_every: float = 60.0

    def texts(self) -> list[str]:
        rng, other = random.Random(self.seed), random.Random(self.video_id)
        texts = [" ".join(f"{w}{rng.randrange(99)}" for w in chatter(rng, 9).split()) for _ in range(SENTENCES)]
        return [chatter(other, 9) if i < self.changed else text for i, text in enumerate(texts)]

    def windows(self, source: str) -> list[Window]:
        """Two windows that share two segments."""
        duration = 10.0 * SENTENCES
        times = [self.chapter_every * i for i in range(int(duration / self.chapter_every))]
        segments = [
            LabelledSegment(10.0 * i, 10.0 * (i + 1), text, 10.0 * i in times, True)
            for i, text in enumerate(self.texts())
        ]
        windows = []
        for number, part in enumerate((slice(0, 7), slice(5, SENTENCES))):
            shown = segments[part]
            chapters = tuple(Chapter(t, f"at {t:g}") for t in times if shown[0].start <= t < shown[-1].end)
            windows.append(
                Window(
                    f"{self.video_id}/{number:03d}",
                    *(self.video_id, self.channel, self.split, source, f"On {self.video_id}", duration),
                    *(part.start, tuple(shown), chapters, 100 + number, "tokenizer"),
                )
            )
        return windows


SETTINGS = {"base_model": "m", "window_tokens": 1200}


def publish(store: Store, asset: str, shard: str, rows: list[dict[str, Any]], schema: Any) -> None:
    with store.publish(asset, shard) as draft:
        draft.details = {"settings": SETTINGS}
        with TableWriter(draft.folder / f"{asset}.parquet", schema) as table:
            table.extend(rows)
        draft.version = table.version()


def add_shard(store: Store, shard: str, *videos: Video) -> None:
    windows = [w for v in videos for w in v.windows(shard)]
    publish(store, "training_windows", shard, [w.to_row() for w in windows], SCHEMA)
    about = [
        {"video_id": v.video_id, "title": "t", "channel_id": v.channel, "duration": 120.0}
        | {"split": v.split, "segments": SENTENCES, "chapters": 2, "status": "kept"}
        for v in videos
    ]
    publish(store, "videos", shard, about, VIDEOS)
    lines = [
        {"video_id": v.video_id, "segment_index": i, "start": 10.0 * i, "end": 10.0 * (i + 1), "text": text}
        for v in videos
        for i, text in enumerate(v.texts())
    ]
    publish(store, "transcripts", shard, lines, TRANSCRIPTS)
    chapters = [
        {"video_id": v.video_id, "chapter_index": i, "start": 60.0 * i, "title": f"at {i}"}
        for v in videos
        for i in range(2)
    ]
    publish(store, "chapters", shard, chapters, CHAPTERS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def build(store: Store, *shards: str) -> tuple[dict[str, Any], Artifact]:
    """The counts, and the training set itself."""
    with store.publish("training_set", "ft-0001") as draft:
        counts = build_training_set(store, manifest_of(store, shards, SETTINGS), draft.folder, lambda note: None)
        draft.version = "1" * 64
    return counts, store.read("training_set", "ft-0001")


def part_of(artifact: Artifact) -> dict[str, str]:
    """Video -> the part of the training set that it is in."""
    return {w.video_id: part for part in ("train", "validation", "gate") for w in load_windows(artifact, part)}


def check_counts(counts: dict[str, Any], artifact: Artifact) -> None:
    videos = counts["videos"]
    assert videos["in"] == sum(videos["kept"].values()) + sum(videos["left_out"].values())
    for part in ("train", "validation", "gate"):
        windows = load_windows(artifact, part)
        assert counts["windows"][part] == len(windows)
        assert counts["tokens"][part] == sum(w.tokens for w in windows)
        assert counts["channels"][part] == len({w.channel for w in windows})
        assert videos["kept"].get(part, 0) == len({w.video_id for w in windows})


def test_each_part_holds_its_videos_windows_as_they_were(store: Store) -> None:
    train, validation, gate = (
        Video(part, f"c-{part}", part, i) for i, part in enumerate(("train", "validation", "gate"))
    )
    add_shard(store, "a", train, gate)
    add_shard(store, "b", validation)
    counts, artifact = build(store, "a", "b")
    assert load_windows(artifact, "train") == train.windows("a")
    assert load_windows(artifact, "validation") == validation.windows("b")
    assert load_windows(artifact, "gate") == gate.windows("a")
    assert counts["videos"] == {"in": 3, "kept": {"train": 1, "validation": 1, "gate": 1}, "left_out": {}}
    check_counts(counts, artifact)
    assert channels_in_two_parts(artifact) == []


def test_a_shard_may_hold_videos_of_one_part_only(store: Store) -> None:
    add_shard(store, "a_val", Video("v", "c1", "validation", 1))
    add_shard(store, "b", *(Video(part, part, part, i) for i, part in enumerate(("train", "validation", "gate"), 2)))
    counts, artifact = build(store, "a_val", "b")
    assert counts["windows"] == {"train": 2, "validation": 4, "gate": 2}
    check_counts(counts, artifact)


def test_a_part_without_a_video_is_empty_and_can_be_loaded(store: Store) -> None:
    add_shard(store, "a", Video("t", "c1", "train", 1))
    counts, artifact = build(store, "a")
    assert counts["windows"] == {"train": 2, "validation": 0, "gate": 0}
    assert load_windows(artifact, "gate") == []
    assert artifact.table("chapters").num_rows == 0
    check_counts(counts, artifact)


def test_only_the_videos_that_judge_are_in_the_judged_tables_with_their_shard(store: Store) -> None:
    add_shard(store, "a", Video("t", "c1", "train", 1), Video("g", "c2", "gate", 2), Video("x", "c4", "audit", 4))
    add_shard(store, "b", Video("v", "c3", "validation", 3))
    _, artifact = build(store, "a", "b")
    for name, rows in (("videos", 1), ("transcripts", SENTENCES), ("chapters", 2)):
        table = artifact.table(name).to_pylist()
        assert [(r["video_id"], r["shard"]) for r in table] == [("g", "a")] * rows + [("v", "b")] * rows


@pytest.mark.parametrize("held_out", ["validation", "gate", "audit"])
def test_a_channel_held_out_in_any_shard_is_out_of_training_in_all(store: Store, held_out: str) -> None:
    add_shard(store, "a", Video("t1", "shared", "train", 1), Video("t2", "other", "train", 2))
    add_shard(store, "b", Video("h", "shared", held_out, 3), Video("t3", "shared", "train", 4))
    counts, artifact = build(store, "a", "b")
    parts = part_of(artifact)
    assert {video for video, part in parts.items() if part == "train"} == {"t2"}
    assert counts["videos"]["left_out"]["channel_held_out_elsewhere"] == 2
    check_counts(counts, artifact)
    assert channels_in_two_parts(artifact) == []


def test_the_audit_part_is_in_no_part_of_the_set(store: Store) -> None:
    add_shard(store, "a", Video("x", "c1", "audit", 1), Video("t", "c2", "train", 2))
    counts, artifact = build(store, "a")
    assert part_of(artifact) == {"t": "train"}
    assert counts["videos"]["left_out"] == {"audit": 1}
    check_counts(counts, artifact)


def test_a_video_in_two_shards_counts_once_and_evaluation_wins(store: Store) -> None:
    add_shard(store, "a", Video("twice", "c1", "train", 1), Video("t", "c2", "train", 2))
    add_shard(store, "b_test", Video("twice", "c1", "gate", 1))
    counts, artifact = build(store, "a", "b_test")
    assert part_of(artifact) == {"twice": "gate", "t": "train"}
    assert len(load_windows(artifact, "gate")) == 2
    assert counts["videos"] == {
        "in": 3,
        "kept": {"train": 1, "gate": 1},
        "left_out": {"in_another_shard_too": 1},
    }
    check_counts(counts, artifact)


def test_a_training_video_in_two_shards_is_learned_once(store: Store) -> None:
    add_shard(store, "a", Video("twice", "c1", "train", 1))
    add_shard(store, "b", Video("twice", "c1", "train", 1), Video("t", "c2", "train", 2))
    counts, artifact = build(store, "a", "b")
    assert sorted(w.window_id for w in load_windows(artifact, "train")) == ["t/000", "t/001", "twice/000", "twice/001"]
    assert counts["videos"]["left_out"] == {"in_another_shard_too": 1}
    check_counts(counts, artifact)


@pytest.mark.parametrize("held_out", ["validation", "gate"])
def test_nearly_the_transcript_of_a_held_out_video_leaves_training(store: Store, held_out: str) -> None:
    same, near, far = (Video(f"t{n}", f"c{n}", "train", 1, changed=n) for n in (0, 1, 9))
    add_shard(store, "a", same, near, far)
    add_shard(store, "b", Video("h", "c", held_out, 1))
    counts, artifact = build(store, "a", "b")
    assert part_of(artifact) == {"h": held_out, "t9": "train"}
    assert counts["videos"]["left_out"] == {"nearly_a_held_out_transcript": 2}
    check_counts(counts, artifact)


def test_near_duplicates_within_one_part_stay(store: Store) -> None:
    videos = [
        Video(f"{part}{i}", f"{part}{i}", part, seed) for seed, part in enumerate(("train", "gate")) for i in (1, 2)
    ]
    add_shard(store, "a", *videos)
    counts, artifact = build(store, "a")
    assert part_of(artifact) == {v.video_id: v.split for v in videos}
    check_counts(counts, artifact)


def test_of_validation_and_gate_with_one_transcript_the_gate_keeps_it(store: Store) -> None:
    add_shard(store, "a", Video("v", "c1", "validation", 1), Video("g", "c2", "gate", 1), Video("t", "c3", "train", 2))
    counts, artifact = build(store, "a")
    assert part_of(artifact) == {"g": "gate", "t": "train"}
    check_counts(counts, artifact)


def test_nearly_the_transcript_of_an_audit_video_leaves_training(store: Store) -> None:
    add_shard(store, "a", Video("x", "c1", "audit", 1), Video("copy", "c2", "train", 1), Video("t", "c3", "train", 2))
    _, artifact = build(store, "a")
    assert part_of(artifact) == {"t": "train"}


def test_a_channel_held_out_in_two_ways_ends_in_one_part(store: Store) -> None:
    add_shard(store, "a", Video("g", "shared", "gate", 1), Video("t", "c3", "train", 2))
    add_shard(store, "b_val", Video("v", "shared", "validation", 3))
    _, artifact = build(store, "a", "b_val")
    assert part_of(artifact) == {"g": "validation", "v": "validation", "t": "train"}  # as published
    assert channels_in_two_parts(artifact) == []
    assert {w.split for w in load_windows(artifact, "validation")} == {"validation"}
    assert {row["split"] for row in artifact.table("videos").to_pylist()} == {"validation"}


def test_a_list_of_seconds_is_not_learned_and_still_judges(store: Store) -> None:
    add_shard(
        store,
        "a",
        *(Video("lyrics", "c1", "train", 1, chapter_every=2.5), Video("minutes", "c2", "train", 2)),
        Video("judged", "c3", "gate", 3, chapter_every=2.5),
    )
    counts, artifact = build(store, "a")
    assert part_of(artifact) == {"minutes": "train", "judged": "gate"}
    assert counts["videos"]["left_out"] == {"chapters_too_short_to_learn": 1}
    check_counts(counts, artifact)


def test_a_channel_in_two_parts_is_found(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    channels = {"train": ["c1", "shared", "shared"], "validation": ["c2"], "gate": ["c3", "shared"]}
    parts = {part: Dataset.from_dict({"channel": names}) for part, names in channels.items()}
    DatasetDict(parts).save_to_disk(tmp_path / "dataset")
    artifact = Artifact("training_set", "ft-0001", tmp_path, "1" * 64, "", {})
    assert channels_in_two_parts(artifact) == ["shared"]


@pytest.fixture
def shards(store: Store) -> Store:
    """A store with two shards."""
    add_shard(store, "a", Video("t", "c1", "train", 1))
    add_shard(store, "b", Video("g", "c2", "gate", 2))
    return store


def version_of(store: Store, *keys: str) -> str:
    return manifest_version(manifest_of(store, keys, SETTINGS))


def test_a_manifest_does_not_depend_on_the_order_of_shards(shards: Store) -> None:
    assert version_of(shards, "a", "b") == version_of(shards, "b", "a") == version_of(shards, "b", "a", "b")
    add_shard(shards, "a", Video("t", "c1", "train", 1))  # made again, the same
    assert version_of(shards, "a", "b") == version_of(shards, "b", "a")


def test_a_manifest_changes_with_anything_that_goes_in(shards: Store) -> None:
    versions = [version_of(shards, "a", "b"), version_of(shards, "a"), version_of(shards, "b")]
    other = {"base_model": "m", "window_tokens": 1201}
    settings = manifest_of(shards, ["a", "b"], SETTINGS) | {"settings": other}
    versions.append(manifest_version(settings))
    for asset, schema in (("videos", VIDEOS), ("transcripts", TRANSCRIPTS), ("chapters", CHAPTERS)):
        publish(shards, asset, "b", [], schema)
        versions.append(version_of(shards, "a", "b"))
    publish(shards, "training_windows", "b", [], SCHEMA)
    versions.append(version_of(shards, "a", "b"))
    add_shard(shards, "c_val", Video("v", "c3", "validation", 3))  # guards a set that it is no part of
    versions.append(version_of(shards, "a", "b"))
    assert len(set(versions)) == len(versions)


def test_windows_made_with_other_settings_are_refused(shards: Store) -> None:
    with pytest.raises(StoreError, match="training windows of a were made with") as caught:
        manifest_of(shards, ["a"], SETTINGS | {"window_tokens": 600})
    assert "Materialize training_windows a again" in caught.value.remedy


def test_a_set_is_made_again_only_from_shards_that_are_as_they_were(shards: Store) -> None:
    manifest = manifest_of(shards, ["b", "a"], SETTINGS)
    check_unchanged(manifest, shards)
    add_shard(shards, "b", Video("g", "c2", "gate", 3))
    with pytest.raises(StoreError, match=r"holds training_windows b at \w{12}, which is now \w{12}") as caught:
        check_unchanged(manifest, shards)
    assert "never changes" in caught.value.remedy


def test_a_set_is_not_passed_off_as_one_of_other_shards_or_settings(shards: Store) -> None:
    manifest = manifest_of(shards, ["b", "a"], SETTINGS)
    check_asked(manifest, "ft-0001", ["b", "a"])
    check_asked(manifest, "ft-0001", None, [])
    with pytest.raises(InputError, match="The finetune ft-0001 holds the shards a, b, not a"):
        check_asked(manifest, "ft-0001", ["a"])
    check_settings(manifest, SETTINGS)
    with pytest.raises(StoreError, match="frozen with"):
        check_settings(manifest, SETTINGS | {"window_tokens": 600})


def test_a_published_shard_guards_a_set_that_it_is_no_part_of(store: Store) -> None:
    guarded = Video("h", "shared", "gate", 1)
    add_shard(
        store, "a", Video("t", "shared", "train", 2), Video("copy", "c2", "train", 1), Video("u", "c3", "train", 3)
    )
    add_shard(store, "b_test", guarded)
    counts, artifact = build(store, "a")
    assert part_of(artifact) == {"u": "train"}
    assert counts["videos"]["left_out"] == {"channel_held_out_elsewhere": 1, "nearly_a_held_out_transcript": 1}
    check_counts(counts, artifact)


def test_without_shards_the_way_to_one_is_shown(store: Store) -> None:
    with pytest.raises(InputError, match="chapter-assets register"):
        manifest_of(store, [], SETTINGS)
    with pytest.raises(StoreError, match="training_windows a was never made"):
        manifest_of(store, ["a"], SETTINGS)
