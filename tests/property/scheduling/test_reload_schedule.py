"""Schedules with reloads: what must hold for every chip, and the best there is where all can be listed."""

from __future__ import annotations

import itertools
from collections import Counter

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from reload_works import reload_plans, reload_works

from mho.scheduling.reload_bound import bound_reload_ps
from mho.scheduling.reload_search import find_plan, list_simple_plans
from mho.scheduling.reload_timing import time_reload, unroll
from mho.scheduling.reload_writes import count_writes

PERIODS = 3


def check_schedule(work, plan, timing):
    """Check three periods in a row against every rule, span by span."""
    spans = unroll(timing, PERIODS)
    per_period = len(timing.spans)
    check_reads_follow_writes_and_layers(work, timing)
    check_crossbars_do_one_thing_at_a_time(spans)
    check_every_tile_is_read(work, plan, timing)
    check_link(work, spans)
    assert len(spans) == PERIODS * per_period
    used = {span.crossbar for span in spans}
    assert used <= set(range(plan.crossbars))


def check_reads_follow_writes_and_layers(work, timing):
    assert timing.period_ps == timing.layer_ends_ps[-1][-1]
    for span in timing.spans:
        group = work.groups[span.group]
        begin = timing.layer_ends_ps[span.number - 1][-1] if span.number else 0
        starts = (begin, *timing.layer_ends_ps[span.number])
        assert starts[span.layer] <= span.read[0] < span.read[1] <= span.held_until
        assert span.held_until + work.extra_ps[span.layer] <= starts[span.layer + 1]
        if span.write is not None:
            assert span.write[1] - span.write[0] == group.write_ps
            assert span.write[1] <= span.read[0]
            if group.is_stored:
                assert span.write[0] >= starts[span.layer]


def check_crossbars_do_one_thing_at_a_time(spans):
    """Between a write and the last read of its tile a crossbar holds that tile; one that stays is not written."""
    busy = {}
    for span in spans:
        start = span.read[0] if span.write is None else span.write[0]
        busy.setdefault(span.crossbar, []).append((start, span.held_until, span))
    for uses in busy.values():
        uses.sort(key=lambda use: use[:2])
        held = None
        for (_, end, _), (start, _, _) in itertools.pairwise(uses):
            assert end <= start
        for _, _, span in uses:
            held = span.group if span.write is not None or held is None else held
            assert span.group == held


def check_every_tile_is_read(work, plan, timing):
    """Every tile is read once in each of its layers, for at least all of its windows."""
    found = Counter((span.group, span.layer) for span in timing.spans)
    expected = Counter()
    for number, group in enumerate(work.groups):
        expected[number, group.layer] = group.tiles * plan.copies[number] * timing.inputs
        for later in group.later:
            expected[number, later.layer] = group.tiles * timing.inputs
    assert found == expected
    for span in timing.spans:
        group = work.groups[span.group]
        if span.layer == group.layer:
            time = span.read[1] - span.read[0]
            assert time * plan.copies[span.group] >= group.windows * group.window_ps
    assert sum(span.write is not None for span in timing.spans) == count_writes(work, plan) * timing.inputs


def check_link(work, spans):
    """Weights come one after the other."""
    arrivals = sorted(
        (span.write[0], span.write[0] + work.groups[span.group].transfer_ps)
        for span in spans
        if span.write is not None and work.groups[span.group].transfer_ps
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(arrivals))


@settings(max_examples=examples(100), deadline=None)
@given(reload_works(), st.integers(1, 9))
def test_no_schedule_breaks_a_rule_falls_below_the_bound_or_is_slower_than_a_simple_one(work, crossbars):
    plan = find_plan(work, crossbars)
    assert plan.crossbars <= crossbars
    timing = time_reload(work, plan, with_spans=True)
    check_schedule(work, plan, timing)
    assert timing.interval_ps >= bound_reload_ps(work, crossbars)
    assert timing.interval_ps <= min(time_reload(work, one).interval_ps for one in list_simple_plans(work, crossbars))


@settings(max_examples=examples(100), deadline=None)
@given(st.data(), reload_works())
def test_any_plan_is_timed_by_the_rules_and_not_below_the_bound(data, work):
    plan = data.draw(reload_plans(work))
    timing = time_reload(work, plan, with_spans=True)
    check_schedule(work, plan, timing)
    assert timing.interval_ps >= bound_reload_ps(work, plan.crossbars)


@settings(max_examples=examples(100), deadline=None)
@given(reload_works())
def test_one_crossbar_does_one_thing_after_another(work):
    timing = time_reload(work, find_plan(work, 1))
    extra, held = sum(work.extra_ps), sum(group.tiles * group.held_ps for group in work.groups)
    assert timing.interval_ps == (held + extra if work.fits(1) else work.one_crossbar_ps)


@settings(max_examples=examples(100), deadline=None)
@given(reload_works())
def test_more_crossbars_are_never_slower(work):
    known, last = [], None
    for crossbars in range(1, 8):
        plan = find_plan(work, crossbars, known=known)
        interval_ps = time_reload(work, plan).interval_ps
        assert last is None or interval_ps <= last
        known, last = [plan], interval_ps


def list_ends(work, staying, crossbars, inputs):
    """Yield the end of some inputs in a row for every way to hand out the rotating tiles, from empty crossbars on."""
    reloads = sum(group.tiles - x for group, x in zip(work.groups, staying, strict=True))
    for choice in itertools.product(range(crossbars), repeat=reloads * inputs):
        free, now, taken = [0] * crossbars, 0, iter(choice)
        for _ in range(inputs):
            for group, x in zip(work.groups, staying, strict=True):
                end = now + (group.read_ps() if x else 0)
                for _ in range(group.tiles - x):
                    crossbar = next(taken)
                    free[crossbar] = max(now, free[crossbar] + group.write_ps) + group.read_ps()
                    end = max(end, free[crossbar])
                now = end
        yield now


@settings(deadline=None, max_examples=examples(40))
@given(st.data(), reload_works(is_plain=True, most_tiles=3), st.integers(2, 3))
def test_the_crossbar_that_is_free_first_is_the_best_for_equal_tiles(data, work, rotating):
    inputs = 2
    staying = tuple(data.draw(st.integers(0, group.tiles)) for group in work.groups)
    reloads = sum(group.tiles - x for group, x in zip(work.groups, staying, strict=True))
    if rotating ** (reloads * inputs) > 5000:
        inputs = 1
    if rotating**reloads > 5000:
        return
    best = min(list_ends(work, staying, rotating, inputs))
    greedy = min(run_greedily(work, staying, rotating, inputs))
    assert greedy == best


def run_greedily(work, staying, crossbars, inputs):
    """Yield the end of inputs in a row where each tile goes to the crossbar that is free first."""
    free, now = [0] * crossbars, 0
    for _ in range(inputs):
        for group, x in zip(work.groups, staying, strict=True):
            end = now + (group.read_ps() if x else 0)
            for _ in range(group.tiles - x):
                free.sort()
                free[0] = max(now, free[0] + group.write_ps) + group.read_ps()
                end = max(end, free[0])
            now = end
    yield now
