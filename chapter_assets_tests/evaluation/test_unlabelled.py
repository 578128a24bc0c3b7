"""Which videos without chapters are found, in a store that a real ingest has filled."""

import json
from pathlib import Path
from typing import Any

import pytest

from chapter_assets.evaluation.unlabelled import MOST, unlabelled_videos
from chapter_assets.store import Store
from chapter_assets.transcripts.corpus import ShardFiles, ingest, shard_manifest

SAID = {"text": ["flour", "and water"], "start": [0.0, 30.0], "end": [30.0, 55.0]}
UNTOLD: dict[str, Any] = {"duration": 60, "title": "On bread", "channel_id": "baker", "chapters": {}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def add(store: Store, shard: str, chapters: dict[str, Any], asrs: dict[str, Any], split: str = "train") -> Path:
    folder = store.root.parent / shard
    folder.mkdir()
    files = ShardFiles(folder / "chapters.json", folder / "asrs.json")
    files.chapters.write_text(json.dumps(chapters))
    files.asrs.write_text(json.dumps(asrs))
    manifest = shard_manifest(files)
    with store.publish("raw_vidchapters", shard) as draft:
        draft.version, draft.details = "1" * 64, {"files": manifest}
    with store.publish("videos", shard) as draft:
        ingest(files, manifest, draft.folder, shard, lambda channel: split, lambda n: None)
        draft.version = "1" * 64
    return files.asrs


def ids(store: Store, *shards: str, notes: list[str] | None = None) -> list[str]:
    said: list[str] = [] if notes is None else notes
    return [transcript.video_id for _, transcript in unlabelled_videos(store, shards, said.append)]


def test_videos_with_a_transcript_and_no_chapters_are_found_with_what_is_known_of_them(store: Store) -> None:
    labelled = UNTOLD | {"chapters": {"0": "a", "30": "b"}}
    add(
        store,
        "one",
        {"told": labelled, "untold": UNTOLD, "mute": UNTOLD},
        {"told": SAID, "untold": SAID, "orphan": SAID},
    )
    found = {row["video_id"]: (row, talk) for row, talk in unlabelled_videos(store, ["one"], print)}
    assert found.keys() == {"untold", "orphan"}
    row, talk = found["untold"]
    assert (row["title"], row["channel_id"], row["shard"], row["split"]) == ("On bread", "baker", "one", "unlabelled")
    assert (talk.duration, [s.text for s in talk.segments]) == (60, ["flour", "and water"])
    assert found["orphan"][1].duration == found["orphan"][0]["duration"] == 55  # the end of its last segment


def test_held_out_channels_videos_labelled_elsewhere_and_single_segments_are_left_out(store: Store) -> None:
    add(store, "held", {"a": UNTOLD}, {"a": SAID}, split="gate")
    add(store, "told", {"b": UNTOLD | {"chapters": {"0": "x"}}}, {"b": SAID})
    single = {name: values[:1] for name, values in SAID.items()}
    add(store, "more", {"b": UNTOLD, "c": UNTOLD, "d": UNTOLD}, {"b": SAID, "c": single, "d": SAID})
    assert ids(store, "held", "told", "more") == ["d"]


def test_only_so_many_are_taken_over_all_shards_and_none_twice(store: Store) -> None:
    names = [f"v{i:02d}" for i in range(MOST)]
    add(store, "one", dict.fromkeys(names[:-3], UNTOLD), dict.fromkeys(names[:-3], SAID))
    add(store, "two", dict.fromkeys(["v00", *names[-3:], "w", "x"], UNTOLD), dict.fromkeys([*names, "w", "x"], SAID))
    assert ids(store, "one", "two") == names


def test_a_file_that_moved_or_changed_is_passed_over_and_named(store: Store) -> None:
    asrs = add(store, "one", {"a": UNTOLD}, {"a": SAID})
    asrs.write_text("{")
    notes: list[str] = []
    assert ids(store, "one", notes=notes) == []
    asrs.unlink()
    assert ids(store, "one", notes=notes) == []
    assert [str(asrs) in note for note in notes] == [True, True]


def test_a_corpus_in_which_all_have_chapters_has_none(store: Store) -> None:
    add(store, "one", {"a": UNTOLD | {"chapters": {"0": "x"}}}, {"a": SAID})
    assert ids(store, "one") == []
