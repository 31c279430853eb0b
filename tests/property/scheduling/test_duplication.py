"""Choices of copies against all choices of small graphs."""

from __future__ import annotations

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from work_graphs import draw_copies, draw_graph, list_copies

from mho.scheduling.asap import find_interval_ps, time_asap, time_layer_by_layer
from mho.scheduling.bounds import bound_makespan
from mho.scheduling.duplication import Objective, choose_copies, copy_slowest_first

VALUES = {
    Objective.LATENCY: lambda graph, copies: time_asap(graph, copies).makespan_ps,
    Objective.LAYER_BY_LAYER: lambda graph, copies: time_layer_by_layer(graph, copies).makespan_ps,
    Objective.INTERVAL: find_interval_ps,
}


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), st.sampled_from([Objective.LAYER_BY_LAYER, Objective.INTERVAL]))
def test_what_is_called_optimal_is(data, objective):
    graph = data.draw(draw_graph(most_layers=3))
    crossbars = graph.minimal_crossbars + data.draw(st.integers(0, 8))
    chosen = choose_copies(graph, crossbars, objective)
    assert chosen.is_optimal
    everything = list_copies(graph, crossbars, beyond_windows=True)
    assert chosen.value_ps == min(VALUES[objective](graph, copies) for copies in everything)


@settings(max_examples=examples(60), deadline=None)
@given(st.data(), st.sampled_from(list(Objective)))
def test_a_choice_fits_and_has_the_value_that_it_tells(data, objective):
    graph = data.draw(draw_graph())
    crossbars = graph.minimal_crossbars + data.draw(st.integers(0, 12))
    chosen = choose_copies(graph, crossbars, objective)
    taken = sum(layer.crossbars * chosen.copies[layer.name] for layer in graph.layers)
    assert taken == chosen.crossbars <= crossbars
    assert chosen.value_ps == VALUES[objective](graph, chosen.copies)


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_the_latency_lies_between_the_bound_and_the_greedy_choice(data):
    graph = data.draw(draw_graph())
    crossbars = graph.minimal_crossbars + data.draw(st.integers(0, 12))
    chosen = choose_copies(graph, crossbars, Objective.LATENCY)
    greedy = time_asap(graph, copy_slowest_first(graph, crossbars)).makespan_ps
    assert bound_makespan(graph, crossbars).bound_ps <= chosen.value_ps <= greedy


@settings(max_examples=examples(30), deadline=None)
@given(st.data(), st.sampled_from(list(Objective)))
def test_more_crossbars_are_never_slower(data, objective):
    graph = data.draw(draw_graph())
    spares = data.draw(st.lists(st.integers(0, 15), min_size=2, max_size=5))
    budgets = [graph.minimal_crossbars + spare for spare in spares]
    values, known = [], []
    for crossbars in sorted(budgets):
        chosen = choose_copies(graph, crossbars, objective, known=known)
        values.append(chosen.value_ps)
        known = [chosen.copies]
    assert values == sorted(values, reverse=True)


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_known_copies_that_fit_are_never_lost(data):
    graph = data.draw(draw_graph())
    known = data.draw(draw_copies(graph))
    crossbars = sum(layer.crossbars * known[layer.name] for layer in graph.layers)
    chosen = choose_copies(graph, crossbars, Objective.LATENCY, known=[known])
    assert chosen.value_ps <= time_asap(graph, known).makespan_ps
