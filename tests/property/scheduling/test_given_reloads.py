"""Times of tiles whose crossbars are given are those of the schedule that gave them."""

from __future__ import annotations

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser
from reload_programs import random_reload
from reload_works import reload_works

from mho.scheduling.given_reloads import GivenReloads, time_reloads
from mho.scheduling.reload_search import find_plan, list_simple_plans
from mho.scheduling.reload_timing import time_reload


@settings(max_examples=examples(60), deadline=None)
@given(reload_works(), st.integers(1, 9))
def test_what_takes_the_given_crossbars_takes_the_time_of_the_schedule(work, crossbars):
    for plan in (*list_simple_plans(work, crossbars), find_plan(work, crossbars)):
        timing = time_reload(work, plan, with_spans=True)
        given = time_reloads(work, plan, GivenReloads.of(work, timing))
        assert given.interval_ps == timing.interval_ps
        assert given.inputs % timing.inputs == 0, "times may alternate between periods"
        first = given.spans[: len(timing.spans)]
        assert [(span.group, span.crossbar) for span in first] == [(span.group, span.crossbar) for span in timing.spans]


def test_times_that_alternate_from_period_to_period_have_the_mean_of_the_schedule():
    """From an empty chip two crossbars keep the lead that they begin with: periods are long and short in turn."""
    _, schedule, _ = random_reload(SeededChooser(1033), most=24)
    reloads = GivenReloads.of(schedule.work, schedule.timing)
    assert time_reloads(schedule.work, schedule.plan, reloads).interval_ps == schedule.latency_ps
