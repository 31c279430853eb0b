"""The part of the page that tells what the whole chip would take."""

from __future__ import annotations

import re

import pytest
from chip_schedules import make_schedule
from reload_schedules import make_reload

from mho.formats import TIMES
from mho.report.page import render_page
from mho.report.result_figures import ChipFigures
from mho.report.timeline import TimelineView

FIGURES = (
    ChipFigures(name="reference", label="uniform 8/8", reason="net: the layers take 99 crossbars"),
    ChipFigures(
        name="found", label="found policy", minimal_crossbars=12, used_crossbars=1234, latency_us=56.0, bound_us=55.9,
        interval_us=0.25, total_us=70.0,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def timeline():
    return TimelineView.of(make_schedule()[0].draw_gantt())


def render(result, timeline=None):
    hardware = {**result.accelerator, "chip": {"crossbars": 2000, "cores": 1}}
    return render_page(result.model_copy(update={"chip": FIGURES, "accelerator": hardware}), timeline=timeline)


def test_policies_are_told_with_figures_or_reasons(result):
    part = re.search(r"<h2>On the whole chip</h2>(.*?)</section>", render(result), re.S)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part, re.S)]
    assert ["uniform 8/8", "no schedule: net: the layers take 99 crossbars"] in rows
    times = ["56.0\u202fµs", "55.9\u202fµs", "250\u202fns"]
    assert ["found policy", "12", "1\u202f234", *times, "—"] in rows
    assert "The chip has 2\u202f000" in part
    assert 'id="timeline"' not in part


def test_policies_whose_tiles_are_rewritten_are_told_with_writes_and_lifetime(result):
    reloaded = ChipFigures(
        name="reference", label="uniform 8/8", is_reloaded=True, minimal_crossbars=99, used_crossbars=7,
        latency_us=80.0, bound_us=70.0, interval_us=80.0, total_us=240.0, writes=4321, lifetime_inputs=100, speedup=1.0,
    )  # fmt: skip
    hardware = {**result.accelerator, "chip": {"crossbars": 2000, "cores": 1}}
    changed = result.model_copy(update={"chip": (reloaded, FIGURES[1]), "accelerator": hardware})
    page = render_page(changed, timeline=TimelineView.of(make_reload().draw_gantt()))
    part = re.search(r"<h2>On the whole chip</h2>(.*?)</section>", page, re.S)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part, re.S)]
    times = ["80.0\u202fµs", "70.0\u202fµs", "80.0\u202fµs"]
    assert ["uniform 8/8", "99", "7", *times, "4\u202f321", "100", f"1.00{TIMES}"] in rows
    assert [len(row) for row in rows if row] == [9, 9]
    assert "tiles are rewritten for every inference" in part
    assert "Three inferences with the found policy" in part


def test_the_timeline_stands_in_the_page_with_its_script_and_style(result, timeline):
    page = render(result, timeline)
    assert "Three inferences with the found policy" in page
    assert page.count('id="timeline"') == page.count('id="timeline-data"') == page.count('id="tip"') == 1
    assert ".timeline .rows" in page
    assert 'getElementById("timeline-data")' in page


def test_a_chip_of_one_crossbar_shows_nothing(result):
    page = render_page(result)
    assert "On the whole chip" not in page
    assert "timeline" not in page.split("<script>")[0]
