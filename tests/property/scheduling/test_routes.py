"""Ways are those that the simulated interconnect takes."""

import numpy as np
import pytest
from accelerators import make_accelerator
from hypothesis import given
from hypothesis import strategies as st

from mho.scheduling.routes import Routes
from mho.simulation.interconnect import Carrier

CORES = 20


@pytest.mark.parametrize("kind", ["bus", "mesh"])
@given(
    source=st.integers(0, CORES - 1),
    targets=st.lists(st.integers(0, CORES - 1), min_size=1, max_size=6, unique=True),
    size=st.integers(1, 300),
)
def test_a_lone_transfer_takes_the_links_and_the_time_of_the_simulation(kind, source, targets, size):
    accelerator = make_accelerator(
        crossbars=CORES, chip={"cores": CORES},
        interconnect={"kind": kind, "bytes_per_cycle": 8, "cycle_ns": 1, "hop_latency_cycles": 3},
    )  # fmt: skip
    routes, carrier = (made(accelerator.interconnect, accelerator.chip) for made in (Routes, Carrier))
    arrival = carrier.send(1000, source, tuple(targets), size)
    way = routes.find((source,), tuple(targets))
    assert (len(way.links), len(set(way.links.tolist()))) == (carrier.links, carrier.links)
    assert size * len(way.links) == carrier.byte_hops
    assert int(routes.held_ps(np.array([size]))[0]) * len(way.links) == carrier.busy_ps
    assert 1000 + int(routes.fly_ps(np.array([size]), way.hops)[0]) == arrival
