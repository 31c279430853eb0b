"""A small schedule with reloads that views show: cores, stored operands, tiles that stay, energy, endurance."""

from __future__ import annotations

from accelerators import make_accelerator
from chip_networks import make_residual

from mho.hardware.loading import override
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.reload_schedule import ReloadSchedule, schedule_network_reload

ACCELERATOR = make_accelerator(
    rows=32,
    cols=16,
    cell_bits=2,
    crossbars=4,
    chip={"cores": 2},
    energy={"mvm_pj": 3, "cell_write_pj": 7, "crossbar_leakage_uw": 2},
    area={"crossbar_um2": 100},
    endurance={"cell_writes": 1_000_000},
    memory={"bytes_per_us": 8},
)
LAYERS = [
    MvmLayer("first", "linear", 24, 30, 9, 1),
    MvmLayer("scores", "matmul", 5, 5, 7, 2),
    MvmLayer("slow", "linear", 6, 12, 400, 1),
    MvmLayer("last", "linear", 40, 64, 1, 1),
]


def make_reload(batch: int = 1) -> ReloadSchedule:
    """Return the schedule of a residual block at 8/8 on four crossbars of two cores."""
    network = make_residual()
    policy = Policy.uniform(network.layer_names, BitWidths(8, 8))
    return schedule_network_reload(derive_layer_table(network), policy, ACCELERATOR, batch=batch)


def make_mixed(crossbars: int = 8) -> ReloadSchedule:
    """Return the schedule of layers of which some tiles stay, and one stores an operand."""
    policy = Policy.uniform([layer.name for layer in LAYERS], BitWidths(4, 3))
    return schedule_network_reload(LAYERS, policy, override(ACCELERATOR, crossbars=crossbars))
