"""The interval of a full pipeline: no shorter than any resource allows, and that of a long simulation."""

from functools import cache

import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_chain, make_residual
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from mho.errors import ScheduleError
from mho.policy import BitWidths, Policy
from mho.scheduling.bottleneck import find_bottleneck
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.placement import place_copies
from mho.scheduling.work_graph import WorkGraph
from mho.simulation.chip_timing import simulate_chip
from mho.simulation.plan_timing import TOLERANCE, PlanTiming

NETWORKS = {"chain": make_chain(), "residual": make_residual(), "attention": make_attention()}
HARDWARE = {"rows": 32, "cols": 16, "cell_bits": 4}


@cache
def _graph(name: str, bits: str) -> WorkGraph:
    network = NETWORKS[name]
    policy = Policy.uniform(network.layer_names, BitWidths.parse(bits))
    fewest = ChipDemand.of(network, policy, make_accelerator(crossbars=60, **HARDWARE)).schedule_fewest()
    return fewest.graph


@st.composite
def _timings(draw):
    graph = _graph(draw(st.sampled_from(sorted(NETWORKS))), draw(st.sampled_from(["8/8", "4/4", "3/6"])))
    copies = {layer.name: draw(st.integers(1, 6)) for layer in graph.layers}
    demand, per_core = sum(layer.crossbars * copies[layer.name] for layer in graph.layers), draw(st.integers(1, 6))
    cores = -(-demand // per_core) + draw(st.integers(0, 3))
    interconnect = {"kind": draw(st.sampled_from(["ideal", "bus", "mesh", "mesh"]))}
    if interconnect["kind"] != "ideal":
        interconnect |= {
            "bytes_per_cycle": draw(st.sampled_from([1, 4])), "cycle_ns": draw(st.sampled_from([1, 20, 300])),
            "hop_latency_cycles": draw(st.integers(0, 3)),
        }  # fmt: skip
    buffers = {
        "input_bytes": draw(st.sampled_from(["unlimited", 64, 256, 1024])),
        "output_bytes": draw(st.sampled_from(["unlimited", 64])),
    }
    accelerator = make_accelerator(
        crossbars=per_core * cores, chip={"cores": cores}, interconnect=interconnect, buffers=buffers, **HARDWARE
    )
    return PlanTiming(graph, place_copies(graph, copies, accelerator.chip), accelerator)


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(_timings())
def test_the_interval_is_about_that_of_a_long_simulation_and_no_resource_is_faster(timing):
    """Settled: twice as many inputs changed it by at most 2 %. Longer batches may, by some percent more."""
    graph, plan, accelerator = timing.graph, timing.plan, timing.accelerator
    try:
        steady = timing.steady
    except ScheduleError:  # buffers that are too small are drawn too
        reject()
    assert timing.latency_ps == simulate_chip(graph, plan, accelerator).total_ps
    assert steady.bottleneck == find_bottleneck(graph, plan, accelerator)
    assert steady.bottleneck.busy_ps <= steady.interval_ps
    if not steady.is_settled:
        return
    inputs = 2 * max(steady.inputs, 64)
    shorter, longer = (simulate_chip(graph, plan, accelerator, batch=n).total_ps for n in (inputs // 2, inputs))
    found_ps = (longer - shorter) / (inputs // 2)
    assert steady.interval_ps == pytest.approx(found_ps, rel=5 * TOLERANCE, abs=1)
