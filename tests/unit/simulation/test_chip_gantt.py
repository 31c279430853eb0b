from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.scheduling.gantt import Occupancy
from mho.simulation.chip_gantt import merge_spans
from mho.simulation.chip_timing import Span

LAYERS = {"a": 0, "b": 1, "c": 2}


@st.composite
def spans(draw):
    """Strategy of spans: some copies of some layers, each at work now and then."""
    found = []
    for layer in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        for copy in range(draw(st.integers(1, 3))):
            now = 0
            for _ in range(draw(st.integers(0, 8))):
                now += draw(st.integers(1, 20))
                windows = draw(st.integers(1, 4))
                found.append(Span(layer, copy, draw(st.integers(0, 1)), now, now + 5 * windows, windows))
                now += 5 * windows
    return tuple(found)


def merge(given_spans, limit):
    bars = merge_spans(given_spans, LAYERS, limit)
    return [(layer, copy, bar) for (layer, copy), row in bars.items() for bar in row]


@given(spans(), st.integers(0, 30))
def test_merging_loses_no_work(given_spans, limit):
    merged = merge(given_spans, limit)
    before, after = Counter(), Counter()
    for span in given_spans:
        before[span.layer, span.copy, span.index] += span.windows
    for layer, copy, bar in merged:
        after[layer, copy, bar.item] += bar.count
        assert bar.layer == LAYERS[layer]
        assert bar.busy_ps == 5 * bar.count
        assert 0 < bar.busy <= 1
    assert before == after
    inputs = len({(span.layer, span.copy, span.index) for span in given_spans})
    assert len(merged) <= max(limit, inputs)
    assert len(merged) == len(given_spans) or limit < len(given_spans)


def test_the_shortest_pauses_are_joined_over():
    work = [Span("a", 0, 0, start, start + 10, 2) for start in (0, 12, 40, 55)]
    assert [(bar.start_ps, bar.finish_ps) for *_, bar in merge(work, 3)] == [(0, 22), (40, 50), (55, 65)]
    ((*_, whole),) = merge(work, 1)
    assert (whole.start_ps, whole.finish_ps, whole.busy_ps, whole.count) == (0, 65, 40, 8)


@given(spans(), st.integers(1, 9))
def test_levels_are_the_mean_of_crossbars_at_work(given_spans, bins):
    crossbars, total = {"a": 1, "b": 2, "c": 5}, 7 * max((span.finish_ps for span in given_spans), default=1)
    levels = Occupancy.of((span.start_ps, span.finish_ps, crossbars[span.layer]) for span in given_spans).measure(
        total, bins
    )
    edges = np.linspace(0, total, bins + 1)
    for level, start, end in zip(levels, edges[:-1], edges[1:], strict=True):
        work = sum(
            crossbars[span.layer] * max(0.0, min(end, span.finish_ps) - max(start, span.start_ps))
            for span in given_spans
        )
        assert level == pytest.approx(work / (end - start), abs=1e-9)
