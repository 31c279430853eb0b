"""A schedule as a trace in the JSON format of Chrome, which Perfetto opens.

A process stands for each core (where the copies that gather their sums there are shown), a thread for each copy.
Times in the file are microseconds, as the format wants; each slice is a stretch of work of one copy on one input, or
the write of an operand that is stored for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import file_errors
from mho.report.stretches import measure_activity, merge_spans
from mho.scheduling.placement import ChipPlan, CopyPlace
from mho.simulation.chip_timing import ChipTiming

_SLICES = 20_000
"""Slices that a file has, more or less: some megabytes."""
_COUNTS = 1_000
"""Points of the counter."""
_PS_PER_US = 1_000_000


def write_trace(network: str, accelerator: str, plan: ChipPlan, timing: ChipTiming, path: Path) -> None:
    """Write the trace of a simulation with spans, see `build_trace`. Raises `InputFileError`."""
    content = build_trace(network, accelerator, plan, timing)
    with file_errors(path, "cannot be written"):
        write_atomically(path, json.dumps(content, separators=(",", ":")).encode())


def build_trace(network: str, accelerator: str, plan: ChipPlan, timing: ChipTiming) -> dict[str, Any]:
    """Return the content of a trace.

    Args:
        network, accelerator: their names.
        plan: which crossbars and cores hold what.
        timing: its simulation, with spans.
    """
    places = [place for copies in plan.places.values() for place in copies]
    cores, batch = plan.chip.cores, len(timing.finish_ps)
    threads = {(place.layer, place.number): number for number, place in enumerate(places, start=1)}
    homes = {(place.layer, place.number): place.home for place in places}
    events = [*_name_threads(places, threads, cores)]
    for stretch in merge_spans(timing.spans, _SLICES):
        copy = (stretch.layer, stretch.copy)
        name = f"write {stretch.layer}" if stretch.is_write else stretch.layer
        if batch > 1:
            name += f", input {stretch.index}"
        events.append(
            {
                "name": name, "cat": "writes" if stretch.is_write else "windows", "ph": "X",
                "pid": homes[copy], "tid": threads[copy],
                "ts": stretch.start_ps / _PS_PER_US, "dur": (stretch.finish_ps - stretch.start_ps) / _PS_PER_US,
                "args": {"input": stretch.index, "windows": stretch.windows, "busy": round(stretch.busy, 4)},
            }
        )  # fmt: skip
    events += _count_crossbars(plan, timing, pid=cores)
    return {
        "displayTimeUnit": "ns",
        "otherData": {"network": network, "accelerator": accelerator},
        "traceEvents": events,
    }


def _name_threads(places: list[CopyPlace], threads: dict[tuple[str, int], int], cores: int) -> Iterator[dict[str, Any]]:
    """Yield names and order of processes and threads."""
    used = sorted({place.home for place in places})
    for pid, name in [*((core, f"core {core}") for core in used), (cores, "chip")]:
        yield name_track("process_name", pid, 0, name=name)
        yield name_track("process_sort_index", pid, 0, sort_index=-1 if pid == cores else pid)
    for place in places:
        tid = threads[place.layer, place.number]
        yield name_track("thread_name", place.home, tid, name=f"{place.layer}, copy {place.number}{_tell_place(place)}")
        yield name_track("thread_sort_index", place.home, tid, sort_index=tid)


def name_track(kind: str, pid: int, tid: int, **arguments: str | int) -> dict[str, Any]:
    """Return an event that names a process or a thread, or says where it stands."""
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": arguments}


def _tell_place(place: CopyPlace) -> str:
    if not place.crossbars:
        return ""
    first, last = place.crossbars[0], place.crossbars[-1]
    crossbars = f"crossbar {first}" if first == last else f"crossbars {first}-{last}"
    return f" ({crossbars})"


def _count_crossbars(plan: ChipPlan, timing: ChipTiming, *, pid: int) -> Iterator[dict[str, Any]]:
    """Yield how many crossbars are read, and written where any are, on average over short times."""
    if not timing.total_ps:
        return
    crossbars = {name: len(copies[0].crossbars) for name, copies in plan.places.items()}
    levels = {}
    for name, is_write in (("crossbars", False), ("written", True)):
        spans = [span for span in timing.spans if span.is_write is is_write]
        if spans or not is_write:
            levels[name] = measure_activity(spans, crossbars, timing.total_ps, _COUNTS).tolist()
    yield from count_levels(levels, timing.total_ps, pid=pid)


def count_levels(levels: Mapping[str, Sequence[float]], total_ps: int, *, pid: int) -> Iterator[dict[str, Any]]:
    """Yield a counter of crossbars at work: for each name levels in equal parts of the time, and zero at its end."""
    for number, row in enumerate([*zip(*levels.values(), strict=True), (0.0,) * len(levels)]):
        count = len(next(iter(levels.values())))
        yield {
            "name": "crossbars at work", "ph": "C", "pid": pid, "tid": 0, "ts": number * total_ps / count / _PS_PER_US,
            "args": {name: round(level, 2) for name, level in zip(levels, row, strict=True)},
        }  # fmt: skip
