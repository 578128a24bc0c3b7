"""Where a finetune, a prediction or a video's part in both came from: the chain of versions, from the store alone."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from chapter_assets.errors import InputError
from chapter_assets.lifecycle import champion, finetunes
from chapter_assets.store import Artifact, Store
from chapter_assets.training.training_set import JUDGED_ON, load_windows

_SHOWN = 12  # characters of a version
Chain = dict[str, Any]


def explain_finetune(store: Store, key: str) -> Chain:
    """From the decision on a finetune back to files and users: nested values, ready for JSON.

    What was not made yet is left out. Raises InputError for a finetune that the store does not know.
    """
    state = finetunes.find(store, key)
    if state is None and not store.exists("training_set", key):
        raise InputError(f"The store knows no finetune {key}", "`chapter-assets finetunes` lists them")
    serving = champion.read(store)
    chain: Chain = {"finetune": key}
    if state is not None:
        steps = [f"{s.at:%Y-%m-%d %H:%M} {s.state}{f': {s.reason}' if s.reason else ''}" for s in state.history]
        chain["life"] = {"started": "by hand" if state.by_hand else "by itself", "history": steps}
    chain["serves"] = serving is not None and serving.finetune == key
    if found := _made(store, "promotion", key):
        decision = found.details["decision"]
        chain["decision"] = {"promoted": decision["promoted"], "reason": decision["reason"], **_version(found)}
    if found := _made(store, "eval_report", key):
        chain["report"] = {"verdict": found.details["report"]["verdict"], **_version(found)}
    if found := _made(store, "chapter_predictions", key):
        beside = {system: pinned["finetune"] for system, pinned in found.details.get("against", {}).items()}
        chain["predictions"] = {"judged_beside": beside, **_version(found)}
    if found := _made(store, "lora_adapter", key):
        details = found.details
        chain["adapter"] = {"rows": details["counts"]["rows"], "recipe": details["recipe"], **_version(found)}
    if found := _made(store, "training_set", key):
        manifest = found.details["manifest"]
        chain["training_set"] = {
            "settings": manifest["settings"],
            "lists": found.details["counts"]["videos"],
            "channels": _by_channel(found),
            **_version(found),
            "shards": [_shard(store, shard) for shard in manifest["shards"]],
            "feedback": [_batch(store, batch) for batch in manifest.get("feedback", ())],
        }
    return chain


def explain_prediction(store: Store, prediction_id: str) -> Chain:
    """What users said of a prediction, and the chain of the finetune that had made it.

    Raises InputError when no feedback batch knows the prediction.
    """
    said = [row for row in _all_feedback(store) if row["prediction_id"] == prediction_id]
    if not said:
        raise InputError(
            f"No feedback batch knows the prediction {prediction_id}",
            "Give the prediction_id of an impression in a batch that was taken in",
        )
    first = said[0]
    shown = [f"{c['start']:g} s  {c['title']}" for c in first["shown"]]
    chain: Chain = {"prediction": prediction_id, "video": first["video_id"], "shown": shown, "said": _said(said)}
    made_by = first["finetune"]
    known = store.exists("training_set", made_by)
    return chain | {"made_by": explain_finetune(store, made_by) if known else f"{made_by}, not in this store"}


def explain_video(store: Store, video_id: str) -> Chain:
    """In which shards a video is, what became of it there, what users said of it, and which finetunes saw it.

    Raises InputError for a video that neither a shard nor a feedback batch has.
    """
    shards = {}
    for shard in store.partitions("videos"):
        rows = store.read("videos", shard).table("videos").filter(pc.field("video_id") == video_id).to_pylist()
        for row in rows:
            shards[shard] = {name: row[name] for name in ("status", "channel_id", "split", "segments", "chapters")}
    said = [row for row in _all_feedback(store) if row["video_id"] == video_id]
    if not shards and not said:
        raise InputError(
            f"Neither a shard nor a feedback batch has the video {video_id}", "Is it an id, as in the JSON?"
        )
    saw: dict[str, dict[str, list[str]]] = {}
    for key in store.partitions("training_set"):
        training_set = store.read("training_set", key)
        for part in ("train", *JUDGED_ON):
            lessons = sorted({w.lesson for w in load_windows(training_set, part) if w.video_id == video_id})
            if lessons:
                saw.setdefault(key, {})[part] = ["the corpus" if name == video_id else name for name in lessons]
    return {"video": video_id, "shards": shards, "said": _said(said), "finetunes": saw}


def as_text(chain: Any, indent: int = 0) -> Iterator[str]:
    """The lines of a chain for a terminal, two spaces a level."""
    space = "  " * indent
    if isinstance(chain, dict):
        for name, value in chain.items():
            if isinstance(value, dict | list) and value:
                yield f"{space}{name}"
                yield from as_text(value, indent + 1)
            else:
                yield f"{space}{name}: {value if value not in ({}, []) else 'none'}"
    elif isinstance(chain, list):
        for value in chain:
            yield from as_text(value, indent)
    else:
        yield f"{space}{chain}"


def _made(store: Store, asset: str, key: str) -> Artifact | None:
    return store.read(asset, key) if store.exists(asset, key) else None


def _version(artifact: Artifact) -> Chain:
    return {"version": artifact.version[:_SHOWN], "folder": str(artifact.folder)}


def _by_channel(training_set: Artifact) -> dict[str, str]:
    """The channels that taught, those of most lists first."""
    lists = {(w.channel, w.lesson) for w in load_windows(training_set, "train")}
    return {channel: f"{n} lists" for channel, n in Counter(channel for channel, _ in lists).most_common()}


def _shard(store: Store, versions: dict[str, str]) -> Chain:
    chain: Chain = {name: value if name == "key" else value[:_SHOWN] for name, value in versions.items()}
    if found := _made(store, "raw_vidchapters", versions["key"]):
        chain["files"] = [
            f"{file['path']} (sha256 {file['sha256'][:_SHOWN]})" for file in found.details["files"].values()
        ]
    return chain


def _batch(store: Store, versions: dict[str, str]) -> Chain:
    chain: Chain = {name: value if name == "key" else value[:_SHOWN] for name, value in versions.items()}
    if found := _made(store, "feedback", versions["key"]):
        users = Counter(found.table("feedback")["user"].to_pylist())
        verdicts = found.details["counts"]["verdicts"]
        chain |= {"file": found.details["file"], "verdicts": verdicts, "records_by_user": dict(users.most_common())}
    return chain


def _all_feedback(store: Store) -> Iterator[dict[str, Any]]:
    for batch in store.partitions("feedback"):
        for row in store.read("feedback", batch).table("feedback").to_pylist():
            yield row | {"batch": batch}


def _said(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"{row['created_at']:%Y-%m-%d %H:%M} {row['verdict']} by {row['user']} ({row['feedback_id']} in {row['batch']})"
        for row in sorted(rows, key=lambda row: row["created_at"])
    ]
