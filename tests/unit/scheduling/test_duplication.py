from __future__ import annotations

import pytest
from work_graphs import GraphBuilder, make_resnet, make_tiny_yolo_v3, make_tiny_yolo_v4, make_vgg16, pool

from mho.errors import ScheduleError
from mho.scheduling.asap import find_interval_ps, time_layer_by_layer
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.duplication import Objective, choose_copies, copy_slowest_first, list_useful_copies


def make_pyramid():
    g = GraphBuilder(window_ps=10)
    x = g.conv("wide", g.start(8, 8), 1)
    g.conv("narrow", pool(x, 2, 2), 1, window_ps=30, crossbars=3)
    return g.finish()


@pytest.mark.parametrize(
    ("make", "more", "speed"),
    [
        (make_tiny_yolo_v3, 16, 18.8),
        (make_tiny_yolo_v3, 32, 33.6),
        (make_tiny_yolo_v4, 16, 18.3),
        (make_tiny_yolo_v4, 32, 31.4),
        (make_vgg16, 16, 11.0),
        (make_vgg16, 32, 19.2),
        (lambda: make_resnet((3, 4, 6, 3)), 16, 18.6),
        (lambda: make_resnet((3, 4, 6, 3)), 32, 37.2),
        (lambda: make_resnet((3, 8, 36, 3)), 16, 27.2),
        (lambda: make_resnet((3, 8, 36, 3)), 32, 54.4),
    ],
)
def test_the_greedy_choice_gives_the_published_bounds_that_ignore_filling(make, more, speed):
    graph = make()
    copies = copy_slowest_first(graph, graph.minimal_crossbars + more)
    assert graph.layer_by_layer_ps / find_interval_ps(graph, copies) == pytest.approx(speed, abs=0.05)


def test_tiny_yolo_v3_with_32_more_crossbars_is_thirty_times_as_fast():
    graph = make_tiny_yolo_v3()
    chosen = choose_copies(graph, graph.minimal_crossbars + 32, Objective.LATENCY)
    assert graph.layer_by_layer_ps / chosen.value_ps > 31.9
    assert bound_makespan(graph, graph.minimal_crossbars + 32).bound_ps / chosen.value_ps > 0.99


@pytest.mark.parametrize(("make", "more"), [(make_vgg16, 32), (lambda: make_resnet((3, 4, 6, 3)), 32)])
def test_published_networks_reach_more_than_nine_tenths_of_the_bound(make, more):
    graph = make()
    crossbars = graph.minimal_crossbars + more
    chosen = choose_copies(graph, crossbars, Objective.LATENCY)
    assert bound_makespan(graph, crossbars, known=[chosen.copies]).head_tail_ps / chosen.value_ps > 0.94


def test_each_objective_gets_what_it_asks_for():
    graph = make_pyramid()
    interval = choose_copies(graph, 8, Objective.INTERVAL)
    assert (interval.copies, interval.crossbars, interval.value_ps) == ({"wide": 2, "narrow": 2}, 8, 320)
    alone = choose_copies(graph, 8, Objective.LAYER_BY_LAYER)
    assert (alone.copies, alone.value_ps) == ({"wide": 2, "narrow": 2}, 560)
    assert alone.value_ps == time_layer_by_layer(graph, alone.copies).makespan_ps
    assert interval.is_optimal
    assert alone.is_optimal


def test_fewest_copies_are_taken_where_more_would_not_help_the_interval():
    chosen = choose_copies(make_pyramid(), 7, Objective.INTERVAL)
    assert (chosen.copies, chosen.value_ps) == ({"wide": 2, "narrow": 1}, 480)


def test_the_latency_is_chosen_alike_every_time():
    graph = make_vgg16()
    first, second = (choose_copies(graph, 300, Objective.LATENCY) for _ in range(2))
    assert first == second
    assert not first.is_optimal


def test_useful_copies_save_turns():
    layer = make_pyramid()["narrow"]
    assert list_useful_copies(layer, 100) == [1, 2, 3, 4, 6, 8, 16]
    assert list_useful_copies(layer, 10) == [1, 2, 3, 4]


def test_a_chip_that_is_too_small_is_refused():
    with pytest.raises(ScheduleError, match="3 crossbars do not hold each layer once"):
        choose_copies(make_pyramid(), 3, Objective.LATENCY)
