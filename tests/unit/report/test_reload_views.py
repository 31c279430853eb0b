"""Schedules with reloads as documents, rows of crossbars, traces and timelines."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import pairwise

import jsonschema
import pytest
from reload_schedules import make_mixed, make_reload

from mho.errors import InputFileError
from mho.report.reload_document import ReloadDocument
from mho.report.reload_stretches import list_rows, measure_rows
from mho.report.reload_timeline import render_reload_timeline, view_reload, write_reload_timeline
from mho.report.reload_trace import build_reload_trace, write_reload_trace
from mho.scheduling.reload_use import count_use
from mho.schemas import json_schema

SCHEDULES = {
    "residual": make_reload,
    "batch": lambda: make_reload(batch=3),
    "mixed": make_mixed,
    "staying": lambda: make_mixed(12),
    "one": lambda: make_mixed(2),
}


@pytest.fixture(scope="module", params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]()


@pytest.fixture(scope="module")
def document(schedule):
    return ReloadDocument.of("<net>", schedule, minimal_crossbars=99, with_energy=True)


def test_the_document_obeys_the_schema_and_adds_up(schedule, document):
    content = document.model_dump(mode="json")
    jsonschema.validate(content, json_schema("schedule"))
    assert content["regime"] == "time-multiplexed"
    assert content["batch_us"] == schedule.interval_ps / 1e6
    assert content["input_us"] * content["batch"] == pytest.approx(content["batch_us"])
    assert sum(content["crossbar_time"].values()) == pytest.approx(1)
    assert sum(layer["writes"] for layer in content["layers"]) == content["writes"] == schedule.writes
    ends = [times[-1] for times in schedule.timing.layer_ends_ps]
    assert content["layers"][-1]["finish_us"] == ends[0] / 1e6
    assert content["batch_us"] == pytest.approx(ends[-1] / 1e6 / len(ends))
    assert content["lifetime_inputs"] <= content["levelled_lifetime_inputs"]
    assert content["energy"]["components_pj"]["write"] > 0
    assert content["minimal_crossbars"] == 99


def test_a_period_shows_all_work_of_the_steady_state(schedule):
    rows, use, total = list_rows(schedule, 10**9), count_use(schedule), schedule.timing.period_ps
    spent = {True: 0, False: 0}
    for row in rows:
        for one in row.stretches:
            assert 0 <= one.start_ps < one.finish_ps <= total
            spent[one.is_write] += row.crossbars * one.busy_ps
        for earlier, later in pairwise(row.stretches):
            assert later.start_ps >= earlier.finish_ps
    assert spent == {True: use.writing_ps, False: use.reading_ps}
    assert sum(row.crossbars for row in rows) == schedule.plan.crossbars
    assert sum(one.tiles * row.crossbars for row in rows for one in row.stretches if one.is_write) == (
        schedule.writes * schedule.timing.inputs
    )


def test_crossbars_that_hold_tiles_for_good_are_one_row(schedule):
    rows = [row for row in list_rows(schedule, 10**9) if row.holds]
    assert [row.crossbars for row in rows] == [count for count in schedule.plan.staying if count]
    assert all(not one.is_write for row in rows for one in row.stretches)
    for row in rows:
        assert row.words == (
            f"crossbar {row.first}: {row.holds} stays"
            if row.crossbars == 1
            else f"crossbars {row.first}-{row.first + row.crossbars - 1}: {row.holds} stays"
        )


def test_where_there_is_too_much_layers_are_joined(schedule):
    rows, joined = (list_rows(schedule, limit) for limit in (10**9, 0))
    assert sum(len(row.stretches) for row in joined) <= sum(len(row.stretches) for row in rows)
    for row, one in zip(rows, joined, strict=True):
        reads = [stretch for stretch in row.stretches if not stretch.is_write]
        assert sum(s.busy_ps for s in one.stretches if not s.is_write) == sum(s.busy_ps for s in reads)
        assert one.stretches[-1].finish_ps == row.stretches[-1].finish_ps
        for earlier, later in pairwise(one.stretches):
            assert later.start_ps >= earlier.finish_ps


def test_curves_hold_all_work(schedule):
    rows, total, use = list_rows(schedule, 10**9), schedule.timing.period_ps, count_use(schedule)
    for is_write, spent in ((True, use.writing_ps), (False, use.reading_ps)):
        levels = measure_rows(rows, total, 50, is_write=is_write)
        assert levels.sum() * total / 50 == pytest.approx(spent, rel=1e-6)
        assert levels.max() <= schedule.crossbars + 1e-9


def test_the_trace_shows_crossbars_in_their_cores(schedule, document):
    trace = json.loads(json.dumps(build_reload_trace(document, schedule), allow_nan=False))
    events = trace["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    lanes = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            assert event["name"].startswith("write ") == (event["cat"] == "writes")
            lanes[event["pid"], event["tid"]].append(event)
    for (pid, tid), lane in lanes.items():
        first = int(re.match(r"crossbars? (\d+)", names[pid, tid])[1])
        assert pid == first // 2
        for earlier, later in pairwise(lane):
            assert later["ts"] >= earlier["ts"] + earlier["dur"] - 1e-9
    ends = [event["ts"] + event["dur"] for lane in lanes.values() for event in lane]
    assert max(ends) <= schedule.timing.period_ps / 1e6 + 1e-9
    counts = [event for event in events if event["ph"] == "C"]
    assert all(set(event["args"]) == {"read", "written"} for event in counts)
    assert counts[-1]["args"] == {"read": 0, "written": 0}


def test_the_page_draws_every_stretch(schedule, document):
    page = render_reload_timeline(document, schedule)
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["']|@import|https?://""", page)
    assert "&lt;net&gt; answers" in page
    assert "<net>" not in page
    assert "this chip lasts" in page
    data = json.loads(re.search(r'<script id="timeline-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert data["labels"] == list(schedule.work.layers)
    work = [copy["work"] for group in data["layers"] for copy in group["copies"]]
    rows = list_rows(schedule, 10**9)
    assert sum(len(one) for one in work) == 5 * sum(len(row.stretches) for row in rows)
    writes = sum(one.is_write for row in rows for one in row.stretches)
    assert sum(one[3::5].count(0) for one in work) == writes
    assert data["total"] * data["unit_ps"] == schedule.timing.period_ps
    assert sum(group["count"] for group in data["layers"]) == schedule.plan.crossbars
    names = [group["name"] for group in data["layers"]]
    assert len(set(names)) == len(names)
    assert ("tiles that stay" in names) == any(schedule.plan.staying)


def test_the_legend_names_layers(schedule):
    words = [words for _, words in view_reload(schedule).legend]
    assert words == ["written", *schedule.work.layers]


def test_files_are_written_or_the_reason_is_told(schedule, document, tmp_path):
    write_reload_timeline(document, schedule, tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    write_reload_trace(document, schedule, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["displayTimeUnit"] == "ns"
    for write in (write_reload_timeline, write_reload_trace):
        with pytest.raises(InputFileError, match="directory"):
            write(document, schedule, tmp_path)
