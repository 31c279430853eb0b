from __future__ import annotations

import io
import json

import jsonschema
import pytest
from chip_schedules import make_schedule

from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_text import format_time, print_schedule
from mho.schemas import json_schema
from mho.terminal import Console


@pytest.fixture(scope="module")
def made():
    return make_schedule()


@pytest.fixture(scope="module")
def document(made):
    return ScheduleDocument.of("net", *made, with_energy=True)


def text_of(document):
    stream = io.StringIO()
    print_schedule(Console(file=stream, width=400), document)
    return stream.getvalue()


def test_the_document_fits_its_schema_and_reads_back(document):
    content = json.loads(json.dumps(document.model_dump(mode="json"), allow_nan=False))
    jsonschema.validate(content, json_schema("schedule"))
    assert ScheduleDocument.model_validate(content) == document


def test_times_are_those_of_the_schedule(made, document):
    schedule, timing = made
    assert document.latency_us * 1e6 == pytest.approx(schedule.timing.makespan_ps)
    assert document.bound_us <= document.latency_us <= document.simulated.latency_us
    assert document.simulated.total_us * 1e6 == pytest.approx(timing.total_ps)
    assert document.simulated.byte_hops == timing.byte_hops > 0
    assert 0 < document.simulated.interconnect_busy <= 1


def test_the_time_of_copies_is_accounted_for(document):
    for layer in document.layers:
        assert layer.busy + sum(layer.lost.values()) == pytest.approx(1)
        assert len(layer.first_crossbars) == layer.copies
    held = sum(layer.crossbars * layer.copies for layer in document.layers)
    assert held == document.used_crossbars
    busy = sum(layer.busy * layer.crossbars * layer.copies for layer in document.layers)
    assert document.simulated.utilization == pytest.approx(busy / document.crossbars)
    assert busy / held + sum(document.simulated.lost.values()) == pytest.approx(1)


def test_a_copy_lies_in_neighbouring_crossbars(made, document):
    for layer in document.layers:
        for first, place in zip(layer.first_crossbars, made[0].plan.places[layer.name], strict=True):
            assert place.crossbars == tuple(range(first, first + layer.crossbars))


def test_without_a_simulation_the_closed_form_is_told(made):
    schedule, _ = made
    closed = ScheduleDocument.of("net", schedule, with_energy=True)
    assert closed.simulated is None
    assert all(layer.lost is None for layer in closed.layers)
    assert max(layer.finish_us for layer in closed.layers) * 1e6 == pytest.approx(schedule.timing.total_ps)
    assert "interconnect" in closed.energy.untold
    assert "simulated" not in text_of(closed)


def test_energy_and_area_are_told_where_asked_for(made, document):
    parts = document.energy.components_pj
    assert {str(part) for part in parts} == {"crossbar", "interconnect", "leakage"}
    assert document.energy.total_pj == pytest.approx(sum(parts.values()))
    assert parts["interconnect"] == pytest.approx(5 * document.simulated.byte_hops / 3)
    assert document.area.total_mm2 == pytest.approx((40 * 100 + 4 * 50) / 1e6)
    silent = ScheduleDocument.of("net", *made)
    assert silent.energy is None
    assert silent.area is None


def test_the_text_tells_causes_cores_and_totals(document):
    text = text_of(document)
    assert "40 crossbars of 32 x 16 in 4 cores, mesh interconnect" in text
    assert "3 inputs" in text
    for word in ("option", "copies", "busy", "interconnect", "done"):
        assert f" {word} " in text
    assert "write us" not in text, "nothing is written"
    assert "waiting for earlier layers" in text
    assert f"latency {format_time(document.simulated.latency_us)}   with an ideal interconnect" in text
    assert f"unlimited buffers {format_time(document.latency_us)}   bound" in text
    assert "mm2" in text


@pytest.mark.parametrize(
    ("microseconds", "told"),
    [
        (0, "0"),
        (0.00001, "10.00 ps"),
        (0.144, "144.0 ns"),
        (1.4, "1.400 us"),
        (70246.4, "70.25 ms"),
        (2.5e6, "2.500 s"),
    ],
)
def test_times_are_told_with_the_unit_that_fits(microseconds, told):
    assert format_time(microseconds) == told
