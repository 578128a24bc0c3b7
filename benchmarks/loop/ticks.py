"""How long a tick of the retrain sensor takes with many batches and finetunes: `python -m benchmarks.loop.ticks`."""

import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from chapter_assets.defs.retraining import limits_of, next_finetune
from chapter_assets.lifecycle.finetunes import Evidence, claim, move, read_all
from chapter_assets.settings import Settings
from chapter_assets.store import Store, write_json

FINETUNES = 200  # each with ten batches, kept


def main(batches: int = 2000) -> None:
    """Print the seconds of five ticks, which all skip."""
    with tempfile.TemporaryDirectory() as root:
        os.environ["CHAPTER_ASSETS_STORE_DIR"] = f"{root}/store"
        settings, now = Settings(), datetime.now(UTC)
        store = Store(settings.store_dir)
        keys = [f"fb-{number:05d}" for number in range(batches)]
        for asset, partition, details in (
            ("training_windows", "sample", {"settings": {"base_model_hash": "model"}}),
            *(("feedback_windows", key, {"counts": {"edits": 10}}) for key in keys),
        ):
            with store.publish(asset, partition) as draft:
                (draft.folder / "windows.parquet").write_bytes(b"0" * 1000)
                draft.version, draft.details = "1" * 64, details
        for number in range(FINETUNES):
            taken = tuple((key, "1" * 64) for key in keys[10 * number : 10 * number + 10])
            claimed = claim(store, Evidence(batches=taken, base_model="m", recipe="r"), read_all(store), [], "", now)
            kept = move(store, claimed, "failed", "", now).model_copy(update={"state": "kept"})
            write_json(store.root / "lifecycle" / "finetunes" / f"{kept.key}.json", kept.model_dump(mode="json"))
        (Path(root) / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(f"{root}/dagster") as instance:
            instance.add_dynamic_partitions("feedback_batch", keys)
            for _ in range(5):
                began = time.perf_counter()
                answer = next_finetune(instance, settings, limits_of(settings))
                print(f"{time.perf_counter() - began:.2f} s for {batches} batches, {FINETUNES} finetunes: {answer}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
