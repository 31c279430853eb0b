from __future__ import annotations

import numpy as np
from work_graphs import GraphBuilder, pool

from mho.scheduling.asap import time_asap
from mho.scheduling.critical_path import CriticalPath, PathPool, find_critical_path


def make_pyramid():
    g = GraphBuilder(window_ps=10)
    x = g.conv("wide", g.start(8, 8), 1)
    g.conv("narrow", pool(x, 2, 2), 1, window_ps=30)
    return g.finish()


def test_a_path_goes_through_the_layers_that_decide():
    graph = make_pyramid()
    path = find_critical_path(graph, time_asap(graph, {"wide": 1, "narrow": 1}))
    assert path == CriticalPath((("narrow", 4), ("wide", 58)), 0)
    path = find_critical_path(graph, time_asap(graph, {"wide": 8, "narrow": 1}))
    assert path == CriticalPath((("narrow", 16), ("wide", 10)), 0)


def test_a_stored_operand_puts_its_writing_on_the_path():
    g = GraphBuilder(window_ps=10)
    x = g.start(1, 4)
    query = g.conv("query", x, 1)
    g.conv("key", x, 1, window_ps=20)
    g.product("scores", query, "key", write_ps=5)
    graph = g.finish()
    path = find_critical_path(graph, time_asap(graph, {"query": 1, "key": 1, "scores": 2}))
    assert path == CriticalPath((("scores", 4), ("key", 4)), 5)


def test_a_pool_is_exact_where_it_was_probed_and_below_elsewhere():
    graph = make_pyramid()
    pool_ = PathPool(graph)
    assert pool_.bound(np.array([1, 1])) == 0
    assert pool_.probe(np.array([1, 1])) == pool_.bound(np.array([1, 1])) == 700
    assert pool_.bound(np.array([8, 1])) == 200
    assert pool_.probe(np.array([8, 1])) == pool_.bound(np.array([8, 1])) == 500
    assert len(pool_) == 2


def test_a_pool_keeps_a_path_once():
    pool_ = PathPool(make_pyramid())
    path = CriticalPath((("narrow", 1), ("wide", 64)), 0)
    assert pool_.add(path)
    assert not pool_.add(path)
    assert pool_.counts.tolist() == [[64, 1]]
