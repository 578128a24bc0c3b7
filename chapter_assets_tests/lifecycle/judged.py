"""Finished finetunes without a model: artifacts with made-up lists, whole and in one run, for the gate to judge."""

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from chapter_assets.lifecycle.champion import opponents
from chapter_assets.store import Store, content_hash
from chapter_assets_tests.evaluation.made_up import many, table


def finish(
    store: Store,
    key: str,
    hit: float,
    others: Mapping[str, float] | None = None,
    seed: int = 0,
    without: Collection[str] = (),
) -> None:
    """A finetune that finds a boundary with the probability `hit`; `others`: the same for the systems beside it.

    It has no list for the videos `without`.
    """
    against = opponents(store, key)
    hits = {"control": 0.2, **dict.fromkeys(against, 0.5), **(others or {}), "finetuned": hit}
    gold, rows = many(60, hits, seed=seed)
    rows = [row for row in rows if row["system"] != "finetuned" or row["video_id"] not in without]
    version = content_hash([key, hit, seed])
    with store.publish("training_set", key) as draft:
        videos = [{"video_id": v, "duration": duration, "split": "gate"} for v, (duration, _) in gold.items()]
        chapters = [
            {"video_id": v, "start": c.start, "title": c.title} for v, (_, chapters) in gold.items() for c in chapters
        ]
        pq.write_table(pa.Table.from_pylist(videos), draft.folder / "videos.parquet")
        pq.write_table(pa.Table.from_pylist(chapters), draft.folder / "chapters.parquet")
        draft.version = content_hash([seed])
    with store.publish("lora_adapter", key) as draft:
        (draft.folder / "weights").write_text(version)
        draft.version, draft.details = version, {"training_set": content_hash([seed])}
    pinned = {system: {"finetune": p.finetune, "adapter": p.adapter} for system, p in against.items()}
    with store.publish("chapter_predictions", key) as draft:
        pq.write_table(table(rows), draft.folder / "predictions.parquet")
        draft.version, draft.details = content_hash([version, pinned]), {"adapter": version, "against": pinned}
    with store.publish("eval_report", key) as draft:
        draft.version = content_hash([version, "report"])
        draft.details = {"chapter_predictions": content_hash([version, pinned])}
