"""Many tiles at a time take as long as one after the other, and leave the crossbars alike."""

from dataclasses import replace

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from reload_works import reload_plans, reload_works

from mho.scheduling.grouped_reloads import GroupedRun
from mho.scheduling.reload_timing import InputRun


@settings(max_examples=examples(300), deadline=None)
@given(st.data(), reload_works(most_tiles=40))
def test_times_are_those_of_tiles_one_after_the_other(data, work):
    shared = data.draw(st.integers(1, 3))
    work = replace(work, groups=tuple(replace(one, tiles=shared) if one.later else one for one in work.groups))
    plan = replace(data.draw(reload_plans(work)), rotating=data.draw(st.integers(4, 40)))
    free = sorted(data.draw(st.lists(st.integers(-200, 60), min_size=plan.rotating, max_size=plan.rotating)))
    link = data.draw(st.integers(-50, 50))
    run = InputRun(work, plan, (tuple(free), link))
    grouped = GroupedRun(work, plan.copies, plan.staying, free, link, does_one_thing=plan.does_one_thing)
    assert GroupedRun.can_time(work, plan.copies)
    assert (grouped.now, grouped.free.tolist(), grouped.link) == (run.now, run.list_free(), run.link)


@settings(max_examples=examples(100), deadline=None)
@given(reload_works())
def test_times_beyond_64_bits_are_not_taken_many_at_a_time(work):
    slow = replace(work, extra_ps=(1 << 60, *work.extra_ps[1:]))
    assert not GroupedRun.can_time(slow, [1] * len(work.groups))
