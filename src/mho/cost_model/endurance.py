"""How long a chip lasts: its cells survive so many writes, and every input takes some of them."""

from __future__ import annotations

from mho.cost_model.latency import NetworkCost
from mho.errors import MappingError
from mho.hardware.spec import Accelerator


def count_lifetime_inputs(accelerator: Accelerator, writes: int, *, inputs: int = 1) -> int | None:
    """Return how many inputs a chip computes before the cell that is written most often may fail.

    Args:
        accelerator: how many writes a cell survives; of budgeted pulses (`array.pulse_error`), how many pulses.
        writes: of the crossbar that is written most often, whose cells are taken to be written each time.
        inputs: for which these writes are, at least 1.

    Returns:
        The number of inputs; None where the accelerator does not specify its endurance, or where nothing is written.

    Raises:
        MappingError: a number is impossible.
    """
    if writes < 0 or inputs < 1:
        raise MappingError(f"{writes} writes for {inputs} inputs", expected="at least 0 writes for at least 1 input")
    cell_writes = accelerator.endurance.cell_writes
    if cell_writes is None or writes == 0:
        return None
    return int(cell_writes * inputs // (writes * accelerator.pulses_per_cell))


def count_network_writes(cost: NetworkCost) -> int:
    """Return how often a batch writes the one crossbar that is used again for every tile."""
    return sum(layer.writes * (cost.batch if layer.mapping.layer.is_stored_dynamically else 1) for layer in cost.layers)


def count_network_lifetime(cost: NetworkCost, accelerator: Accelerator) -> int | None:
    """Return how many samples one crossbar computes that is used again for every tile; see `count_lifetime_inputs`."""
    return count_lifetime_inputs(accelerator, count_network_writes(cost), inputs=cost.batch)
