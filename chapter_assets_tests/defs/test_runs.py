"""Runs of killed processes, on a real instance, with processes that are really killed."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from chapter_assets.defs import runs
from chapter_assets.defs.runs import mark_run, release_dead_runs

_EXECUTE = """
import sys, time
import dagster as dg
from chapter_assets.defs.runs import mark_run
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    mark_run(instance, sys.argv[2])
    print("marked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def begin(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> str:
    """A run in progress that holds the only slot of its pool, if it is the first; returns its id."""
    run = instance.add_run(dg.DagsterRun(job_name="finetune", run_id=str(uuid.uuid4()), status=status))
    instance.event_log_storage.set_concurrency_slots("gpu", 1)
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "lora_adapter")
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def slots_taken(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info("gpu").active_slot_count


@pytest.fixture
def execute(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has marked the instance's newest run as its own, and lives."""
    run_id = begin(instance)
    process = subprocess.Popen(
        [sys.executable, "-c", _EXECUTE, str(tmp_path), run_id], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "marked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_run_whose_process_was_killed_is_ended_and_its_slot_is_free(
    instance: dg.DagsterInstance, execute: subprocess.Popen[str]
) -> None:
    (run,) = instance.get_runs()
    assert release_dead_runs(instance) == []
    assert status(instance, run.run_id) == dg.DagsterRunStatus.STARTED
    assert slots_taken(instance) == 1

    os.kill(execute.pid, signal.SIGKILL)
    execute.wait()
    assert release_dead_runs(instance) == [run.run_id]
    assert status(instance, run.run_id) == dg.DagsterRunStatus.FAILURE
    assert slots_taken(instance) == 0
    assert release_dead_runs(instance) == []


def test_a_killed_process_that_nobody_waited_for_counts_as_gone(
    instance: dg.DagsterInstance, execute: subprocess.Popen[str]
) -> None:
    (run,) = instance.get_runs()
    os.kill(execute.pid, signal.SIGKILL)
    os.waitid(os.P_PID, execute.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays in the table of processes
    assert release_dead_runs(instance) == [run.run_id]


def test_the_run_of_a_living_process_is_left_alone(instance: dg.DagsterInstance) -> None:
    run_id = begin(instance)
    mark_run(instance, run_id)
    assert release_dead_runs(instance) == []
    assert status(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert slots_taken(instance) == 1


def mark(instance: dg.DagsterInstance, run_id: str, host: str, pid: int, created: int) -> None:
    instance.add_run_tags(run_id, {runs._TAG: f"{host}:{pid}:{created}"})


def test_a_number_that_another_process_has_now_does_not_keep_a_run_alive(instance: dg.DagsterInstance) -> None:
    run_id = begin(instance)
    mark(instance, run_id, socket.gethostname(), os.getpid(), created=1_000_000)
    assert release_dead_runs(instance) == [run_id]


def test_of_another_machines_process_nothing_is_known(instance: dg.DagsterInstance) -> None:
    run_id = begin(instance)
    mark(instance, run_id, f"not-{socket.gethostname()}", 1, created=1_000_000)
    assert release_dead_runs(instance) == []
    assert slots_taken(instance) == 1


@pytest.mark.parametrize(
    ("state", "released"),
    [
        (dg.DagsterRunStatus.STARTED, True),
        (dg.DagsterRunStatus.CANCELING, True),
        (dg.DagsterRunStatus.NOT_STARTED, False),
        (dg.DagsterRunStatus.SUCCESS, False),
        (dg.DagsterRunStatus.FAILURE, False),
    ],
)
def test_only_runs_in_progress_are_ended(
    instance: dg.DagsterInstance, state: dg.DagsterRunStatus, released: bool
) -> None:
    run_id = begin(instance, state)
    mark(instance, run_id, socket.gethostname(), os.getpid(), created=1_000_000)
    assert release_dead_runs(instance) == ([run_id] if released else [])
    assert status(instance, run_id) == (dg.DagsterRunStatus.FAILURE if released else state)


def test_the_run_that_asks_and_runs_that_were_never_marked_are_left_alone(instance: dg.DagsterInstance) -> None:
    mine, unmarked = begin(instance), begin(instance)
    mark(instance, mine, socket.gethostname(), os.getpid(), created=1_000_000)
    assert release_dead_runs(instance, but=mine) == []
    assert {status(instance, r) for r in (mine, unmarked)} == {dg.DagsterRunStatus.STARTED}


def test_marking_a_run_that_the_instance_does_not_know_does_nothing(instance: dg.DagsterInstance) -> None:
    mark_run(instance, "no-such-run")
    assert instance.get_runs() == []
