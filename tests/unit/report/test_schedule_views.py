"""Gantt charts of both kinds of schedules as traces and pages: what one truth holds for, it holds for all."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import pairwise

import pytest
from chip_schedules import make_schedule, make_stored_schedule
from reload_schedules import make_mixed, make_reload

from mho.errors import InputFileError, ScheduleError
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_page import render_timeline, write_timeline
from mho.report.timeline import TimelineView
from mho.report.trace import build_trace, write_trace
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.reload_schedule import ReloadSchedule
from mho.scheduling.reload_use import count_use
from mho.simulation.chip_search import SimulatedSchedule

RESIDENT = {"copies": lambda: make_schedule()[0], "stored": lambda: make_stored_schedule()[0]}
RELOADED = {
    "residual": make_reload,
    "batch": lambda: make_reload(batch=3),
    "mixed": make_mixed,
    "staying": lambda: make_mixed(12),
    "one": lambda: make_mixed(2),
}


@pytest.fixture(scope="module", params=[*RESIDENT, *RELOADED])
def schedule(request):
    return (RESIDENT | RELOADED)[request.param]()


@pytest.fixture(scope="module")
def chart(schedule):
    return schedule.draw_gantt(10**9)


@pytest.fixture(scope="module")
def document(schedule):
    return ScheduleDocument.of("<net>", schedule, with_energy=True)


@pytest.fixture(scope="module")
def page(document, chart):
    return render_timeline(document, chart)


def spent_ps(schedule):
    """Return the time of reads and writes of all crossbars."""
    if isinstance(schedule, ReloadSchedule):
        use = count_use(schedule)
        return {False: use.reading_ps, True: use.writing_ps}
    spans, spent = schedule.timing.batch.spans, {False: 0, True: 0}
    for span in spans:
        spent[span.is_write] += schedule.graph[span.layer].crossbars * (span.finish_ps - span.start_ps)
    return spent


def count_bars(schedule):
    """Return the windows that are read, or the tiles that are written, which bars must count."""
    if isinstance(schedule, ReloadSchedule):
        return schedule.writes * schedule.timing.inputs
    return schedule.batch * sum(layer.windows for layer in schedule.graph.layers)


def test_a_chart_shows_all_work_once(schedule, chart):
    spent = {True: 0, False: 0}
    for row in chart.rows:
        for bar in row.bars:
            assert 0 <= bar.start_ps < bar.finish_ps <= chart.total_ps
            spent[bar.is_write] += row.crossbars * bar.busy_ps
        for earlier, later in pairwise(row.bars):
            assert later.start_ps >= earlier.finish_ps
    assert spent == spent_ps(schedule)
    assert sum(row.crossbars for row in chart.rows) == schedule.used_crossbars
    is_reload = isinstance(schedule, ReloadSchedule)
    counted = sum(
        bar.count * (row.crossbars if is_reload else 1)
        for row in chart.rows for bar in row.bars if bar.is_write is is_reload
    )  # fmt: skip
    assert counted == count_bars(schedule)
    names = [group.name for group in chart.groups]
    assert len(set(names)) == len(names)


def test_rows_are_copies_or_crossbars_in_their_cores(schedule, chart):
    size = schedule.accelerator.chip.crossbars_per_core
    if isinstance(schedule, ReloadSchedule):
        assert ("tiles that stay" in [group.name for group in chart.groups]) == any(schedule.plan.staying)
        rows = [row for row in chart.rows if row.name.endswith(" stays")]
        assert [row.crossbars for row in rows] == [count for count in schedule.plan.staying if count]
        assert not any(bar.is_write for row in rows for bar in row.bars)
        assert all(row.core == int(re.match(r"crossbars? (\d+)", row.name)[1]) // size for row in chart.rows)
    else:
        assert [group.name for group in chart.groups] == list(schedule.mappings)
        assert [group.count for group in chart.groups] == list(schedule.copies.values())
        places = [place for copies in schedule.plan.places.values() for place in copies]
        for place, row in zip(places, chart.rows, strict=True):
            first, last = place.crossbars[0], place.crossbars[-1]
            where = f"crossbar {first}" if first == last else f"crossbars {first}-{last}"
            assert (row.name, row.core) == (f"{place.layer}, copy {place.number} ({where})", place.home)


def test_where_there_is_too_much_bars_are_joined_and_no_work_is_lost(schedule, chart):
    joined = schedule.draw_gantt(0)
    assert len(list(joined.bars)) <= len(list(chart.bars))
    for row, one in zip(chart.rows, joined.rows, strict=True):
        for field in ("busy_ps", "count"):
            before, after = (
                sum(getattr(bar, field) for bar in bars if not bar.is_write) for bars in (row.bars, one.bars)
            )
            assert before == after
        assert max(bar.finish_ps for bar in one.bars) == max(bar.finish_ps for bar in row.bars)
        assert one.bars[0].start_ps == row.bars[0].start_ps


def test_curves_hold_all_work(schedule, chart):
    spent = spent_ps(schedule)
    for is_write, curve in ((True, chart.writing), (False, chart.reading)):
        levels = curve.measure(chart.total_ps, 50)
        assert levels.sum() * chart.total_ps / 50 == pytest.approx(spent[is_write], rel=1e-6)
        assert levels.max() <= schedule.crossbars + 1e-9


def test_a_trace_holds_every_bar_in_the_format_of_chrome(schedule, chart):
    trace = json.loads(json.dumps(build_trace("net", "chip", chart), allow_nan=False))
    events, lanes = trace["traceEvents"], defaultdict(list)
    assert {event["ph"] for event in events} == {"M", "X", "C"}
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert list(names.values()) == [row.name for row in chart.rows]
    for event in events:
        if event["ph"] == "X":
            assert event["name"].startswith("write ") == (event["cat"] == "writes")
            assert processes[event["pid"]] == f"core {event['pid']}"
            lanes[event["pid"], event["tid"]].append(event)
    assert set(lanes) <= set(names)
    assert sum(map(len, lanes.values())) == len(list(chart.bars))
    for lane in lanes.values():
        for earlier, later in pairwise(lane):
            assert later["ts"] >= earlier["ts"] + earlier["dur"] - 1e-9
    slices = [event for lane in lanes.values() for event in lane]
    assert max(one["ts"] + one["dur"] for one in slices) == pytest.approx(chart.total_ps / 1e6)
    assert {one["args"][chart.item] for one in slices} == set(range(chart.items))
    counts = [event for event in events if event["ph"] == "C"]
    assert counts[-1]["args"] == {"read": 0, "written": 0}
    width = counts[1]["ts"] - counts[0]["ts"]
    shown = sum(event["args"]["read"] for event in counts) * width
    assert shown == pytest.approx(spent_ps(schedule)[False] / 1e6, rel=0.02)


def test_a_page_needs_nothing_else_and_draws_every_bar(schedule, chart, page):
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["'][^#]|@import|https?://""", page)
    assert "&lt;net&gt; answers" in page
    assert "<net>" not in page
    data = json.loads(re.search(r'<script id="timeline-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert data["total"] * data["unit_ps"] == chart.total_ps
    work = [row["work"] for group in data["groups"] for row in group["rows"]]
    assert [row["name"] for group in data["groups"] for row in group["rows"]] == [row.name for row in chart.rows]
    assert sum(map(len, work)) == 5 * len(list(chart.bars))
    assert sum(one[3::5].count(0) for one in work) == sum(bar.is_write for bar in chart.bars)
    assert 0 < max(data["activity"]) <= 1
    assert bool(data["written"]) == any(bar.is_write for bar in chart.bars)
    labels = [f"input {number}" for number in range(schedule.batch)]
    assert data["labels"] == (list(chart.layers) if isinstance(schedule, ReloadSchedule) else labels)
    view = TimelineView.of(chart)
    written = ["written"] if any(bar.is_write for bar in chart.bars) else []
    assert [words for _, words in view.legend] == [*written, *data["labels"]]


def test_the_table_has_a_bar_of_causes_for_each_layer(schedule, document, page):
    if isinstance(schedule, ReloadSchedule):
        assert "this chip lasts" in page
        assert "What the time of all crossbars goes to" in page
    else:
        assert any(layer.lost["input"] > 0 for layer in document.layers)
        assert 'class="cause-input"' in page
        assert ('class="cause-write"' in page) == any(layer.lost["write"] for layer in document.layers)


def test_only_a_simulation_with_spans_tells_when_copies_work(schedule):
    if isinstance(schedule, ChipSchedule):
        for quiet in (SimulatedSchedule.of(schedule), ChipSchedule.draw_gantt):
            with pytest.raises(ScheduleError, match="simulat"):
                quiet(schedule) if callable(quiet) else quiet.draw_gantt()


def test_files_are_written_or_the_reason_is_given(document, chart, tmp_path):
    write_timeline(document, chart, tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    write_trace("net", "chip", chart, tmp_path / "new" / "t.json")
    assert json.loads((tmp_path / "new" / "t.json").read_text())["displayTimeUnit"] == "ns"
    with pytest.raises(InputFileError, match="directory"):
        write_timeline(document, chart, tmp_path)
    with pytest.raises(InputFileError, match="directory"):
        write_trace("net", "chip", chart, tmp_path)
