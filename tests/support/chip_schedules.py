"""A small schedule with everything that views show: cores, a mesh, several inputs, energy, area."""

from __future__ import annotations

from accelerators import make_accelerator
from chip_networks import make_attention, make_residual

from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import schedule_network
from mho.simulation.chip_search import SimulatedSchedule
from mho.simulation.chip_timing import ChipTiming

ACCELERATOR = make_accelerator(
    rows=32,
    cols=16,
    cell_bits=4,
    crossbars=40,
    chip={"cores": 4},
    interconnect={"kind": "mesh", "bytes_per_cycle": 4, "cycle_ns": 5, "hop_latency_cycles": 3},
    energy={"mvm_pj": 3, "hop_pj_per_byte": 5, "crossbar_leakage_uw": 2},
    area={"crossbar_um2": 100, "router_um2": 50},
)


def make_schedule(batch: int = 3) -> tuple[SimulatedSchedule, ChipTiming]:
    """Return the schedule of a residual block at 4/4, and its simulation with spans."""
    return _make(make_residual(), batch)


def make_stored_schedule(batch: int = 2) -> tuple[SimulatedSchedule, ChipTiming]:
    """Return the same of an attention head, whose products store an operand for every input."""
    return _make(make_attention(), batch)


def _make(network: Network, batch: int) -> tuple[SimulatedSchedule, ChipTiming]:
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    schedule = SimulatedSchedule.of(schedule_network(network, policy, ACCELERATOR, batch=batch), with_spans=True)
    return schedule, schedule.timing.batch
