"""What every simulation of a chip holds: equal to the closed form where nothing is in the way, never ahead of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from accelerators import make_accelerator
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_work_graphs import interconnects, plans, sizes, work_graphs

from mho.errors import ScheduleError
from mho.scheduling.asap import time_asap
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.placement import place_copies
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph
from mho.simulation.chip_machine import Machine
from mho.simulation.chip_timing import Cause, simulate_chip

IDEAL = make_accelerator()


def list_starts(graph, plan, timing, batch):
    """Return int64 [inputs, windows] for each layer, from the spans; checks them against the turns of copies."""
    starts = {layer.name: np.full(layer.windows * batch, -1, np.int64) for layer in graph.layers}
    busy_until, next_item = {}, {}
    for span in sorted(timing.spans, key=lambda span: (span.start_ps, span.finish_ps)):
        layer, copies = graph[span.layer], len(plan.places[span.layer])
        key = span.layer, span.copy
        if span.is_write:
            check_write(span, layer, next_item.get(key, span.copy), busy_until.get(key, 0))
            busy_until[key] = span.finish_ps
            continue
        assert span.start_ps >= busy_until.get(key, 0), "a copy runs two windows at once"
        assert span.finish_ps - span.start_ps == span.windows * layer.window_ps
        busy_until[key] = span.finish_ps
        for number in range(span.windows):
            item = next_item.get(key, span.copy)
            assert item // layer.windows == span.index
            starts[span.layer][item] = span.start_ps + number * layer.window_ps
            next_item[key] = item + copies
    assert all((one >= 0).all() for one in starts.values()), "a window never ran"
    return {name: one.reshape(batch, -1) for name, one in starts.items()}


def check_write(span, layer, item, busy_until):
    """A copy is written before its first window of an input, while it does nothing else."""
    assert span.windows == 0
    assert span.finish_ps - span.start_ps == layer.write_ps
    assert span.start_ps >= busy_until, "a copy is written while it is read"
    assert item // layer.windows == span.index


@dataclass
class Case:
    graph: WorkGraph
    plan: object
    batch: int


@st.composite
def cases(draw, **options):
    graph = draw(work_graphs(**options))
    return Case(graph, draw(plans(graph)), draw(st.integers(1, 3)))


@settings(max_examples=examples(150), **RELAXED)
@given(cases())
def test_without_obstacles_it_is_the_closed_form(case):
    timing = simulate_chip(case.graph, case.plan, IDEAL, batch=case.batch, with_spans=True)
    expected = time_asap(case.graph, case.plan.copies, batch=case.batch)
    starts = list_starts(case.graph, case.plan, timing, case.batch)
    for activity in timing.layers:
        layer = expected.layers[activity.name]
        assert starts[activity.name].tolist() == layer.starts.tolist()
        assert activity.start_ps == min(layer.start_ps(index) for index in range(case.batch))
        assert activity.finish_ps == max(layer.finish_ps(index) for index in range(case.batch))
    assert timing.total_ps == expected.total_ps
    assert list(timing.finish_ps) == [expected.finish_ps(index) for index in range(case.batch)]


@settings(max_examples=examples(150), **RELAXED)
@given(cases(), interconnects(), st.sampled_from(["unlimited", 10_000, 60, 20]), st.sampled_from(["unlimited", 40, 20]))
def test_no_schedule_violates_a_dependency_a_buffer_or_a_copy(case, interconnect, inputs, outputs):
    graph, plan, batch = case.graph, case.plan, case.batch
    accelerator = make_accelerator(interconnect=interconnect, buffers={"input_bytes": inputs, "output_bytes": outputs})
    timing = simulate_or_explain(graph, plan, accelerator, batch)
    if timing is None:
        return
    assert timing == simulate_chip(graph, plan, accelerator, batch=batch, with_spans=True), "not deterministic"
    starts = list_starts(graph, plan, timing, batch)
    fastest = time_asap(graph, plan.copies, batch=batch)
    for layer in graph.layers:
        assert (starts[layer.name] >= fastest.layers[layer.name].starts).all()
        check_needs(graph, layer, plan, starts, accelerator)
    assert timing.total_ps >= fastest.total_ps
    for limit, largest in zip((inputs, outputs), timing.buffer_bytes or (0, 0), strict=True):
        assert limit == "unlimited" or largest <= limit
    for activity in timing.layers:
        writes = [span for span in timing.spans if span.is_write and span.layer == activity.name]
        assert sum(span.finish_ps - span.start_ps for span in writes) == activity.lost_ps[Cause.WRITE]
        assert sum(activity.lost_ps.values()) + activity.busy_ps == timing.total_ps * activity.copies
        assert min(activity.lost_ps.values()) >= 0
    if interconnect["kind"] == "ideal":
        assert all(activity.lost_ps[Cause.INTERCONNECT] == 0 for activity in timing.layers)
        assert (timing.interconnect_ps, timing.links, timing.byte_hops) == (0, 0, 0)
        if inputs == outputs == "unlimited":
            assert timing.buffer_bytes is None
        elif not any(layer.stored_needs for layer in graph.layers):
            check_buffers(graph, plan, starts, timing)


def simulate_or_explain(graph, plan, accelerator, batch):
    """Return the timing, or None where buffers are too small, which the error must tell."""
    try:
        return simulate_chip(graph, plan, accelerator, batch=batch, with_spans=True)
    except ScheduleError as error:
        text = str(error)
    assert ("wait for ever for room in" in text and "always suffice" in text) or "one window gives" in text, text
    assert "set buffers." in text
    return None


def check_needs(graph, layer, plan, starts, accelerator):
    """Check the start of every window against the finishes of all that it needs, and the least time on the way."""
    for need in layer.needs:
        arrivals = list_arrivals(graph[need.producer], need.bytes, plan, layer, starts, accelerator)
        for index, row in enumerate(starts[layer.name]):
            for window, count in enumerate(need.windows.tolist()):
                if count:
                    assert row[window] >= arrivals[index, :count].max()
    for (producer, count), sent in zip(layer.stored_needs, layer.stored_bytes, strict=True):
        arrivals = list_arrivals(graph[producer], sent, plan, layer, starts, accelerator)
        for index, row in enumerate(starts[layer.name]):
            arrived = arrivals[index, :count].max()
            assert (row[: len(plan.places[layer.name])] >= arrived + layer.write_ps).all()


def list_arrivals(producer, sent, plan, layer, starts, accelerator):
    """Return int64 [inputs, windows]: when a producer's windows may arrive at a layer at the earliest."""
    arrivals = starts[producer.name] + producer.window_ps
    interconnect, cores = accelerator.interconnect, {core for place in plan.places[layer.name] for core in place.cores}
    places = plan.places[producer.name]
    if interconnect.is_ideal:
        return arrivals
    latency, width, shape = interconnect.hop_latency_cycles, interconnect.bytes_per_cycle, arrivals.shape
    arrivals = arrivals.reshape(-1).copy()
    for item in range(len(arrivals)):
        place = places[item % len(places)]
        if len(place.cores) > 1 and min(producer.tile_sum_bytes, producer.sum_bytes):
            arrivals[item] += (latency + 1) * interconnect.cycle_ps
        size = int(sent[item % producer.windows])
        if size and cores != {place.home}:
            arrivals[item] += (latency - (-size // width)) * interconnect.cycle_ps
    return arrivals.reshape(shape)


def check_buffers(graph, plan, starts, timing):
    """Compare the fill of input buffers with one that is counted from starts and finishes alone."""
    moves = {core: [] for core in range(plan.chip.cores)}
    for layer in graph.layers:
        parts = list_parts(layer, plan)
        finished = np.maximum.accumulate((starts[layer.name] + layer.window_ps).reshape(-1))
        for need in layer.needs:
            producer = graph[need.producer]
            taken = starts[need.producer].reshape(-1)
            arrived = np.maximum.accumulate(taken + producer.window_ps)
            for item, size in enumerate(np.tile(need.bytes, len(starts[layer.name])).tolist()):
                index, window = divmod(item, producer.windows)
                last = layer.windows - 1
                if need.forgotten is not None:
                    last = min(
                        int(np.argmax(need.forgotten > window)) if (need.forgotten > window).any() else last, last
                    )
                dropped = max(arrived[item], finished[index * layer.windows + last])
                for core, part in parts.items():
                    kept = -(-size * part // layer.row_blocks)
                    moves[core] += [(int(taken[item]), kept), (int(dropped), -kept)]
    fills = [[count_most(sorted(moves[core], key=lambda m: (m[0], sign * m[1]))) for core in moves] for sign in (1, -1)]
    assert max(fills[0]) <= timing.buffer_bytes[0] <= max(fills[1])


def list_parts(layer, plan):
    """Return for each core with tiles of a layer how many of its blocks of rows lie there."""
    parts = {}
    for place in plan.places[layer.name]:
        for tile, crossbar in enumerate(place.crossbars):
            group = tile // (layer.crossbars // (layer.row_blocks // layer.row_tiles))
            block = group, tile % layer.row_tiles
            parts.setdefault(crossbar // plan.chip.crossbars_per_core, set()).add(block)
    return {core: len(blocks) for core, blocks in parts.items()}


def count_most(moves):
    fill = most = 0
    for _, size in moves:
        fill += size
        most = max(most, fill)
    return most


@settings(max_examples=examples(60), **RELAXED)
@given(cases(most_layers=4), interconnects())
def test_no_simulation_is_below_the_proven_bound(case, interconnect):
    assume(all(layer.window_ps for layer in case.graph.layers))
    timing = simulate_chip(case.graph, case.plan, make_accelerator(interconnect=interconnect))
    assert timing.total_ps >= bound_makespan(case.graph, case.plan.used_crossbars).bound_ps


@settings(max_examples=examples(100), **RELAXED)
@given(cases(has_stored=False), interconnects())
def test_large_buffers_are_like_unlimited_ones_where_windows_are_needed_in_order(case, interconnect):
    for layer in case.graph.layers:
        assume(all((np.diff(need.windows) >= 0).all() for need in layer.needs))
    sizes = {"input_bytes": 10**6, "output_bytes": 10**6}
    limited, unlimited = (
        simulate_chip(case.graph, case.plan, accelerator, batch=case.batch, with_spans=True)
        for accelerator in (
            make_accelerator(interconnect=interconnect, buffers=sizes), make_accelerator(interconnect=interconnect)
        )
    )  # fmt: skip
    starts = list_starts(case.graph, case.plan, unlimited, case.batch)
    # Room is taken in order: windows of the next input cannot overtake, and send later where they would have.
    if interconnect["kind"] == "ideal" or all((np.diff(one.reshape(-1)) >= 0).all() for one in starts.values()):
        assert limited.finish_ps == unlimited.finish_ps


@st.composite
def chains(draw, *, layers):
    """Draw layers that need the one before, in order, and forget it step by step."""
    chain = []
    for number in range(draw(layers)):
        windows, need = draw(st.integers(1, 9)), ()
        if chain:
            before = chain[-1]
            counts = st.lists(st.integers(0, before.windows), min_size=windows, max_size=windows)
            needed, read = np.sort(draw(counts)), np.sort(draw(counts))
            forgotten = np.minimum(read, needed)
            forgotten[-1] = before.windows
            need = (Need(before.name, needed, forgotten, draw(sizes(before.windows))),)
        times = draw(st.integers(1, 3)), draw(st.integers(0, 6))
        chain.append(LayerWork(f"layer{number}", None, times[0], windows, times[1], need))
    return WorkGraph("chain", tuple(chain))


@settings(max_examples=examples(100), **RELAXED)
@given(work_graphs(), st.lists(st.integers(1, 3), min_size=5, max_size=5), st.integers(1, 6), st.integers(0, 80))
def test_copies_that_are_spread_have_room_where_crossbars_are_left_over(graph, numbers, per_core, spare):
    copies = {layer.name: number for layer, number in zip(graph.layers, numbers, strict=False)}
    demand = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    cores = -(-(demand + spare) // per_core)
    chip = make_accelerator(chip={"crossbars": per_core * cores, "cores": cores}).chip

    def find_enough(plan):
        hardware = make_accelerator(buffers={"input_bytes": 10**9})
        return Machine(graph, plan, hardware, 1, with_spans=False).safe_input_bytes

    packed = place_copies(graph, copies, chip)
    enough = find_enough(packed)
    for limit in {max(1, enough - 1), max(1, enough // 2)}:
        plan = place_copies(graph, copies, chip, input_bytes=limit)
        taken = [crossbar for places in plan.places.values() for place in places for crossbar in place.crossbars]
        assert len(set(taken)) == len(taken) == demand
        assert max(taken) < chip.crossbars
        if spare >= demand * per_core:  # a core for every tile
            least = place_copies(graph, copies, chip, input_bytes=1)
            assert find_enough(plan) <= max(limit, find_enough(least))
    assert place_copies(graph, copies, chip, input_bytes=max(1, enough)) == packed


@settings(max_examples=examples(200), **RELAXED)
@given(cases(), interconnects(), st.sampled_from(["unlimited", 20]))
def test_buffers_with_room_for_every_backlog_never_stop_for_good(case, interconnect, outputs):
    def buffers(size):
        return make_accelerator(interconnect=interconnect, buffers={"input_bytes": size, "output_bytes": outputs})

    enough = Machine(case.graph, case.plan, buffers(10**9), case.batch, with_spans=False).safe_input_bytes
    timing = simulate_chip(case.graph, case.plan, buffers(max(1, enough)), batch=case.batch)
    assert timing.buffer_bytes is None or timing.buffer_bytes[0] <= max(1, enough)


def put_in_one_core(graph, copies, input_bytes):
    numbers = {layer.name: copies[number % len(copies)] for number, layer in enumerate(graph.layers)}
    crossbars = sum(layer.crossbars * numbers[layer.name] for layer in graph.layers)
    accelerator = make_accelerator(
        chip={"crossbars": crossbars, "cores": 1}, buffers={"input_bytes": max(input_bytes, 1)}
    )
    return place_copies(graph, numbers, accelerator.chip), accelerator


def count_least(need):
    """Return the bytes that one window needs at once, at most, or that one window gives."""
    totals = np.append(0, np.cumsum(need.bytes))
    before = np.append(0, need.forgotten[:-1])
    return int(max((totals[need.windows] - totals[before]).max(), need.bytes.max()))


COPIES = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@settings(max_examples=examples(150), **RELAXED)
@given(chains(layers=st.just(2)), COPIES, st.integers(1, 2))
def test_a_buffer_suffices_exactly_where_it_holds_what_one_window_needs(graph, copies, batch):
    least = count_least(graph.layers[1].needs[0])
    simulate_chip(graph, *put_in_one_core(graph, copies, least), batch=batch)
    if least > 1:
        with pytest.raises(ScheduleError, match=r"wait for ever for room in input buffer of core 0|one window gives"):
            simulate_chip(graph, *put_in_one_core(graph, copies, least - 1), batch=batch)


@settings(max_examples=examples(150), **RELAXED)
@given(chains(layers=st.integers(3, 6)), COPIES, st.integers(1, 3))
def test_layers_of_one_core_never_hold_each_other_up_for_good(graph, copies, batch):
    least = sum(count_least(layer.needs[0]) for layer in graph.layers[1:])
    plan, accelerator = put_in_one_core(graph, copies, least)
    timing = simulate_chip(graph, plan, accelerator, batch=batch)
    assert timing.buffer_bytes[0] <= max(least, 1)
