"""kill -9 in the middle of each long step, and the same command again."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from chapter_assets.lifecycle import finetunes as states
from chapter_assets.store import Store
from chapter_assets_tests.shell import SAMPLE, Shell

RUN = ("run", "--shard", "sample", "--no-zero-shot", "--set", "epochs=2", "--set", "title_share=0.5")
ASSETS = ("transcripts", "training_windows", "training_set", "lora_adapter", "chapter_predictions", "eval_report")


def deploy(folder: Path, model: Path) -> tuple[Shell, Store]:
    folder.mkdir()
    shell = Shell(folder, model)
    shutil.copytree(SAMPLE, folder / "data" / "corpus" / "sample")
    return shell, Store(folder / "data" / "store")


def kill_when(shell: Shell, reached: Callable[[], bool]) -> None:
    """Run the whole graph and kill it, with all its processes, as soon as `reached`."""
    process = shell.start(*RUN)
    deadline = time.monotonic() + 240
    while not reached():
        assert process.poll() is None, (shell.folder / "started.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_run_that_was_killed_three_times_ends_as_one_that_was_not(tmp_path: Path, tiny_model: Path) -> None:
    undisturbed, expected = deploy(tmp_path / "undisturbed", tiny_model)
    undisturbed(*RUN)

    shell, store = deploy(tmp_path / "killed", tiny_model)
    adapter, predictions = store.root / "lora_adapter", store.root / "chapter_predictions"
    kill_when(shell, lambda: any(store.root.glob("videos/sample/.draft-*/*")))
    assert not store.exists("videos", "sample")
    kill_when(shell, lambda: any(adapter.glob("*/work-*/checkpoint-*/trainer_state.json")))
    kill_when(shell, lambda: any(f.read_bytes().count(b"\n") > 20 for f in predictions.glob("*/work-*/*.jsonl")))
    shell(*RUN)

    key = store.partitions("lora_adapter")
    assert key == ["ft-0001"]
    assert store.details("lora_adapter", "ft-0001")["resumed_at_step"] > 0
    for asset in ASSETS:
        partition = "sample" if asset in ("transcripts", "training_windows") else "ft-0001"
        assert store.read(asset, partition).version == expected.read(asset, partition).version, asset
    finetune = states.find(store, "ft-0001")
    assert finetune is not None
    passed = ["claimed", "set_frozen", "failed", "claimed", "set_frozen", "trained", "failed"]
    passed += ["claimed", "set_frozen", "trained", "evaluated", "kept"]
    assert [step.state for step in finetune.history] == passed
    leftovers = [p for p in store.root.rglob("*") if p.name.startswith((".draft-", "work-"))]
    assert leftovers == []

    before = Path.cwd()
    os.chdir(shell.folder)  # the instance's folders are relative to where the command runs
    try:
        with dg.DagsterInstance.from_config(str(shell.folder)) as instance:
            stuck = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
            assert list(instance.get_runs(stuck)) == []
            slots = instance.event_log_storage.get_concurrency_info("gpu")
            assert slots.active_slot_count == 0
            assert slots.pending_step_count == 0
    finally:
        os.chdir(before)
