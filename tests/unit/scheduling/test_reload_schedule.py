import pytest
from accelerators import make_accelerator

from mho.cost_model.latency import cost_network
from mho.errors import ScheduleError
from mho.hardware.loading import override
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_network
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.options import list_chip_options
from mho.scheduling.reload_schedule import schedule_network_reload, schedule_reload
from mho.scheduling.reload_search import find_plan, list_simple_plans
from mho.scheduling.reload_tiles import NetworkTiles, TileGroup
from mho.scheduling.reload_timing import ReloadPlan, time_reload

LAYERS = [
    MvmLayer("first", "linear", 10, 20, 3, 1),
    MvmLayer("scores", "matmul", 5, 5, 7, 2),
    MvmLayer("second", "linear", 3, 4, 6, 1),
    MvmLayer("third", "linear", 2, 3, 1, 1),
]
WEIGHTS = [layer for layer in LAYERS if not layer.is_stored_dynamically]
POLICY = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))
ENDURANCE = {"endurance": {"cell_writes": 1000}}


def map_layers(hardware, layers=LAYERS, model=MappingModel.BEST, batch=1):
    policy = Policy.uniform([layer.name for layer in layers], BitWidths(4, 3))
    return map_network(layers, policy, hardware, model, batch=batch)


@pytest.mark.parametrize(
    ("model", "batch", "changes"),
    [
        ("best", 3, {}),
        ("paper", 1, {"digital": {"operation_latency_us": 0.000013}}),
        ("best", 1, {"crossbar": {"active_rows": 3}}),
        ("paper", 3, {"converters": {"columns_per_adc": 3, "adc_bits": 9, "adc_latency_us_per_bit": 0.1}}),
        (
            "best",
            3,
            {"converters": {"columns_per_adc": 3, "column_difference": "analog", "adc_latency_us_per_bit": 0.1}},
        ),
    ],
)
def test_one_crossbar_takes_what_the_cost_model_says(model, batch, changes):
    hardware = make_accelerator(**changes)
    cost = cost_network(LAYERS, POLICY, hardware, model=MappingModel(model), batch=batch)
    schedule = schedule_reload(cost.mapping, hardware, batch)
    assert schedule.latency_ps == schedule.bound_ps == cost.latency_ps
    assert schedule.interval_ps == cost.latency_ps / batch
    assert schedule.is_optimal
    assert schedule.work.tiles == sum(
        layer.writes * (batch if layer.mapping.layer.is_stored_dynamically else 1) for layer in cost.layers
    )


def test_the_network_that_is_checked_shares_writes():
    mapping = map_layers(make_accelerator(rows=64, cols=64), WEIGHTS)
    assert any(mapping.joins(number) for number in range(len(WEIGHTS)))
    work = NetworkTiles.of(mapping, make_accelerator(rows=64, cols=64))
    assert sum(len(group.later) for group in work.groups) > 0


def test_all_tiles_stay_where_they_fit():
    hardware = make_accelerator(**ENDURANCE)
    mapping = map_layers(hardware, WEIGHTS, MappingModel.PAPER)
    tiles = sum(layer.tiles for layer in mapping.layers)
    schedule = schedule_reload(mapping, override(hardware, crossbars=tiles))
    assert schedule.writes == schedule.cell_writes_per_input == schedule.waiting_ps == 0
    assert schedule.lifetime_inputs is None
    assert schedule.interval_ps == sum(
        max(g.held_ps for g in schedule.work.groups if g.layer == number) for number in range(len(WEIGHTS))
    )


def equal_tiles(*layers, write_ps=10):
    """Return the work of layers of (tiles, windows, window_ps)."""
    groups = [TileGroup(number, *layer, 0, write_ps, 0) for number, layer in enumerate(layers)]
    return NetworkTiles(tuple(f"l{n}" for n in range(len(layers))), tuple(groups), (0,) * len(layers), 1)


def test_a_crossbar_that_is_free_is_written_while_others_are_read():
    timing = time_reload(equal_tiles((1, 1, 30), (1, 1, 40)), ReloadPlan(2, (1, 1), (0, 0)), with_spans=True)
    assert timing.interval_ps == 70
    assert [span.write for span in timing.spans] == [(-10, 0), (0, 10)]


def test_a_tile_is_written_late_where_no_crossbar_is_free():
    timing = time_reload(equal_tiles((2, 1, 30), (1, 1, 40)), ReloadPlan(2, (1, 1), (0, 0)), with_spans=True)
    assert [span.write for span in timing.spans] == [(-10, 0), (0, 10), (30, 40)]
    assert timing.period_ps == 10 + 30 + 40


def test_several_inputs_make_a_period_where_one_does_not_repeat():
    timing = time_reload(equal_tiles((15, 3, 4), (2, 6, 4), (1, 1, 4), write_ps=53), ReloadPlan(4, (1,) * 3, (0,) * 3))
    assert timing.inputs == 2
    first, second = timing.layer_ends_ps[0][-1], timing.period_ps - timing.layer_ends_ps[0][-1]
    assert first != second
    assert timing.interval_ps == -(-(first + second) // 2)


def test_windows_of_a_slow_tile_are_shared():
    hardware = make_accelerator(rows=16, cols=64, crossbars=4)
    layers = [MvmLayer("slow", "linear", 8, 4, 1000, 1), MvmLayer("wide", "linear", 200, 16, 1, 1)]
    mapping = map_layers(hardware, layers, MappingModel.PAPER)
    shared = schedule_reload(mapping, hardware)
    assert shared.plan.copies[0] > 1
    alone = (time_reload(shared.work, plan).interval_ps for plan in list_simple_plans(shared.work, 4))
    assert shared.interval_ps < min(alone)


def test_the_link_to_the_outside_slows_writes():
    fast, slow = make_accelerator(crossbars=4), make_accelerator(crossbars=4, memory={"bytes_per_us": 1})
    mapping = map_layers(fast, WEIGHTS, MappingModel.PAPER)
    ideal, limited = (schedule_reload(mapping, one) for one in (fast, slow))
    assert limited.interval_ps >= ideal.interval_ps
    cells = sum(part.rows * part.cols for layer in mapping.layers for part in layer.parts)
    staying = sum(limited.plan.staying)
    tile_ps = 8 * 8 * 2 * 1_000_000 // 8
    assert limited.bound_ps >= cells * 2 * 1_000_000 // 8 - staying * tile_ps


def test_wear_is_that_of_the_most_written_crossbar():
    hardware = make_accelerator(**ENDURANCE)
    mapping = map_layers(hardware, WEIGHTS, MappingModel.PAPER)
    schedule = schedule_reload(mapping, hardware, batch=4)
    tiles = sum(layer.tiles for layer in mapping.layers)
    assert schedule.writes == tiles
    assert schedule.cell_writes_per_input == tiles / 4
    assert schedule.lifetime_inputs == schedule.levelled_lifetime_inputs == 1000 * 4 // tiles


def test_copies_are_weighed_against_what_the_link_brings():
    sizes = [(18, 20, 7), (24, 20, 7), (12, 100, 4)]
    groups = tuple(TileGroup(layer, *one, 0, 40, 20) for layer, one in enumerate(sizes))
    work = NetworkTiles(("first", "second", "third"), groups, (0, 0, 0), 1)
    # Two copies of the slowest layer would halve its reads, but bring 12 more tiles over the link: 1,000 ps.
    assert time_reload(work, find_plan(work, 34)).interval_ps <= 960


def test_with_the_plans_of_smaller_chips_known_more_crossbars_are_never_slower_and_wear_is_never_below_the_mean():
    hardware, found = make_accelerator(**ENDURANCE), []
    for crossbars in range(1, 12):
        known = [schedule.plan for schedule in found]
        found.append(schedule_reload(map_layers(hardware), override(hardware, crossbars=crossbars), known=known))
        assert found[-1].cell_writes_per_input * crossbars >= found[-1].writes / found[-1].batch
        assert found[-1].lifetime_inputs <= found[-1].levelled_lifetime_inputs
    times = [schedule.latency_ps for schedule in found]
    assert times == sorted(times, reverse=True)
    assert times[-1] < times[0]


def test_the_faster_of_both_mappings_is_taken_on_the_crossbars_of_the_accelerator():
    hardware, layers = (
        make_accelerator(rows=16, cols=16, crossbars=3),
        [LAYERS[0], MvmLayer("last", "linear", 3, 40, 6, 1)],
    )
    policy, best = Policy.uniform([layer.name for layer in layers], BitWidths(4, 3)), MappingModel.BEST
    fewest = [list_chip_options(layer, policy[layer.name], hardware, best)[0] for layer in layers]
    cheapest = map_network(layers, policy, hardware, best)
    times = [schedule_reload(mapping, hardware).latency_ps for mapping in (cheapest, fewest)]
    schedule = schedule_network_reload(layers, policy, hardware)
    assert (schedule.crossbars, schedule.latency_ps) == (3, min(times))
    assert schedule.minimal_crossbars == sum(mapping.tiles for mapping in fewest)
    single = schedule_network_reload(layers, policy, override(hardware, crossbars=1), batch=2)
    assert single.latency_ps == cost_network(layers, policy, hardware, batch=2).latency_ps


def test_impossible_numbers_are_an_error():
    hardware = make_accelerator()
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_reload(map_layers(hardware), hardware, 0)
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_reload([], hardware)
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_network_reload(LAYERS, POLICY, hardware, batch=0)
    with pytest.raises(ScheduleError, match="at least 1"):
        schedule_network_reload([], Policy({}), hardware)
