"""The program of a quantized network for a whole chip: the schedule that is best when it is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.cost_model.layer_tables import network_policy
from mho.errors import ScheduleError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.program.lowering import compile_schedule, require_integers
from mho.program.program import Program
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import simulate_best


def compile_for_chip(
    network: Network,
    accelerator: Accelerator,
    *,
    objective: Objective,
    model: MappingModel,
    metadata: Mapping[str, Any],
    adc_bits: Mapping[str, int] | None = None,
) -> Program:
    """Compile a quantized network for a chip whose crossbars hold all of its tiles.

    Args:
        network: whose every MVM layer carries integers.
        accelerator: the chip.
        objective: what options and copies are chosen for.
        model: how layers are mapped.
        metadata: JSON values to carry along.
        adc_bits: with how many bits the sums of layers are converted, by name; the others: with the accelerator's.

    Raises:
        MappingError: a layer is not quantized, or cannot be mapped.
        ScheduleError: the chip has fewer crossbars than the network has tiles; or its buffers are too small.
    """
    require_integers(network)
    policy = network_policy(network)
    assert policy is not None
    policy = policy.with_adc_bits(adc_bits or {})
    demand = ChipDemand.of(network, policy, accelerator, model=model)
    if not demand.is_held:
        raise ScheduleError(
            f"its layers take {demand.minimal_crossbars:,} crossbars",
            where=network.name,
            expected=f"at most the {accelerator.chip.crossbars:,} of {accelerator.name}",
            hint="take fewer weight bits or more crossbars; mho schedule tells what rewriting tiles would take, and "
            "a program of one crossbar needs no more",
        )
    schedule = simulate_best(demand, objective)
    return compile_schedule(network, schedule, metadata=metadata)
