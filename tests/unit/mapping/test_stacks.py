"""Which layers share a crossbar: compared with trying every way, on few layers of few units."""

import itertools

import numpy as np
import pytest
from accelerators import make_accelerator

from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_layers
from mho.mapping.stacks import NEVER, UNITS, Axis, StackSpace, StackTimes, choose_stacks, saved_times_ps
from mho.network.layers import MvmLayer
from mho.policy import BitWidths

WRITE = 1000


def stack_times(*curves, is_transparent=False):
    """A layer that takes in a stack, for each axis, {units: time less that by itself}."""
    extra = np.full((1, len(Axis), UNITS + 1), NEVER, np.int64)
    for axis, curve in zip(Axis, curves, strict=False):
        for units, time in curve.items():
            extra[0, axis, units:] = np.minimum(extra[0, axis, units:], time)
    return StackTimes(extra, np.array([is_transparent]))


def saved(layers, room):
    return int(saved_times_ps(layers, [(np.zeros(1, int),)] * len(layers), WRITE, room)[0])


def room_of(rows, cols=UNITS):
    return StackSpace(make_accelerator(rows=rows, cols=cols).crossbar)


def least_by_trying(layers, room):
    """The least time relative to layers by themselves: every cut into stacks, every axis, every number of units."""

    def stack_time(members, axis):
        options = [
            [(units, extra) for units, extra in enumerate(layer.extra_ps[0, axis].tolist()) if extra < NEVER]
            for layer in members
        ]
        times = [
            WRITE + sum(extra for _, extra in chosen)
            for chosen in itertools.product(*options)
            if sum(units for units, _ in chosen) <= room.count(axis)
        ]
        return min(times, default=NEVER)

    def least(start):
        if start == len(layers):
            return 0
        best = least(start + 1)
        if layers[start].is_transparent[0]:
            return best
        members = []
        for stop in range(start, len(layers)):
            if layers[stop].is_transparent[0]:
                continue
            members.append(layers[stop])
            best = min(best, min(stack_time(members, axis) for axis in Axis) + least(stop + 1))
        return best

    return least(0)


@pytest.mark.parametrize("seed", range(60))
def test_the_best_stacks_are_found(seed):
    draws, room = np.random.default_rng(seed), room_of(4, 3)
    layers = []
    for _ in range(4):
        curves = [
            {int(units): int(draws.integers(-WRITE, WRITE)) for units in draws.integers(1, 4, draws.integers(0, 3))}
            for _ in Axis
        ]
        layers.append(stack_times(*({}, {}) if draws.random() < 0.2 else curves, is_transparent=draws.random() < 0.2))
    layers = [stack_times(is_transparent=True) if one.is_transparent[0] else one for one in layers]
    least = least_by_trying(layers, room)
    assert saved(layers, room) == -least
    slots = choose_stacks(layers, WRITE, room)
    assert time_of(layers, slots) == least
    check_places(slots, room)


def time_of(layers, slots):
    members = [(layer, slot) for layer, slot in zip(layers, slots, strict=True) if slot is not None]
    reads = sum(int(layer.extra_ps[0, slot.axis, slot.units]) for layer, slot in members)
    return WRITE * len({slot.writer for _, slot in members}) + reads


def check_places(slots, room):
    for writer in {slot.writer for slot in slots if slot is not None}:
        stack = [slot for slot in slots if slot is not None and slot.writer == writer]
        assert len(stack) > 1
        assert slots[writer] == stack[0]
        assert len({slot.axis for slot in stack}) == 1
        ends = [slot.start + slot.units for slot in stack]
        assert [slot.start for slot in stack] == [0, *ends[:-1]]
        assert ends[-1] <= room.count(stack[0].axis)


def test_layers_stay_by_themselves_where_a_stack_saves_nothing():
    alike = stack_times({2: 0})
    assert choose_stacks([alike, alike], WRITE, room_of(4)) == [None, None]
    assert saved([alike, alike], room_of(4)) == 0


def test_a_layer_that_fills_crossbars_ends_a_stack_and_one_without_any_does_not():
    small = stack_times({1: -WRITE})
    assert saved([small, stack_times(), small], room_of(4)) == 0
    assert saved([small, stack_times(is_transparent=True), small], room_of(4)) == WRITE
    slots = choose_stacks([small, stack_times(is_transparent=True), small], WRITE, room_of(4))
    assert [slot and (slot.writer, slot.start) for slot in slots] == [(0, 0), None, (0, 1)]


def test_many_policies_are_reported_at_once():
    draws, room = np.random.default_rng(0), room_of(40, 25)
    extra = np.minimum.accumulate(draws.integers(-WRITE, WRITE, (3, 5, len(Axis), UNITS + 1)), axis=-1)
    extra[..., 0] = NEVER
    transparent = draws.random((3, 5)) < 0.3
    tables = [StackTimes(one, clear) for one, clear in zip(extra, transparent, strict=True)]
    index = draws.integers(0, 5, (3, 200))
    found = saved_times_ps(tables, [(one,) for one in index], WRITE, room)
    for policy in range(200):
        layers = [
            StackTimes(table.extra_ps[one, None], table.is_transparent[one, None])
            for table, one in zip(tables, index[:, policy], strict=True)
        ]
        assert found[policy] == saved(layers, room)


@pytest.mark.parametrize("lines", [1, 5, 16, 17, 31, 33, 256, 1000])
def test_units_fill_no_more_than_the_crossbar(lines):
    room = room_of(lines, lines)
    for axis in Axis:
        assert 1 <= room.count(axis) <= UNITS
        assert lines - room.unit(axis) < room.unit(axis) * room.count(axis) <= lines


def dense(name, inputs=8, outputs=4, positions=1):
    return MvmLayer(name, "linear", outputs, inputs, positions, 1)


def place(layers, bits="3/1", model=MappingModel.BEST, **changes):
    hardware = make_accelerator(32, 32, 4, 1, **changes)
    return map_layers(layers, [BitWidths.parse(bits)] * len(layers), hardware, model)


def test_small_dense_layers_lie_in_one_crossbar():
    mapped = place([dense("a"), dense("b"), dense("c")])
    assert [place.writer for place in mapped.placements] == [0, 0, 0]
    assert len({(place.row, place.col) for place in mapped.placements}) == 3
    assert mapped.companions(0) == (1, 2)
    assert [mapped.written_with(number) for number in range(3)] == [None, "a", "a"]
    assert mapped.stack(1) == ("a", "c")


def test_the_papers_mapping_and_hardware_that_forbids_it_share_nothing():
    layers = [dense("a"), dense("b")]
    for mapped in (
        place(layers, model=MappingModel.PAPER),
        place(layers, mapping={"allowed": {"shared_writes": False}}),
    ):
        assert [place.writer for place in mapped.placements] == [0, 1]


def test_products_in_crossbars_end_a_stack_and_those_of_the_digital_unit_do_not():
    layers = [dense("a"), MvmLayer("qk", "matmul", 8, 8, 8, 1), dense("b")]
    assert not place(layers).joins(2)
    quick = place(layers, digital={"operation_latency_us": 0.000001})
    assert quick.layers[1].is_digital
    assert quick.joins(2)


def test_a_layer_that_may_be_digital_lies_in_a_stack_where_that_is_faster():
    layers = [dense("a"), dense("b"), dense("c")]
    times = {"mapping": {"digital_layers": "auto"}, "digital": {"operation_latency_us": 1.5}}
    assert place(layers[:1], **times).layers[0].is_digital
    stacked = place(layers, **times)
    assert not any(layer.is_digital for layer in stacked.layers)
    assert stacked.joins(1)
    assert stacked.joins(2)


def test_a_mapping_that_was_given_is_written_by_itself():
    layers = [dense("a"), dense("b"), dense("c")]
    hardware = make_accelerator(32, 32, 4, 1)
    own = map_layers([layers[1]], [BitWidths(3, 1)], hardware, MappingModel.BEST).layers[0]
    mapped = map_layers(layers, [BitWidths(3, 1)] * 3, hardware, MappingModel.BEST, given={"b": own})
    assert mapped.layers[1] is own
    assert [place.writer for place in mapped.placements] == [0, 1, 2]
