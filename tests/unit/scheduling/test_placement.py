from __future__ import annotations

import pytest
from accelerators import make_accelerator
from hypothesis import assume, given
from hypothesis import strategies as st

from mho.errors import ScheduleError
from mho.scheduling.placement import place_copies
from mho.scheduling.work_graph import LayerWork, WorkGraph


def make_graph(*crossbars):
    return WorkGraph("net", tuple(LayerWork(f"l{n}", None, size, 5, 1, ()) for n, size in enumerate(crossbars)))


def make_chip(crossbars, cores):
    return make_accelerator(chip={"crossbars": crossbars, "cores": cores}).chip


@st.composite
def demands(draw):
    graph = make_graph(*draw(st.lists(st.integers(1, 9), min_size=1, max_size=6)))
    copies = {layer.name: draw(st.integers(1, 3)) for layer in graph.layers}
    demand = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    return graph, copies, demand


def list_places(plan):
    return [place for places in plan.places.values() for place in places]


@given(demands(), st.integers(1, 8), st.integers(0, 9))
def test_whatever_fits_in_number_is_placed_and_no_crossbar_twice(case, per_core, more_cores):
    graph, copies, demand = case
    chip = make_chip(per_core * (-(-demand // per_core) + more_cores), -(-demand // per_core) + more_cores)
    plan = place_copies(graph, copies, chip)
    taken = [crossbar for place in list_places(plan) for crossbar in place.crossbars]
    assert len(taken) == len(set(taken)) == demand == plan.used_crossbars
    assert all(0 <= crossbar < chip.crossbars for crossbar in taken)
    assert plan.copies == copies
    for name, places in plan.places.items():
        assert [place.number for place in places] == list(range(copies[name]))
        for place in places:
            assert len(place.crossbars) == graph[name].crossbars
            assert list(place.crossbars) == sorted(place.crossbars)
            assert place.cores == tuple(dict.fromkeys(crossbar // per_core for crossbar in place.crossbars))
            assert place.home == place.cores[0]


@given(demands(), st.integers(2, 8))
def test_with_crossbars_to_spare_every_copy_lies_in_as_few_cores_as_it_can(case, per_core):
    graph, copies, demand = case
    cores = demand + len(list_places(place_copies(graph, copies, make_chip(demand, 1))))
    plan = place_copies(graph, copies, make_chip(per_core * cores, cores))
    for place in list_places(plan):
        assert len(place.cores) == -(-len(place.crossbars) // per_core)


@given(demands(), st.integers(2, 8), st.integers(0, 3))
def test_where_it_is_tight_copies_are_split_rather_than_left_out(case, per_core, spare):
    graph, copies, demand = case
    assume((demand + spare) % per_core == 0)
    plan = place_copies(graph, copies, make_chip(demand + spare, (demand + spare) // per_core))
    assert plan.used_crossbars == demand


def test_gaps_are_filled():
    plan = place_copies(make_graph(3, 3, 1, 1), {"l0": 1, "l1": 1, "l2": 1, "l3": 1}, make_chip(12, 3))
    assert [place.crossbars for place in list_places(plan)] == [(0, 1, 2), (4, 5, 6), (3,), (7,)]


def test_a_copy_of_many_cores_begins_a_core_where_that_saves_one():
    plan = place_copies(make_graph(1, 8), {"l0": 1, "l1": 1}, make_chip(12, 3))
    assert plan.places["l1"][0].cores == (1, 2)
    plan = place_copies(make_graph(1, 6), {"l0": 1, "l1": 1}, make_chip(12, 3))
    assert plan.places["l1"][0].cores == (0, 1)


def test_what_takes_no_crossbar_lies_in_a_core_all_the_same():
    plan = place_copies(make_graph(4, 0), {"l0": 1, "l1": 1}, make_chip(4, 1))
    assert (plan.places["l1"][0].crossbars, plan.places["l1"][0].home) == ((), 0)


def test_too_many_copies_are_refused():
    with pytest.raises(ScheduleError) as caught:
        place_copies(make_graph(2, 3), {"l0": 2, "l1": 2}, make_chip(9, 1))
    assert "the copies take 10 crossbars" in str(caught.value)
    assert "at most the chip's 9 (the minimum is 5)" in str(caught.value)
