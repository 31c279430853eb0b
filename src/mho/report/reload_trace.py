"""A schedule with reloads as a trace in the JSON format of Chrome: a process for each core, a thread for each row.

It shows one period of the steady state, in microseconds, see `mho.report.reload_stretches`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.report.reload_document import ReloadDocument
from mho.report.reload_stretches import CrossbarRow, list_rows, measure_rows
from mho.report.trace import count_levels, name_track
from mho.scheduling.reload_schedule import ReloadSchedule

_SLICES = 40_000
"""Slices that a file has, more or less: some megabytes."""
_COUNTS = 1_000
"""Points of the counter."""
_PS_PER_US = 1_000_000


def write_reload_trace(document: ReloadDocument, schedule: ReloadSchedule, path: Path) -> None:
    """Write the trace of a schedule. Raises `InputFileError`."""
    with file_errors(path, "cannot be written"):
        write_atomically(path, json.dumps(build_reload_trace(document, schedule), separators=(",", ":")).encode())


def build_reload_trace(document: ReloadDocument, schedule: ReloadSchedule) -> dict[str, Any]:
    """Return the content of a trace.

    Args:
        document: what is told about the schedule.
        schedule: with spans.
    """
    rows = list_rows(schedule, _SLICES)
    events = [*_name_threads(rows, document.cores, document.crossbars // document.cores)]
    size = document.crossbars // document.cores
    for tid, row in enumerate(rows, start=1):
        events += _list_slices(row, schedule, pid=row.first // size, tid=tid)
    if total := schedule.timing.period_ps:
        reads, writes = (measure_rows(rows, total, _COUNTS, is_write=one) for one in (False, True))
        events += count_levels({"read": reads.tolist(), "written": writes.tolist()}, total, pid=document.cores)
    return {
        "displayTimeUnit": "ns",
        "otherData": {"network": document.network, "accelerator": document.accelerator.name},
        "traceEvents": events,
    }


def _list_slices(row: CrossbarRow, schedule: ReloadSchedule, *, pid: int, tid: int) -> Iterator[dict[str, Any]]:
    inputs = schedule.timing.inputs
    for one in row.stretches:
        name = ("write " if one.is_write else "") + schedule.work.layers[one.layer]
        yield {
            "name": name if inputs == 1 else f"{name}, batch {one.batch}",
            "cat": "writes" if one.is_write else "reads", "ph": "X", "pid": pid, "tid": tid,
            "ts": one.start_ps / _PS_PER_US, "dur": (one.finish_ps - one.start_ps) / _PS_PER_US,
            "args": {"tiles": one.tiles, "busy": round(one.busy, 4)},
        }  # fmt: skip


def _name_threads(rows: Sequence[CrossbarRow], cores: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield names and order of processes and threads."""
    used = np.unique([row.first // size for row in rows]).tolist()
    for pid, name in [*((core, f"core {core}") for core in used), (cores, "chip")]:
        yield name_track("process_name", pid, 0, name=name)
        yield name_track("process_sort_index", pid, 0, sort_index=-1 if pid == cores else pid)
    for tid, row in enumerate(rows, start=1):
        yield name_track("thread_name", row.first // size, tid, name=row.words)
        yield name_track("thread_sort_index", row.first // size, tid, sort_index=tid)
