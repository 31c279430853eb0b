from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise

import pytest
from chip_schedules import make_schedule, make_stored_schedule

from mho.errors import InputFileError
from mho.report.trace import build_trace, write_trace


@pytest.fixture(scope="module")
def made():
    schedule, timing = make_schedule()
    return schedule, timing


@pytest.fixture(scope="module")
def trace(made):
    return json.loads(json.dumps(traced(*made), allow_nan=False))


def traced(schedule, timing):
    return build_trace("net", schedule.accelerator.name, schedule.plan, timing)


def events(trace, phase):
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def test_every_event_has_what_the_format_asks_for(trace):
    assert {event["ph"] for event in trace["traceEvents"]} == {"M", "X", "C"}
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] > 0
        elif event["ph"] == "C":
            assert event["ts"] >= 0
        else:
            assert event["name"] in ("process_name", "process_sort_index", "thread_name", "thread_sort_index")


def test_processes_are_cores_and_threads_are_copies(made, trace):
    schedule = made[0]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events(trace, "M") if e["name"] == "thread_name"}
    assert len(names) == sum(schedule.copies.values())
    processes = {e["pid"]: e["args"]["name"] for e in events(trace, "M") if e["name"] == "process_name"}
    place = schedule.plan.places["second"][1]
    (named,) = [key for key, name in names.items() if name.startswith("second, copy 1 ")]
    assert processes[named[0]] == f"core {place.home}"
    assert str(place.crossbars[0]) in names[named]
    assert {(e["pid"], e["tid"]) for e in events(trace, "X")} == set(names)


def test_slices_of_a_copy_follow_each_other_and_hold_all_windows(made, trace):
    schedule, timing = made
    lanes = defaultdict(list)
    for event in events(trace, "X"):
        lanes[event["pid"], event["tid"]].append(event)
    for lane in lanes.values():
        for earlier, later in pairwise(lane):
            assert later["ts"] >= earlier["ts"] + earlier["dur"] - 1e-9
    windows = sum(event["args"]["windows"] for event in events(trace, "X"))
    assert windows == 3 * sum(layer.windows for layer in schedule.graph.layers)
    assert max(e["ts"] + e["dur"] for e in events(trace, "X")) == pytest.approx(timing.total_ps / 1e6)
    assert {event["args"]["input"] for event in events(trace, "X")} == {0, 1, 2}


def test_the_counter_adds_up_to_the_work(made, trace):
    schedule, timing = made
    counts = events(trace, "C")
    width = counts[1]["ts"] - counts[0]["ts"]
    work = sum(
        schedule.graph[layer.name].crossbars * layer.busy_ps for layer in timing.layers
    )  # crossbars times picoseconds
    assert sum(event["args"]["crossbars"] for event in counts) * width == pytest.approx(work / 1e6, rel=0.01)
    assert counts[-1]["args"]["crossbars"] == 0


def test_writes_of_stored_operands_are_slices_and_a_counter():
    schedule, timing = make_stored_schedule()
    trace = traced(schedule, timing)
    writes = [event for event in events(trace, "X") if event["cat"] == "writes"]
    stored = [layer for layer in schedule.graph.layers if layer.write_ps]
    assert len(stored) == 2
    assert len(writes) == sum(2 * min(schedule.copies[layer.name], layer.windows) for layer in stored)
    assert {event["name"] for event in writes} == {
        f"write {layer.name}, input {index}" for layer in stored for index in (0, 1)
    }
    assert all(event["dur"] == stored[0].write_ps / 1e6 for event in writes)
    lanes = defaultdict(list)
    for event in events(trace, "X"):
        lanes[event["pid"], event["tid"]].append(event)
    for lane in lanes.values():
        for earlier, later in pairwise(lane):
            assert later["ts"] >= earlier["ts"] + earlier["dur"] - 1e-9
    assert max(event["args"]["written"] for event in events(trace, "C")) > 0


def test_files_are_written_or_the_reason_is_told(made, tmp_path):
    write_trace("net", "chip", made[0].plan, made[1], tmp_path / "new" / "trace.json")
    assert json.loads((tmp_path / "new" / "trace.json").read_text())["displayTimeUnit"] == "ns"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputFileError, match=r"file/trace\.json"):
        write_trace("net", "chip", made[0].plan, made[1], tmp_path / "file" / "trace.json")
