"""The closed form against a chip that is stepped through time, tick after tick."""

from __future__ import annotations

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from work_graphs import draw_copies, draw_graph, find_shortest

from mho.scheduling.asap import find_interval_ps, time_asap, time_layer_by_layer


class SteppedCopy:
    """One copy: the writes and windows that it has still to do, and what it is at."""

    def __init__(self, layer, number, copies, batch):
        self.layer, self.ends, self.todo = layer, None, []
        for turn in range(number, batch * layer.windows, copies):
            index, window = divmod(turn, layer.windows)
            if window < copies and (layer.write_ps or layer.stored_needs):
                self.todo.append((index, None))
            self.todo.append((index, window))


def step_through(graph, copies, batch):
    """Return starts of windows and of writes, (layer, input, window or copy) -> tick."""
    chip = [
        SteppedCopy(layer, n, copies[layer.name], batch) for layer in graph.layers for n in range(copies[layer.name])
    ]
    finished = {(layer.name, index): set() for layer in graph.layers for index in range(batch)}
    starts, writes, tick = {}, {}, 0
    while any(copy.todo for copy in chip):
        for copy in chip:
            if copy.ends == tick:
                index, window = copy.todo.pop(0)
                copy.ends = None
                if window is not None:
                    finished[copy.layer.name, index].add(window)
        again = True
        while again:
            again = False
            for copy in chip:
                if copy.ends is not None or not copy.todo:
                    continue
                index, window = copy.todo[0]
                layer = copy.layer
                wanted = (
                    layer.stored_needs if window is None else [(n.producer, n.windows[window]) for n in layer.needs]
                )
                if all(finished[name, index] >= set(range(count)) for name, count in wanted):
                    if window is None:
                        writes.setdefault((layer.name, index), []).append(tick)
                        copy.ends = tick + layer.write_ps
                        if not layer.write_ps:
                            copy.todo.pop(0)
                            copy.ends, again = None, True
                    else:
                        starts[layer.name, index, window] = tick
                        copy.ends = tick + layer.window_ps
        tick += 1
    return starts, writes


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_every_window_starts_when_the_stepped_chip_starts_it(data):
    graph = data.draw(draw_graph())
    copies, batch = data.draw(draw_copies(graph, 8)), data.draw(st.integers(1, 3))
    starts, writes = step_through(graph, copies, batch)
    timing = time_asap(graph, copies, batch=batch)
    for name, layer in timing.layers.items():
        for index in range(batch):
            expected = [starts[name, index, window] for window in range(layer.starts.shape[1])]
            assert layer.starts[index].tolist() == expected
            assert sorted(layer.write_starts[index].tolist()) == sorted(writes.get((name, index), []))


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_no_order_of_windows_is_faster_where_needs_never_fall(data):
    graph = data.draw(draw_graph(most_layers=3, most_windows=4, any_order=False))
    copies = data.draw(draw_copies(graph, 3))
    assert time_asap(graph, copies).makespan_ps == find_shortest(graph, copies)


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_overlapping_layers_is_never_slower_than_one_after_the_other(data):
    graph = data.draw(draw_graph())
    copies = data.draw(draw_copies(graph))
    alone = time_layer_by_layer(graph, copies)
    assert time_asap(graph, copies).makespan_ps <= alone.makespan_ps
    assert all(copies[layer.name] > 1 for layer in graph.layers) or alone.makespan_ps <= graph.layer_by_layer_ps


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_a_full_pipeline_takes_an_input_every_interval(data):
    graph = data.draw(draw_graph(most_layers=3, most_windows=4))
    copies = data.draw(draw_copies(graph, 3))
    timing, period = time_asap(graph, copies, batch=108), 36
    ends = [timing.finish_ps(index) for index in range(timing.inputs)]
    interval = find_interval_ps(graph, copies)
    assert timing.interval_ps == interval
    grown = (max(ends) - max(ends[:-period])) / period
    assert interval - 1 < grown <= interval
