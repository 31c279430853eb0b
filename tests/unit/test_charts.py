"""Charts of values: Plotly figures in the colours of the reports' light theme."""

from __future__ import annotations

import json
import re

import pytest
from chip_networks import make_residual
from search_problem import search
from study_results import make_result, point

import mho


@pytest.fixture(scope="module")
def network():
    return make_residual()


def check(figure, traces):
    """Check that a figure can be written, names no colour of a page, and has some traces."""
    text = figure.to_json()
    assert "var(--" not in text
    assert len(json.loads(text)["data"]) == traces
    assert re.search("#[0-9a-f]{6}", text)


def test_costs_and_maps_are_drawn_by_layer(network):
    cost = mho.cost(network, "pelke2026-4bit", "4/6")
    check(cost.plot(), 1)
    (bars,) = cost.plot().data
    assert list(bars.x) == list(network.layer_names)
    assert sum(bars.y) * 1e6 == pytest.approx(cost.latency_ps)
    found = mho.map(network, "pelke2026-4bit", "4/6")
    check(found.plot(), 2)
    assert all(low <= time for low, time in zip(found.plot().data[0].y, found.plot().data[1].y, strict=True))


@pytest.mark.parametrize(("accelerator", "simulate"), [("isaac", True), ("isaac", False), ("pelke2026-4bit", True)])
def test_schedules_are_timelines_of_all_layers(network, accelerator, simulate):
    schedule = mho.schedule(network, accelerator, "4/6", simulate=simulate)
    figure = schedule.plot()
    assert {trace.name for trace in figure.data} - {"written"} == set(network.layer_names)
    ends = [start + length for trace in figure.data for start, length in zip(trace.base, trace.x, strict=True)]
    assert min(start for trace in figure.data for start in trace.base) == 0
    assert max(ends) > 0
    check(figure, len(figure.data))


def test_searches_show_each_policy_and_the_front(network):
    result = search("random", 12)
    assert repr(result).startswith("SearchResult(random: 12 policies")
    assert len(result.table().rows) == 12
    check(result.plot(), 4)
    shown = {trace.name: trace for trace in result.plot().data}
    assert len(shown["found policy"].x) == 1
    assert len(shown["Pareto front"].x) >= 1
    check(result.plot("front"), 4)


def test_studies_show_each_sweep():
    noise, bits = "array.programming_error", "converters.adc_bits"
    points = [point({noise: 0.1}, [60, 70, 80], noise), point({noise: 0.001}, [97, 97, 97], noise)]
    points.append(point({bits: 4}, [90, 91, 89], bits))
    study = make_result([(noise, [0.1, 0.001], "log"), (bits, [4], "linear")], points)
    assert repr(study).startswith("StudyResult(")
    assert len(study.table().rows) == 3
    assert "exact integers" in study.plot().to_json()
    for sweep in study.sweeps:
        assert study.plot(sweep.key).layout.xaxis.title.text == sweep.key


def test_other_charts_are_errors_that_name_those_there_are(network):
    with pytest.raises(mho.MhoError, match="there is no chart 'speed'"):
        mho.cost(network, "pelke2026-4bit").plot("speed")
    with pytest.raises(mho.MhoError, match="a Network has no chart"):
        mho.plot(network)
