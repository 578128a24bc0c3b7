"""Runs whose process was killed: finding them, ending them, freeing the pool slots they hold.

A run that dies by kill -9 stays STARTED and keeps its slot, and the daemon's run monitoring does not look at runs of
the command line. So each run writes down which process it is, and the next one looks whether that still lives.
"""

import socket
from contextlib import suppress

import dagster as dg
import psutil

_TAG = "chapter_assets/process"


def _me() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def mark_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write down, as a tag, which process executes the run."""
    if instance.has_run(run_id):
        instance.add_run_tags(run_id, {_TAG: _me()})


def _is_dead(tag: str) -> bool:
    """Whether the tagged process is gone; of another machine's process nothing is known, so it counts as alive."""
    host, pid, created = tag.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(created)) > 2
    return True


def release_dead_runs(instance: dg.DagsterInstance, but: str | None = None) -> list[str]:
    """Report as failed each run in progress whose process is gone, free its slots; returns their ids."""
    released = []
    in_progress = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    for run in instance.get_runs(in_progress):
        if run.run_id != but and _TAG in run.tags and _is_dead(run.tags[_TAG]):
            # Slots first: killed in between, this still finds the run in progress the next time.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            instance.report_run_failed(run, "Its process is gone (killed, or the machine went down)")
            released.append(run.run_id)
    return released
