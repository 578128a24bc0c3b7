"""The feedback loop by itself, on the sample: `make loop`.

`dagster dev` runs with its daemon, the sensors `discover` and `retrain` are on, and three batches of users' verdicts
arrive one after the other. Nobody touches anything from then on: the batches are found and taken in, a finetune is
claimed, trained, judged and decided. The printed lines are what the daemon's ticks, runs and finetunes say.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import dagster as dg
import typer

from chapter_assets.lifecycle.finetunes import IN_PROGRESS, read_all
from chapter_assets.settings import Settings
from chapter_assets.store import Store

SENSORS = ("discover", "retrain")
BETWEEN_BATCHES = 20.0  # s
LOOK_EVERY = 2.0  # s
SECONDS_TO_STOP = 30.0


def main(
    port: Annotated[int, typer.Option(help="Of the UI, to watch it meanwhile")] = 3000,
    minutes: Annotated[float, typer.Option(help="Give up after this long")] = 40.0,
) -> None:
    """Let three batches arrive, and print what happens until a finetune of theirs is decided."""
    root, store = Path.cwd(), Store(Settings().store_dir)
    inbox = store.root / "loop" / "feedback"
    inbox.mkdir(parents=True, exist_ok=True)
    batches = [b for b in sorted(Path("data/feedback").glob("sample-*.jsonl")) if not (inbox / b.name).exists()]
    if not batches:
        raise typer.BadParameter(
            f"these batches have arrived before: delete {inbox.parent} and the store to see it again"
        )
    os.environ |= {"DAGSTER_HOME": str(root), "CHAPTER_ASSETS_FEEDBACK_DIR": str(inbox)}
    dagster = str(Path(sys.executable).with_name("dagster"))
    before = {finetune.key for finetune in read_all(store)}
    with dg.DagsterInstance.get() as instance, (store.root / "loop" / "dagster.log").open("w") as log:
        for name in SENSORS:
            subprocess.run([dagster, "sensor", "start", name], check=True)
        dev = subprocess.Popen(
            [dagster, "dev", "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log, start_new_session=True
        )
        try:
            began, told, due = time.monotonic(), set(news(instance, store)), list(batches)
            while time.monotonic() - began < 60 * minutes:
                passed = time.monotonic() - began
                if due and passed >= BETWEEN_BATCHES * (len(batches) - len(due) + 1):
                    batch = due.pop(0)
                    shutil.copy(batch, inbox / f".{batch.name}")
                    (inbox / f".{batch.name}").rename(inbox / batch.name)
                    print(f"{passed:5.0f} s  a batch arrives: {batch.name}", flush=True)
                for line in news(instance, store):
                    if line not in told:
                        print(f"{passed:5.0f} s  {line}", flush=True)
                        told.add(line)
                ours = [f for f in read_all(store) if f.key not in before]
                if ours and not due and all(f.state not in (*IN_PROGRESS, "failed") for f in ours):
                    print(f"\nDecided after {passed / 60:.1f} minutes without a hand: see `chapter-assets finetunes`")
                    return
                time.sleep(LOOK_EVERY)
            raise typer.Exit(1)
        finally:
            os.killpg(dev.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                dev.wait(SECONDS_TO_STOP)
            with suppress(ProcessLookupError):
                os.killpg(dev.pid, signal.SIGKILL)  # what is left of it
            dev.wait()
            for name in SENSORS:
                subprocess.run([dagster, "sensor", "stop", name], check=True)


def news(instance: dg.DagsterInstance, store: Store) -> Iterator[str]:
    """What ticks, runs and finetunes say now, a line each."""
    for sensor in instance.all_instigator_state():
        for tick in instance.get_ticks(sensor.instigator_origin_id, sensor.selector_id, limit=1):
            if tick.skip_reason or tick.run_ids:
                yield f"tick of {sensor.instigator_name}: {tick.skip_reason or f'asks for {len(tick.run_ids)} runs'}"
    for run in instance.get_runs(limit=20):
        yield f"run {run.run_id[:8]} {run.job_name} {run.tags.get('dagster/partition', '')}: {run.status.value}"
    for finetune in read_all(store):
        yield f"{finetune.key} {finetune.state}: {finetune.reason}"


if __name__ == "__main__":
    typer.run(main)
