from __future__ import annotations

import io
import json

import jsonschema
import pytest
from chip_networks import make_residual
from chip_schedules import ACCELERATOR, make_schedule
from reload_schedules import make_mixed, make_reload

from mho.formats import format_time
from mho.policy import BitWidths, Policy
from mho.report.schedule_document import ScheduleDocument
from mho.report.schedule_text import print_schedule
from mho.scheduling.chip_schedule import schedule_network
from mho.schemas import json_schema
from mho.terminal import Console


@pytest.fixture(scope="module")
def made():
    return make_schedule()


@pytest.fixture(scope="module")
def document(made):
    return ScheduleDocument.of("net", made[0], with_energy=True)


def text_of(document):
    stream = io.StringIO()
    print_schedule(Console(file=stream, width=400), document)
    return stream.getvalue()


def test_the_document_fits_its_schema_and_reads_back(document):
    content = json.loads(json.dumps(document.model_dump(mode="json"), allow_nan=False))
    jsonschema.validate(content, json_schema("schedule"))
    assert ScheduleDocument.model_validate(content) == document


@pytest.mark.parametrize("make", [make_reload, lambda: make_reload(batch=3), make_mixed, lambda: make_mixed(12)])
def test_a_schedule_with_reloads_has_the_same_document(make):
    schedule = make()
    document = ScheduleDocument.of("<net>", schedule, with_energy=True)
    content = document.model_dump(mode="json")
    jsonschema.validate(content, json_schema("schedule"))
    assert ScheduleDocument.model_validate(content) == document
    assert content["regime"] == "time-multiplexed"
    assert content["latency_us"] == schedule.latency_ps / 1e6
    assert content["interval_us"] * content["batch"] == pytest.approx(content["latency_us"])
    assert sum(content["reload"]["crossbar_time"].values()) == pytest.approx(1)
    assert sum(layer["writes"] for layer in content["layers"]) == content["reload"]["writes"] == schedule.writes
    ends = [times[-1] for times in schedule.timing.layer_ends_ps]
    assert content["layers"][-1]["finish_us"] == ends[0] / 1e6
    assert content["latency_us"] == pytest.approx(ends[-1] / 1e6 / len(ends))
    assert content["lifetime_inputs"] <= content["reload"]["levelled_lifetime_inputs"]
    assert content["energy"]["components_pj"]["write"] > 0
    assert content["used_crossbars"] == schedule.plan.crossbars


def test_times_are_those_of_the_schedule(made, document):
    schedule, timing = made
    assert document.pipeline.ideal_latency_us * 1e6 == pytest.approx(schedule.ideal.makespan_ps)
    assert document.pipeline.ideal_interval_us * 1e6 == pytest.approx(schedule.ideal.interval_ps)
    assert (
        document.bound_us <= document.pipeline.ideal_latency_us < document.latency_us == document.simulated.latency_us
    )
    assert document.interval_us == document.simulated.interval_us >= document.simulated.bottleneck_us
    assert document.latency_us * 1e6 == pytest.approx(schedule.timing.latency_ps)
    assert document.interval_us * 1e6 == pytest.approx(schedule.timing.interval_ps)
    assert document.simulated.total_us * 1e6 == pytest.approx(timing.total_ps)
    assert document.simulated.byte_hops == timing.byte_hops > 0
    assert 0 < document.simulated.interconnect_busy <= 1


def test_the_time_of_copies_is_accounted_for(document):
    for layer in document.layers:
        assert layer.busy + sum(layer.lost.values()) == pytest.approx(1)
        assert len(layer.first_crossbars) == layer.copies
    held = sum(layer.tiles * layer.copies for layer in document.layers)
    assert held == document.used_crossbars
    busy = sum(layer.busy * layer.tiles * layer.copies for layer in document.layers)
    assert document.simulated.utilization == pytest.approx(busy / document.crossbars)
    assert busy / held + sum(document.simulated.lost.values()) == pytest.approx(1)


def test_a_copy_lies_in_neighbouring_crossbars(made, document):
    for layer in document.layers:
        for first, place in zip(layer.first_crossbars, made[0].plan.places[layer.name], strict=True):
            assert place.crossbars == tuple(range(first, first + layer.tiles))


def test_without_a_simulation_the_closed_form_is_reported(made):
    policy = Policy.uniform([layer.name for layer in made[0].graph.layers], BitWidths(4, 4))
    schedule = schedule_network(make_residual(), policy, ACCELERATOR, batch=3)
    closed = ScheduleDocument.of("net", schedule, with_energy=True)
    assert closed.simulated is None
    assert (closed.latency_us, closed.interval_us) == (
        closed.pipeline.ideal_latency_us,
        closed.pipeline.ideal_interval_us,
    )
    assert all(layer.lost is None for layer in closed.layers)
    assert max(layer.finish_us for layer in closed.layers) * 1e6 == pytest.approx(schedule.ideal.total_ps)
    assert "interconnect" in closed.energy.untold
    text = text_of(closed)
    assert "simulated" not in text
    for what, value in (("latency", closed.latency_us), ("interval", closed.interval_us)):
        assert f"{what} {format_time(value)} with an ideal interconnect and unlimited buffers" in text


def test_energy_and_area_are_reported_where_asked_for(made, document):
    parts = document.energy.components_pj
    assert {str(part) for part in parts} == {"crossbar", "interconnect", "leakage"}
    assert document.energy.total_pj == pytest.approx(sum(parts.values()))
    assert parts["interconnect"] == pytest.approx(5 * document.simulated.byte_hops / 3)
    assert document.area.total_mm2 == pytest.approx((40 * 100 + 4 * 50) / 1e6)
    silent = ScheduleDocument.of("net", made[0])
    assert silent.energy is None
    assert silent.area is None


def test_the_text_tells_causes_cores_and_totals(document):
    text = text_of(document)
    assert "40 crossbars of 32 x 16 in 4 cores, mesh interconnect" in text
    assert "3 inputs" in text
    for word in ("mapping", "copies", "busy", "interconnect", "done"):
        assert f" {word} " in text
    assert " write " not in text, "nothing is written"
    assert "waiting for earlier layers" in text
    ideal, other = document.pipeline, "with an ideal interconnect and unlimited buffers: "
    assert f"latency {format_time(document.latency_us)}   bound" in text
    assert f"interval {format_time(document.interval_us)}   bound" in text
    other += f"latency {format_time(ideal.ideal_latency_us)}, interval {format_time(ideal.ideal_interval_us)}, "
    assert other + f"layer by layer {format_time(ideal.layer_by_layer_us)}" in text
    assert f"{1e6 / document.interval_us:,.0f} inputs a second   limited by {document.simulated.bottleneck}" in text
    assert "mm2" in text
