from __future__ import annotations

import numpy as np
import pytest
from work_graphs import GraphBuilder, make_tiny_yolo_v3, make_vgg16, pool

from mho.errors import ScheduleError
from mho.scheduling.bounds import bound_interval, bound_makespan
from mho.scheduling.copy_relaxation import Relaxation
from mho.scheduling.critical_path import PathPool
from mho.scheduling.duplication import Objective, choose_copies
from mho.scheduling.heads_and_tails import CopyRange, HeadsAndTails


def make_pyramid():
    g = GraphBuilder(window_ps=10)
    x = g.conv("wide", g.start(8, 8), 1)
    g.conv("narrow", pool(x, 2, 2), 1, window_ps=30, crossbars=3)
    return g.finish()


def test_heads_and_tails_are_those_of_the_pipeline():
    filling = HeadsAndTails(make_pyramid(), 10)
    heads, _ = filling.list_heads(np.array([2, 1]))
    assert heads[1][:5].tolist() == [50, 60, 70, 80, 130]
    tails = filling.list_tails(np.array([2, 1]))
    assert tails[0][[0, 62, 63]].tolist() == [480, 30, 30]
    assert tails[1].max() == 0


def test_a_length_needs_copies_that_leave_room_for_filling():
    filling = HeadsAndTails(make_pyramid(), 8)
    assert filling.list_all().most.tolist() == [5, 2]
    assert filling.narrow(filling.list_all(), 530).least.tolist() == [2, 1]
    assert filling.narrow(filling.list_all(), 200).is_empty


def test_parts_of_a_bound_say_what_they_ignore():
    bounds = bound_makespan(make_pyramid(), 8)
    assert bounds.total_work_ps == (640 + 3 * 480) // 8
    assert bounds.slowest_layer_ps == 320
    assert bounds.dependency_ps == 40
    assert bounds.bound_ps == bounds.head_tail_ps == 360


def test_the_bound_of_a_chain_without_choice_is_its_schedule():
    graph = make_pyramid()
    assert bound_makespan(graph, graph.minimal_crossbars, precision=0.0).bound_ps == 700


def test_branching_never_lowers_a_bound():
    graph = make_vgg16()
    known = [choose_copies(graph, 489, Objective.LATENCY).copies]
    plain, branched = (bound_makespan(graph, 489, known=known, branch=branch) for branch in (False, True))
    assert plain.head_tail_ps == plain.branched_ps < branched.branched_ps
    assert branched.bound_ps / choose_copies(graph, 489, Objective.LATENCY).value_ps > 0.999


def test_a_range_that_does_not_fit_has_the_length_asked_about_as_its_integer_bound():
    graph = make_pyramid()
    pool_ = PathPool(graph)
    pool_.probe(np.array([1, 1]))
    within = CopyRange(np.array([3, 2]), np.array([4, 2]))
    bound, _ = Relaxation(pool_, 8).bound_in_integers(within, 500, 10)
    assert bound == 500


def test_the_interval_is_bounded_by_the_copies_that_fit():
    assert bound_interval(make_pyramid(), 8) == 320
    assert bound_interval(make_pyramid(), 4) == 640


def test_a_chip_that_is_too_small_is_refused():
    for bound in (bound_makespan, bound_interval):
        with pytest.raises(ScheduleError, match="141 crossbars do not hold each layer once"):
            bound(make_tiny_yolo_v3(), 141)
