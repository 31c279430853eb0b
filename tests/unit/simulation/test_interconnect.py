from __future__ import annotations

import pytest
from accelerators import make_accelerator
from hypothesis import given
from hypothesis import strategies as st

from mho.simulation.interconnect import Carrier

CYCLE_PS = 2


def make_carrier(kind, *, cores=12, latency=3, **changes):
    interconnect = {"kind": kind}
    if kind != "ideal":
        interconnect |= {"bytes_per_cycle": 4, "cycle_ns": CYCLE_PS / 1000, "hop_latency_cycles": latency}
    accelerator = make_accelerator(chip={"crossbars": cores, "cores": cores}, interconnect=interconnect | changes)
    return Carrier(accelerator.interconnect, accelerator.chip)


def test_an_ideal_interconnect_takes_no_time():
    carrier = make_carrier("ideal")
    assert carrier.send(7, 0, (1, 2), 1000) == 7
    assert (carrier.busy_ps, carrier.links, carrier.byte_hops) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["bus", "mesh"])
def test_what_stays_in_its_core_and_what_is_empty_is_not_carried(kind):
    carrier = make_carrier(kind)
    assert carrier.send(7, 3, (3,), 1000) == 7
    assert carrier.send(7, 3, (5,), 0) == 7
    assert carrier.send(7, 3, (), 8) == 7
    assert carrier.busy_ps == 0


def test_a_bus_carries_one_transfer_after_the_other():
    carrier = make_carrier("bus")
    held = (3 + 3) * CYCLE_PS  # three cycles until the first bytes, and ten bytes in three cycles
    assert carrier.send(100, 0, (1,), 10) == 100 + held
    assert carrier.send(101, 5, (6,), 10) == 100 + 2 * held
    assert carrier.send(1000, 5, (6,), 1) == 1000 + (3 + 1) * CYCLE_PS
    assert carrier.busy_ps == 2 * held + 4 * CYCLE_PS
    assert (carrier.links, carrier.byte_hops) == (1, 21)


def test_all_cores_listen_to_a_bus():
    carrier = make_carrier("bus")
    assert carrier.send(0, 0, (0, 1, 2, 11), 4) == 4 * CYCLE_PS
    assert carrier.byte_hops == 4


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 30)), min_size=1, max_size=20))
def test_a_bus_is_first_come_first_served(transfers):
    carrier, free, time = make_carrier("bus"), 0, 0
    for pause, size in transfers:
        time += pause
        free = max(free, time) + (3 + -(-size // 4)) * CYCLE_PS
        assert carrier.send(time, 0, (1,), size) == free


@given(st.integers(0, 11), st.integers(0, 11), st.integers(1, 30), st.integers(0, 4))
def test_a_mesh_takes_a_hop_for_each_row_and_column(source, target, size, latency):
    carrier = make_carrier("mesh", latency=latency, mesh_rows=3)
    hops = abs(source // 4 - target // 4) + abs(source % 4 - target % 4)
    expected = 50 + (latency * hops + -(-size // 4)) * CYCLE_PS if hops else 50
    assert carrier.send(50, source, (target,), size) == expected
    assert (carrier.links, carrier.byte_hops) == (hops, hops * size)
    assert carrier.busy_ps == hops * -(-size // 4) * CYCLE_PS


def test_transfers_wait_for_links_that_they_share_and_for_no_others():
    carrier = make_carrier("mesh", latency=0, mesh_rows=1)  # 0 - 1 - 2 - ...
    assert carrier.send(0, 0, (3,), 40) == 10 * CYCLE_PS
    assert carrier.send(0, 1, (2,), 4) == 11 * CYCLE_PS
    assert carrier.send(0, 2, (1,), 4) == CYCLE_PS  # the other direction has a link of its own
    assert carrier.send(0, 4, (5,), 4) == CYCLE_PS


def test_rows_are_taken_before_columns():
    carrier = make_carrier("mesh", latency=0, mesh_rows=3)
    carrier.send(0, 0, (5,), 400)  # over 1 to 5
    assert carrier.send(0, 4, (5,), 4) == CYCLE_PS
    assert carrier.send(0, 1, (5,), 4) == 101 * CYCLE_PS


@given(st.integers(0, 11), st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True), st.integers(1, 30))
def test_a_transfer_to_several_cores_shares_links_and_arrives_as_late_as_at_the_last(source, targets, size):
    together = make_carrier("mesh", mesh_rows=3)
    links, arrivals = set(), []
    for target in targets:
        alone = make_carrier("mesh", mesh_rows=3)
        arrivals.append(alone.send(9, source, (target,), size))
        links |= set(alone.used_links)
    assert together.send(9, source, tuple(targets), size) == max(arrivals)
    assert (together.links, together.byte_hops) == (len(links), len(links) * size)
