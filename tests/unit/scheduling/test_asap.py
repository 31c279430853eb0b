from __future__ import annotations

import pytest
from work_graphs import GraphBuilder, make_resnet, make_tiny_yolo_v3, make_tiny_yolo_v4, make_vgg16, pool

from mho.errors import ScheduleError
from mho.scheduling.asap import find_interval_ps, time_asap, time_layer_by_layer


def make_two_layers():
    """A row of six positions, and one behind it that reads three of them at a time."""
    g = GraphBuilder(window_ps=10)
    x = g.conv("first", g.start(1, 6), 1)
    g.conv("second", pool(x, 1, 1), 1, window_ps=4)
    return g.finish()


def make_attention():
    """Two projections of four positions and their product, the second stored."""
    g = GraphBuilder(window_ps=10)
    x = g.start(1, 4)
    query = g.conv("query", x, 1)
    g.conv("key", x, 1, window_ps=20)
    g.product("scores", query, "key", write_ps=5)
    return g.finish()


def test_copies_take_turns():
    timing = time_asap(make_two_layers(), {"first": 2, "second": 1})
    assert timing.layers["first"].starts.tolist() == [[0, 0, 10, 10, 20, 20]]
    assert timing.layers["second"].starts.tolist() == [[10, 14, 20, 24, 30, 34]]
    assert (timing.makespan_ps, timing.total_ps) == (38, 38)


def test_a_stored_operand_is_written_once_it_is_there_and_before_the_first_window():
    timing = time_asap(make_attention(), {"query": 1, "key": 2, "scores": 1})
    assert timing.layers["key"].finish_ps() == 40
    assert timing.layers["scores"].write_starts.tolist() == [[40]]
    assert timing.layers["scores"].starts.tolist() == [[45, 55, 65, 75]]
    assert timing.layers["scores"].start_ps() == 40


def test_the_next_input_is_written_when_the_copy_has_read_the_one_before():
    timing = time_asap(make_attention(), {"query": 1, "key": 4, "scores": 1}, batch=2)
    assert timing.layers["key"].finish_ps(1) == 40
    assert timing.layers["scores"].starts[0].tolist() == [25, 35, 45, 55]
    assert timing.layers["scores"].write_starts.tolist() == [[20], [65]]
    assert timing.layers["scores"].starts[1].tolist() == [70, 80, 90, 100]


def test_copies_go_on_taking_turns_from_input_to_input():
    g = GraphBuilder(window_ps=10)
    g.conv("only", g.start(1, 3), 1)
    timing = time_asap(g.finish(), {"only": 2}, batch=2)
    assert timing.layers["only"].starts.tolist() == [[0, 0, 10], [10, 20, 20]]
    assert timing.interval_ps == 15


def test_busy_time_and_utilization_count_every_copy():
    timing = time_asap(make_two_layers(), {"first": 2, "second": 1})
    assert timing.layers["first"].busy_ps == 60
    assert timing.layers["second"].busy_ps == 24
    assert timing.utilization == pytest.approx((60 + 24) / (3 * 38))


def test_layers_one_after_the_other_do_not_overlap():
    timing = time_layer_by_layer(make_attention(), {"query": 3, "key": 1, "scores": 2}, batch=2)
    assert [layer.start_ps() for layer in timing.layers.values()] == [0, 20, 100]
    assert timing.layers["scores"].starts[0].tolist() == [105, 105, 115, 115]
    assert (timing.makespan_ps, timing.interval_ps, timing.total_ps) == (125, 125, 250)
    assert timing.layers["query"].starts[1].tolist() == [125, 125, 125, 135]


def test_the_interval_is_that_of_the_slowest_layer_and_its_writes():
    graph = make_attention()
    assert find_interval_ps(graph, {"query": 1, "key": 2, "scores": 1}) == 45
    assert find_interval_ps(graph, {"query": 2, "key": 8, "scores": 3}) == 20
    assert find_interval_ps(graph, {"query": 4, "key": 8, "scores": 4}) == 15


@pytest.mark.parametrize(
    ("make", "crossbars", "steps"),
    [
        (make_tiny_yolo_v3, 142, 232_882),
        (make_tiny_yolo_v4, 117, 113_061),
        (make_vgg16, 233, 137_788),
        (lambda: make_resnet((3, 4, 6, 3)), 390, 58_310),
        (lambda: make_resnet((3, 8, 36, 3)), 936, 85_358),
    ],
)
def test_published_networks_take_the_published_crossbars_and_steps(make, crossbars, steps):
    graph = make()
    one_each = {layer.name: 1 for layer in graph.layers}
    assert graph.minimal_crossbars == crossbars
    assert time_layer_by_layer(graph, one_each).makespan_ps == graph.layer_by_layer_ps == steps
    slowest = max(layer.work_ps for layer in graph.layers)
    assert slowest < time_asap(graph, one_each).makespan_ps < 1.09 * slowest


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        ({"first": 1}, "layer second: its number of copies is missing"),
        ({"first": 1, "second": 0}, "layer second: 0 copies"),
        ({"first": 1, "second": 1, "secnd": 1}, "no layer 'secnd' has copies"),
    ],
)
def test_copies_that_do_not_match_the_layers_are_refused(copies, message):
    with pytest.raises(ScheduleError, match=message):
        time_asap(make_two_layers(), copies)


def test_an_empty_batch_is_refused():
    with pytest.raises(ScheduleError, match="a batch of 0"):
        time_asap(make_two_layers(), {"first": 1, "second": 1}, batch=0)


def test_a_batch_that_no_memory_holds_is_refused_before_any_is_taken():
    graph, copies = make_two_layers(), {"first": 1, "second": 1}
    for batch in (10**8, 10**40):
        for time in (time_asap, time_layer_by_layer):
            with pytest.raises(ScheduleError, match="at most 131,072 inputs"):
                time(graph, copies, batch=batch)


def test_times_beyond_64_bits_are_refused():
    g = GraphBuilder(window_ps=1 << 58)
    g.conv("slow", g.start(1, 4), 1)
    graph = g.finish()
    assert time_asap(graph, {"slow": 1}, batch=2).total_ps == 1 << 61
    with pytest.raises(ScheduleError, match="check the latencies"):
        time_asap(graph, {"slow": 1}, batch=3)
