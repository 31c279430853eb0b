from __future__ import annotations

import json
import re

import pytest
from chip_schedules import make_schedule, make_stored_schedule

from mho.errors import InputFileError
from mho.report.schedule_document import ScheduleDocument
from mho.report.timeline import render_timeline, write_timeline


@pytest.fixture(scope="module")
def made():
    schedule, timing = make_schedule()
    return ScheduleDocument.of("<net>", schedule), schedule, timing


@pytest.fixture(scope="module")
def page(made):
    return render_timeline(*made)


@pytest.fixture(scope="module")
def data(page):
    return json.loads(re.search(r'<script id="timeline-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_needs_nothing_else(page):
    assert "default-src 'none'" in page
    assert not re.search(r"""(?:src|href)=["']|@import|https?://""", page)


def test_names_are_escaped(page):
    assert "&lt;net&gt; answers one input" in page
    assert "<net>" not in page


def test_it_draws_every_window_of_every_copy(made, data):
    _, schedule, timing = made
    assert [layer["name"] for layer in data["layers"]] == list(schedule.mappings)
    for layer in data["layers"]:
        assert len(layer["copies"]) == schedule.copies[layer["name"]]
        work = [copy["work"] for copy in layer["copies"]]
        assert sum(sum(one[3::5]) for one in work) == 3 * schedule.graph[layer["name"]].windows
        assert {index for one in work for index in one[2::5]} == {0, 1, 2}
        assert [copy["first"] for copy in layer["copies"]] == [
            place.crossbars[0] for place in schedule.plan.places[layer["name"]]
        ]
    ends = [start + size for layer in data["layers"] for copy in layer["copies"]
            for start, size in zip(copy["work"][0::5], copy["work"][1::5], strict=True)]  # fmt: skip
    assert max(ends) == data["total"]
    assert data["total"] * data["unit_ps"] == timing.total_ps


def test_a_colour_for_each_input_and_the_curve_of_crossbars(data):
    assert len(set(data["hues"])) == 3
    assert 0 < max(data["activity"]) <= 1
    assert min(data["activity"]) >= 0
    assert data["written"] == []


def test_the_table_tells_the_causes_that_there_are(made, page):
    (layer,) = [layer for layer in made[0].layers if layer.name == "head"]
    assert layer.lost["input"] > 0
    assert 'class="cause-input"' in page
    assert 'class="cause-write"' not in page


def test_writes_of_stored_operands_are_drawn():
    schedule, timing = make_stored_schedule()
    page = render_timeline(ScheduleDocument.of("net", schedule), schedule, timing)
    data = json.loads(re.search(r'<script id="timeline-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert "a stored operand is written" in page
    for layer in data["layers"]:
        work = schedule.graph[layer["name"]]
        writes = sum(copy["work"][3::5].count(0) for copy in layer["copies"])
        assert writes == (2 * min(len(layer["copies"]), work.windows) if work.write_ps else 0)
    assert max(data["written"]) > 0


def test_files_are_written_or_the_reason_is_told(made, tmp_path):
    write_timeline(*made, tmp_path / "timeline.html")
    assert (tmp_path / "timeline.html").read_text().startswith("<!doctype html>")
    with pytest.raises(InputFileError, match="directory"):
        write_timeline(*made, tmp_path)
