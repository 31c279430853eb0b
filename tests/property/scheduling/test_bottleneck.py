"""The resource that limits a full pipeline: links are held as long as in the simulation."""

from math import gcd, lcm

from accelerators import make_accelerator
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_work_graphs import interconnects, plans, work_graphs

from mho.scheduling.asap import find_interval_ps
from mho.scheduling.bottleneck import count_link_loads, find_bottleneck
from mho.scheduling.routes import Routes
from mho.simulation.chip_timing import simulate_chip

MOST_INPUTS = 48


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_one_input_takes_copies_and_links_as_long_as_in_the_simulation(data):
    graph = data.draw(work_graphs())
    plan, interconnect = data.draw(plans(graph)), data.draw(interconnects())
    accelerator = make_accelerator(interconnect=interconnect)
    found, copies_ps = find_bottleneck(graph, plan, accelerator), find_interval_ps(graph, plan.copies)
    if interconnect["kind"] == "ideal":
        assert (found.busy_ps, found.resource[:9]) == (copies_ps, "copies of")
        return
    copies = plan.copies
    period = lcm(*(copies[layer.name] // gcd(layer.windows, copies[layer.name]) for layer in graph.layers))
    if period > MOST_INPUTS:
        return
    timing = simulate_chip(graph, plan, accelerator, batch=period)
    loads = count_link_loads(graph, plan, Routes(accelerator.interconnect, plan.chip))
    assert round(loads.sum() * period) == timing.interconnect_ps
    assert (loads > 0).sum() == timing.links
    assert found.busy_ps == max(copies_ps, round(loads.max()))
    assert (found.busy_ps == copies_ps) == found.resource.startswith("copies of layer")
