"""A schedule as a trace in the JSON format of Chrome, which Perfetto opens.

A process stands for each core, a thread for each row of the chart: a copy, where its sums are gathered, or crossbars
that do the same. Times in the file are microseconds, as the format wants; each slice is a bar of the chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.formats import PS_PER_US
from mho.scheduling.gantt import GanttChart, Row

_COUNTS = 1_000
"""Points of the counter."""


def write_trace(network: str, accelerator: str, chart: GanttChart, path: Path) -> None:
    """Write the trace of a schedule, see `build_trace`. Raises `InputFileError`."""
    content = json.dumps(build_trace(network, accelerator, chart), separators=(",", ":"))
    with file_errors(path, "cannot be written"):
        write_atomically(path, content.encode())


def build_trace(network: str, accelerator: str, chart: GanttChart) -> dict[str, Any]:
    """Return the content of a trace.

    Args:
        network, accelerator: their names.
        chart: what is shown.
    """
    rows = list(enumerate(chart.rows, start=1))
    events = list(_name_threads(rows, chart.cores))
    for thread, row in rows:
        events += [
            {
                "name": chart.name_bar(bar), "cat": "writes" if bar.is_write else "reads", "ph": "X",
                "pid": row.core, "tid": thread,
                "ts": bar.start_ps / PS_PER_US, "dur": (bar.finish_ps - bar.start_ps) / PS_PER_US,
                "args": {chart.item: bar.item, f"{chart.unit}s": bar.count, "busy": round(bar.busy, 4)},
            }
            for bar in row.bars
        ]  # fmt: skip
    return {
        "displayTimeUnit": "ns",
        "otherData": {"network": network, "accelerator": accelerator},
        "traceEvents": [*events, *_count_crossbars(chart, chart.cores)],
    }


def _name_threads(rows: list[tuple[int, Row]], cores: int) -> Iterator[dict[str, Any]]:
    """Yield names and order of processes and threads."""
    used = sorted({row.core for _, row in rows})
    for process, name in [*((core, f"core {core}") for core in used), (cores, "chip")]:
        yield _name("process_name", process, 0, name=name)
        yield _name("process_sort_index", process, 0, sort_index=-1 if process == cores else process)
    for thread, row in rows:
        yield _name("thread_name", row.core, thread, name=row.name)
        yield _name("thread_sort_index", row.core, thread, sort_index=thread)


def _name(kind: str, process: int, thread: int, **arguments: str | int) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": arguments}


def _count_crossbars(chart: GanttChart, process: int) -> Iterator[dict[str, Any]]:
    """Yield how many crossbars are read and written, on average over short times, and zero at the end."""
    if not chart.total_ps:
        return
    reads, writes = (one.measure(chart.total_ps, _COUNTS).tolist() for one in (chart.reading, chart.writing))
    for number, (read, written) in enumerate(zip([*reads, 0.0], [*writes, 0.0], strict=True)):
        yield {
            "name": "crossbars at work", "ph": "C", "pid": process, "tid": 0,
            "ts": number * chart.total_ps / _COUNTS / PS_PER_US,
            "args": {"read": round(read, 2), "written": round(written, 2)},
        }  # fmt: skip
