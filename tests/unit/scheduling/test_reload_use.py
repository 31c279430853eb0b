"""What the time of crossbars and layers goes to, and what that takes in energy, where tiles are rewritten."""

from __future__ import annotations

import pytest
from accelerators import make_accelerator

from mho.cost_model.energy import Component, energy_network
from mho.cost_model.latency import cost_network
from mho.mapping.activity import count_writing
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_network
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.reload_schedule import schedule_reload
from mho.scheduling.reload_tiles import TileGroup
from mho.scheduling.reload_timing import measure_gaps
from mho.scheduling.reload_use import count_use, list_layer_uses

LAYERS = [
    MvmLayer("first", "linear", 10, 20, 3, 1),
    MvmLayer("scores", "matmul", 5, 5, 7, 2),
    MvmLayer("second", "linear", 3, 4, 60, 1),
    MvmLayer("third", "linear", 12, 3, 1, 1),
]
POLICY = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))
ENERGY = {
    "energy": {
        "mvm_pj": 7, "adc_pj": 2, "dac_pj": 1, "cell_write_pj": 11, "operation_pj": 3, "buffer_pj_per_byte": 5,
        "memory_pj_per_byte": 13,
    }
}  # fmt: skip
LINK = {"memory": {"bytes_per_us": 1}}
DIGITAL = {"digital": {"operation_latency_us": 0.05}}


def make(crossbars, batch=1, **changes):
    hardware = make_accelerator(crossbars=crossbars, **ENERGY, **changes)
    return schedule_reload(map_network(LAYERS, POLICY, hardware, MappingModel.BEST, batch=batch), hardware, batch=batch)


@pytest.mark.parametrize(
    ("crossbars", "batch", "changes"),
    [(1, 1, {}), (1, 3, {**LINK, **DIGITAL}), (2, 1, LINK), (2, 3, DIGITAL), (5, 1, DIGITAL), (5, 3, {}), (9, 1, LINK)],
)
def test_the_time_of_crossbars_adds_up(crossbars, batch, changes):
    schedule = make(crossbars, batch, **changes)
    use, whole = count_use(schedule), crossbars * schedule.timing.period_ps
    times = use.reading_ps, use.digital_ps, use.writing_ps, use.ready_ps, use.free_ps
    assert sum(times) == whole
    assert min(times) >= 0
    assert (use.digital_ps > 0) == ("digital" in changes)


def test_one_crossbar_is_written_or_read_all_the_time():
    use = count_use(make(1))
    assert (use.digital_ps, use.ready_ps, use.free_ps) == (0, 0, 0)


def test_crossbars_whose_tiles_stay_are_ready_whenever_they_are_not_read():
    schedule = make(20)
    plan, use, period = schedule.plan, count_use(schedule), schedule.timing.period_ps
    assert sum(plan.staying) > 0
    assert not any(group.later for group in schedule.work.groups)
    held = sum(span.held_until - span.read[0] for span in schedule.timing.spans if span.crossbar >= plan.rotating)
    ahead = sum(span.read[0] - span.write[1] for span in schedule.timing.spans if span.write is not None)
    assert use.ready_ps == sum(plan.staying) * period - held + ahead


def test_a_slow_link_leaves_crossbars_free():
    assert count_use(make(5, **LINK)).free_ps > count_use(make(5)).free_ps


@pytest.mark.parametrize("crossbars", [1, 2, 5, 9])
def test_layers_add_up_to_the_schedule(crossbars):
    schedule = make(crossbars)
    uses = list_layer_uses(schedule)
    assert [use.name for use in uses] == [layer.name for layer in LAYERS]
    assert sum(use.tiles for use in uses) == schedule.work.tiles
    assert sum(use.writes for use in uses) == schedule.writes
    assert sum(use.staying for use in uses) == sum(schedule.plan.staying)
    assert [use.start_ps for use in uses] == [0, *(use.finish_ps for use in uses[:-1])]
    if schedule.timing.inputs == 1:
        assert sum(use.waiting_ps for use in uses) == schedule.waiting_ps
    assert all(0 <= use.waiting_ps <= use.finish_ps - use.start_ps for use in uses)


def test_gaps_between_intervals():
    assert measure_gaps([(3, 5), (4, 9), (12, 13), (2, 4)], 1) == 1 + 3
    assert measure_gaps([], 7) == 0


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("changes", [{}, DIGITAL])
def test_one_crossbar_takes_the_energy_that_the_cost_model_says(batch, changes):
    hardware = make_accelerator(crossbars=1, **ENERGY, **changes)
    cost = cost_network(LAYERS, POLICY, hardware, batch=batch)
    spent = schedule_reload(cost.mapping, hardware, batch=batch).price()
    expected = energy_network(cost, hardware)
    assert spent.energy == expected.energy
    assert [one.energy.component_aj for one in spent.layers] == [one.energy.component_aj for one in expected.layers]


def test_tiles_that_stay_are_not_paid_for_and_copies_are():
    few, many = (make(crossbars).price().energy.component_aj for crossbars in (1, 40))
    assert 0 < many[Component.WRITE] < few[Component.WRITE], "only the stored operand is written"
    assert Component.MEMORY not in many
    schedule = make(5)
    written = sum(
        group.count_cell_writes(copies, staying)
        for group, copies, staying in zip(
            schedule.work.groups, schedule.plan.copies, schedule.plan.staying, strict=True
        )
    )
    assert schedule.price().energy.component_aj[Component.WRITE] == written * 11_000_000


def test_leakage_runs_as_long_as_an_input_takes():
    hardware = make_accelerator(crossbars=3, energy={"crossbar_leakage_uw": 2, "mvm_pj": 1})
    schedule = schedule_reload(map_network(LAYERS, POLICY, hardware, MappingModel.BEST), hardware)
    assert schedule.price().energy.component_aj[Component.LEAKAGE] == 3 * 2 * schedule.latency_ps


def test_the_cells_of_all_tiles_are_those_of_the_mapping():
    schedule = make(4, batch=2)
    for number, mapping in enumerate(schedule.network.layers):
        cells = sum(
            cells * tiles for group in schedule.work.groups if group.layer == number for cells, tiles in group.cells
        )
        inputs = 2 if mapping.layer.is_stored_dynamically else 1
        assert cells == count_writing(mapping, schedule.accelerator).cell_writes * inputs


def test_the_largest_tiles_stay():
    group = TileGroup(0, 5, 4, 1, 0, 1, 0, cells=((9, 2), (4, 3)))
    assert group.count_cell_writes(1, 0) == 2 * 9 + 3 * 4
    assert group.count_cell_writes(2, 5) == 5 * 4, "four copies of the large and one of the small stay"
    assert group.count_cell_writes(2, 10) == 0
