"""Bounds against all schedules of small graphs: all copies on the chip, all orders of the windows."""

from __future__ import annotations

import numpy as np
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from work_graphs import draw_copies, draw_graph, find_shortest, list_copies

from mho.scheduling.asap import find_interval_ps, time_asap
from mho.scheduling.bounds import bound_interval, bound_makespan
from mho.scheduling.copy_relaxation import Relaxation
from mho.scheduling.critical_path import PathPool
from mho.scheduling.heads_and_tails import HeadsAndTails


def draw_chip(data, **options):
    graph = data.draw(draw_graph(most_layers=3, most_windows=4, **options))
    return graph, graph.minimal_crossbars + data.draw(st.integers(0, 5))


def to_array(graph, copies):
    return np.array([copies[layer.name] for layer in graph.layers], np.int64)


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_no_schedule_is_below_the_bound(data):
    graph, crossbars = draw_chip(data)
    shortest = min(find_shortest(graph, copies) for copies in list_copies(graph, crossbars))
    bounds = bound_makespan(graph, crossbars, branch=data.draw(st.booleans()))
    assert bounds.bound_ps <= shortest
    assert bounds.head_tail_ps >= max(bounds.total_work_ps, bounds.slowest_layer_ps, bounds.dependency_ps)


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_known_copies_keep_the_bound_below_every_schedule(data):
    graph, crossbars = draw_chip(data)
    shortest = min(time_asap(graph, copies).makespan_ps for copies in list_copies(graph, crossbars))
    known = data.draw(draw_copies(graph))
    assert bound_makespan(graph, crossbars, known=[known], precision=0.0, branch=True).bound_ps <= shortest


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_the_critical_path_of_one_schedule_bounds_all_others(data):
    graph, _ = draw_chip(data)
    pool = PathPool(graph)
    for _ in range(3):
        pool.probe(to_array(graph, data.draw(draw_copies(graph))))
    copies = data.draw(draw_copies(graph))
    assert pool.bound(to_array(graph, copies)) <= find_shortest(graph, copies)


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_critical_path_is_as_long_as_its_schedule_where_needs_never_fall(data):
    graph = data.draw(draw_graph(any_order=False))
    pool, copies = PathPool(graph), to_array(graph, data.draw(draw_copies(graph)))
    makespan = pool.probe(copies)
    assert pool.bound(copies) == makespan


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_a_range_keeps_the_copies_of_every_schedule_that_is_short_enough(data):
    graph, crossbars = draw_chip(data)
    shortest = {tuple(c.values()): find_shortest(graph, c) for c in list_copies(graph, crossbars)}
    length = data.draw(st.integers(min(shortest.values()), max(shortest.values())))
    filling, pool = HeadsAndTails(graph, crossbars), PathPool(graph)
    within = filling.narrow(filling.list_all(), length)
    for copies in data.draw(st.lists(st.sampled_from(sorted(shortest)), min_size=1, max_size=3)):
        pool.probe(np.array(copies, np.int64))
    relaxed = Relaxation(pool, crossbars).bound(within, length)
    for copies, makespan in shortest.items():
        if makespan <= length:
            array = np.array(copies, np.int64)
            for kept in (within, relaxed.narrower):
                assert (kept.least <= array).all()
                assert (array <= kept.most).all()
            assert relaxed.bound_ps <= makespan


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_no_copies_have_a_shorter_interval_than_its_bound(data):
    graph, crossbars = draw_chip(data)
    shortest = min(find_interval_ps(graph, copies) for copies in list_copies(graph, crossbars, beyond_windows=True))
    bound = bound_interval(graph, crossbars)
    assert bound <= shortest
    assert bound == shortest or any(layer.write_ps for layer in graph.layers)
