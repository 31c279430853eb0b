from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.report.stretches import measure_activity, merge_spans
from mho.simulation.chip_timing import Span


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


@given(spans(), st.integers(0, 30))
def test_merging_loses_no_work(given_spans, limit):
    merged = merge_spans(given_spans, limit)
    for field in ("windows", "busy_ps"):
        before, after = Counter(), Counter()
        for span in given_spans:
            before[span.layer, span.copy, span.index] += 5 * span.windows if field == "busy_ps" else span.windows
        for stretch in merged:
            after[stretch.layer, stretch.copy, stretch.index] += getattr(stretch, field)
        assert before == after
    assert all(0 < stretch.busy <= 1 for stretch in merged)
    inputs = len({(span.layer, span.copy, span.index) for span in given_spans})
    assert len(merged) <= max(limit, inputs)
    assert len(merged) == len(given_spans) or limit < len(given_spans)


def test_the_shortest_pauses_are_joined_over():
    work = [Span("a", 0, 0, start, start + 10, 2) for start in (0, 12, 40, 55)]
    assert [(one.start_ps, one.finish_ps) for one in merge_spans(work, 3)] == [(0, 22), (40, 50), (55, 65)]
    (whole,) = merge_spans(work, 1)
    assert (whole.start_ps, whole.finish_ps, whole.busy_ps, whole.windows) == (0, 65, 40, 8)


@given(spans(), st.integers(1, 9))
def test_activity_is_the_mean_of_crossbars_at_work(given_spans, bins):
    crossbars, total = {"a": 1, "b": 2, "c": 5}, 7 * max((span.finish_ps for span in given_spans), default=1)
    levels = measure_activity(given_spans, crossbars, total, bins)
    edges = np.linspace(0, total, bins + 1)
    for level, start, end in zip(levels, edges[:-1], edges[1:], strict=True):
        work = sum(
            crossbars[span.layer] * max(0.0, min(end, span.finish_ps) - max(start, span.start_ps))
            for span in given_spans
        )
        assert level == pytest.approx(work / (end - start), abs=1e-9)
