from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from work_graphs import make_resnet, make_tiny_yolo_v3, make_vgg16

from mho.errors import ScheduleError
from mho.scheduling.asap import time_asap
from mho.scheduling.placement import place_copies
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph
from mho.simulation.chip_timing import Cause, Span, simulate_chip


def make_pair(*, windows=4, window_ps=(10, 10), bytes_each=8, crossbars=(1, 1), sums=(0, 0), **changes):
    """Return two layers; each window of the second needs that window of the first, and forgets it."""
    first = LayerWork("first", None, crossbars[0], windows, window_ps[0], (), sum_bytes=sums[0], tile_sum_bytes=sums[1])
    numbers = np.arange(1, windows + 1)
    need = Need("first", numbers, numbers.copy(), np.full(windows, bytes_each))
    second = LayerWork("second", None, crossbars[1], windows, window_ps[1], (need,))
    return WorkGraph("pair", (first, replace(second, **changes)))


def simulate(graph, copies=(1, 1), *, crossbars=2, cores=2, batch=1, **sections):
    accelerator = make_accelerator(chip={"crossbars": crossbars, "cores": cores}, **sections)
    plan = place_copies(graph, dict(zip((layer.name for layer in graph.layers), copies, strict=True)), accelerator.chip)
    return simulate_chip(graph, plan, accelerator, batch=batch, with_spans=True)


def make_bus(bytes_per_cycle=4, latency=0):
    return {
        "kind": "bus",
        "bytes_per_cycle": bytes_per_cycle,
        "cycle_ns": 0.001,
        "hop_latency_cycles": latency,
    }


@pytest.mark.parametrize("make", [make_vgg16, make_tiny_yolo_v3, lambda: make_resnet([3, 4, 6, 3])])
def test_whole_networks_take_what_the_closed_form_says(make):
    graph = make()
    copies = {layer.name: 1 + (number % 3) for number, layer in enumerate(graph.layers)}
    accelerator = make_accelerator(chip={"crossbars": 4096, "cores": 1})
    timing = simulate_chip(graph, place_copies(graph, copies, accelerator.chip), accelerator)
    expected = time_asap(graph, copies)
    assert timing.total_ps == expected.makespan_ps
    assert [(layer.start_ps, layer.finish_ps) for layer in timing.layers] == [
        (layer.start_ps(), layer.finish_ps()) for layer in expected.layers.values()
    ]


def test_layers_overlap_and_spans_tell_when_copies_work():
    timing = simulate(make_pair(), batch=2)
    assert timing.finish_ps == (50, 90)
    assert timing.spans == (
        Span("first", 0, 0, 0, 40, 4),
        Span("second", 0, 0, 10, 50, 4),
        Span("first", 0, 1, 40, 80, 4),
        Span("second", 0, 1, 50, 90, 4),
    )


def test_lost_time_has_its_cause():
    timing = simulate(make_pair(window_ps=(10, 4)))
    first, second = timing.layers
    assert timing.total_ps == 44
    assert (first.busy_ps, first.lost_ps[Cause.DONE]) == (40, 4)
    assert (second.busy_ps, second.lost_ps[Cause.INPUT]) == (16, 28)
    assert timing.core_busy == (40 / 44, 16 / 44)


def test_what_is_on_its_way_delays_the_next_layer():
    timing = simulate(make_pair(window_ps=(10, 4)), interconnect=make_bus(latency=1))
    # Eight bytes take two cycles, and the request one.
    assert timing.total_ps == 40 + 3 + 4
    assert timing.layers[1].lost_ps[Cause.INTERCONNECT] == 4 * 3
    assert timing.layers[1].lost_ps[Cause.INPUT] == 10 + 3 * (10 - 3 - 4)
    assert (timing.interconnect_ps, timing.links, timing.byte_hops) == (12, 1, 32)
    assert timing.buffer_bytes == (16, 16)  # room is taken when a window starts, while the one before is on its way


def test_in_one_core_nothing_is_on_its_way():
    timing = simulate(make_pair(window_ps=(10, 4)), cores=1, interconnect=make_bus())
    assert (timing.total_ps, timing.interconnect_ps) == (44, 0)


def make_step(name, window_ps, producer=None, bytes_each=8):
    """Return a layer of one window that needs that of another."""
    needs = () if producer is None else (Need(producer, np.array([1]), None, np.array([bytes_each])),)
    return LayerWork(name, None, 1, 1, window_ps, needs)


@pytest.mark.parametrize(("order", "ends"), [((0, 1, 2, 3, 4), (11, 13)), ((2, 0, 1, 3, 4), (13, 11))])
def test_of_transfers_that_are_ready_at_once_the_first_layers_goes_first(order, ends):
    # "late" starts after "long", so that the end of "long" is foreseen first; both send at 8 ps.
    layers = (
        make_step("early", 2), make_step("late", 4, "early"), make_step("long", 8),
        make_step("of late", 1, "late"), make_step("of long", 1, "long"),
    )  # fmt: skip
    graph = WorkGraph("meeting", tuple(layers[number] for number in order))
    timing = simulate(graph, (1,) * 5, crossbars=5, cores=5, interconnect=make_bus())
    assert tuple(layer.finish_ps for layer in timing.layers[3:]) == ends


def test_of_transfers_that_are_ready_at_once_the_earliest_inputs_goes_first():
    # At 10 ps "wide" has finished both inputs, on a copy each, and "late" the first.
    layers = (
        make_step("wide", 10), make_step("early", 2), make_step("late", 8, "early", 0),
        make_step("of wide", 0, "wide"), make_step("of late", 0, "late"),
    )  # fmt: skip
    timing = simulate(
        WorkGraph("meeting", layers), (2, 1, 1, 1, 1), crossbars=6, cores=6, batch=2, interconnect=make_bus()
    )
    assert timing.finish_ps == (14, 20)  # 18 ps and two cycles for the second of "late"


def test_a_slow_bus_is_what_takes_time():
    timing = simulate(make_pair(bytes_each=80), interconnect=make_bus())
    assert timing.total_ps == 10 + 4 * 20 + 10
    assert timing.interconnect_ps == 80


def test_copies_on_several_cores_gather_their_sums_before_they_send():
    graph = make_pair(windows=1, crossbars=(3, 1), sums=(20, 8))
    timing = simulate(graph, crossbars=4, cores=4, interconnect=make_bus())
    # Two cores send eight bytes of sums each to the third, which sends eight bytes on: two cycles each.
    assert timing.total_ps == 10 + 2 + 2 + 2 + 10
    assert timing.byte_hops == 24
    assert timing.layers[0].finish_ps == 14
    assert timing.layers[1].lost_ps[Cause.INTERCONNECT] == 6


def test_tiles_of_one_core_add_up_what_they_share_before_it_is_sent():
    graph = make_pair(windows=1, crossbars=(8, 1), sums=(20, 8))
    timing = simulate(graph, crossbars=12, cores=3, interconnect=make_bus())
    assert timing.byte_hops == 20 + 8  # four tiles of eight bytes, but sums of twenty


def test_a_stored_operand_is_written_while_the_streamed_one_is_awaited():
    layers = (
        LayerWork("key", None, 1, 2, 10, ()),
        LayerWork("query", None, 1, 1, 50, ()),
        LayerWork(
            "product", None, 1, 1, 4, (Need("query", np.array([1])),), stored_needs=(("key", 2),), write_ps=25,
        ),
    )  # fmt: skip
    timing = simulate(WorkGraph("attention", layers), (1, 1, 1), crossbars=3, cores=1)
    product = timing.layers[2]
    assert (product.start_ps, product.finish_ps) == (20, 54)
    assert (product.lost_ps[Cause.INPUT], product.lost_ps[Cause.WRITE]) == (20 + 5, 25)


def test_every_input_is_written_anew():
    layers = (
        LayerWork("key", None, 1, 1, 10, ()),
        LayerWork("product", None, 1, 3, 4, (), stored_needs=(("key", 1),), write_ps=5),
    )
    timing = simulate(WorkGraph("attention", layers), (1, 2), crossbars=3, cores=1, batch=2)
    # One copy takes windows 0, 2 of the first input and 1 of the second, the other 1 and then 0, 2.
    assert timing.finish_ps == (10 + 5 + 8, 20 + 5 + 8)
    assert timing.layers[1].lost_ps[Cause.WRITE] == 4 * 5
    writes = [(span.copy, span.index, span.start_ps, span.finish_ps) for span in timing.spans if span.is_write]
    assert writes == [(0, 0, 10, 15), (1, 0, 10, 15), (1, 1, 20, 25), (0, 1, 23, 28)]
    assert all(span.windows == 0 for span in timing.spans if span.is_write)


def test_full_buffers_hold_up_those_who_fill_them():
    timing = simulate(make_pair(window_ps=(2, 10)), buffers={"input_bytes": 16})
    # The first layer may be two windows ahead: windows 2 and 3 start when windows 0 and 1 are done.
    assert timing.total_ps == 2 + 40
    assert timing.layers[0].lost_ps[Cause.BUFFER] == (12 - 4) + (22 - 14)
    assert timing.buffer_bytes == (16, 8)


def test_results_wait_in_the_output_buffer_until_they_are_sent():
    timing = simulate(make_pair(window_ps=(2, 1)), interconnect=make_bus(1), buffers={"output_bytes": 8})
    assert timing.total_ps == 4 * (2 + 8) + 1
    assert timing.layers[0].lost_ps[Cause.BUFFER] == 3 * 8
    assert timing.buffer_bytes == (16, 8)


def test_what_may_be_forgotten_is_kept_to_the_end_of_the_input_where_it_is_unspecified():
    graph = make_pair(needs=(Need("first", np.arange(1, 5), None, np.full(4, 8)),))
    timing = simulate(graph, batch=2, buffers={"input_bytes": 32})
    assert timing.finish_ps == (50, 50 + 50)
    with pytest.raises(ScheduleError, match="copies of first wait for ever"):
        simulate(graph, buffers={"input_bytes": 31})


def test_a_stored_operand_leaves_the_buffer_when_all_copies_hold_it():
    layers = (
        LayerWork("key", None, 1, 2, 10, ()),
        LayerWork("product", None, 1, 3, 30, (), (("key", 2),), write_ps=5, stored_bytes=(np.full(2, 8),)),
    )
    timing = simulate(WorkGraph("net", layers), (1, 2), crossbars=3, cores=1, batch=3, buffers={"input_bytes": 16})
    # The keys of the second input come when those of the first are written, at 25; those of the third when the copy
    # that had two windows of the first input is written for the second, at 90.
    assert timing.layers[0].lost_ps[Cause.BUFFER] == (25 - 20) + (90 - 45)
    assert timing.finish_ps == (85, 120, 185)


def test_results_larger_than_the_output_buffer_pass_through_it_alone():
    timing = simulate(make_pair(window_ps=(2, 1)), interconnect=make_bus(1), buffers={"output_bytes": 7})
    assert timing.total_ps == 4 * (2 + 8) + 1
    assert timing.buffer_bytes == (16, 7)


def test_every_layer_of_a_core_has_room_of_its_own():
    # The first layer is fast and could fill the buffer that the second, in the same core, needs to send anything.
    numbers = np.arange(1, 5)
    layers = [LayerWork("first", None, 1, 4, 1, ())]
    for name, time in (("second", 50), ("third", 1)):
        need = Need(layers[-1].name, numbers, numbers.copy(), np.full(4, 8))
        layers.append(LayerWork(name, None, 1, 4, time, (need,)))
    graph = WorkGraph("chain", tuple(layers))
    timing = simulate(graph, (1, 1, 1), crossbars=3, cores=1, buffers={"input_bytes": 16})
    assert timing.total_ps == 4 * (1 + 50) + 1
    with pytest.raises(ScheduleError, match="expected: 16 bytes of input always suffice"):
        simulate(graph, (1, 1, 1), crossbars=3, cores=1, buffers={"input_bytes": 15})


def test_one_window_that_no_buffer_holds_is_refused_at_once():
    with pytest.raises(ScheduleError) as caught:
        simulate(make_pair(), buffers={"input_bytes": 7})
    assert "layer first: one window gives 8 bytes to the input buffer of core 1, which holds 7" in str(caught.value)
    assert "set buffers.input_bytes higher" in str(caught.value)


def test_copies_that_would_wait_for_ever_are_refused():
    # The last layer adds a short path and a long one, whose layer needs all windows before its first.
    windows, numbers = 4, np.arange(1, 5)
    short = Need("first", numbers, numbers.copy(), np.full(4, 8))
    layers = (
        LayerWork("first", None, 1, windows, 10, ()),
        LayerWork("long", None, 1, windows, 10, (Need("first", np.full(4, 4), None, np.full(4, 1)),)),
        LayerWork("last", None, 1, windows, 10, (Need("long", numbers, numbers.copy(), np.full(4, 1)), short)),
    )
    graph = WorkGraph("residual", layers)
    # Room for what piles up on the short path, 32 bytes, and for one window of the long one always suffices.
    for size, total in ((36, 90), (33, 120)):
        assert simulate(graph, (1, 1, 1), crossbars=3, cores=3, buffers={"input_bytes": size}).total_ps == total
    with pytest.raises(ScheduleError) as caught:
        simulate(graph, (1, 1, 1), crossbars=3, cores=3, buffers={"input_bytes": 31})
    assert "buffers: copies of first wait for ever for room in input buffer of core 2 (24 of 31 bytes used)" in str(
        caught.value
    )
    assert "set buffers.input_bytes to 33" in str(caught.value)


def test_windows_take_room_in_order_so_that_none_takes_it_from_one_that_is_awaited():
    # Window 1 of the first layer waits for a slow layer; its copies 2 and 3 must not fill the buffer before it.
    slow = LayerWork("slow", None, 1, 1, 100, ())
    first = LayerWork("first", None, 1, 4, 10, (Need("slow", np.array([0, 1, 0, 0])),))
    numbers = np.arange(1, 5)
    second = LayerWork("second", None, 1, 4, 10, (Need("first", numbers, numbers.copy(), np.full(4, 8)),))
    graph = WorkGraph("net", (slow, first, second))
    timing = simulate(graph, (1, 4, 1), crossbars=6, cores=1, buffers={"input_bytes": 16})
    assert timing.total_ps == 140


def test_an_input_does_not_wait_for_windows_of_the_one_before_that_it_does_not_need():
    slow = LayerWork("slow", None, 1, 1, 100, ())
    first = LayerWork("first", None, 1, 2, 10, (Need("slow", np.array([0, 1])),))
    second = LayerWork("second", None, 1, 1, 10, (Need("first", np.array([1])),))
    graph = WorkGraph("net", (slow, first, second))
    timing = simulate(graph, (1, 2, 1), crossbars=4, cores=1, batch=2)
    assert [span.start_ps for span in timing.spans if span.layer == "second"] == [10, 20]
    assert timing.finish_ps == tuple(
        time_asap(graph, {"slow": 1, "first": 2, "second": 1}, batch=2).finish_ps(i) for i in (0, 1)
    )


def test_a_batch_has_an_input_and_fits_memory():
    with pytest.raises(ScheduleError, match="a batch of 0"):
        simulate(make_pair(), batch=0)
    with pytest.raises(ScheduleError, match=r"a batch of 1,000,000,000 inputs has [0-9,]+ windows"):
        simulate(make_pair(), batch=10**9)


def test_a_plan_belongs_to_its_graph():
    accelerator = make_accelerator(chip={"crossbars": 2})
    plan = place_copies(make_pair(), {"first": 1, "second": 1}, accelerator.chip)
    other = WorkGraph("other", make_pair().layers[:1])
    with pytest.raises(ScheduleError, match="second"):
        simulate_chip(other, plan, accelerator)
