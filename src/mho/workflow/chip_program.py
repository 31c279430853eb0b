"""The program of a quantized network for a whole chip: of the best schedule, whose weights stay or are rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mho.errors import ScheduleError
from mho.evaluation.deployment import ChipDeployment, compile_deployment, read_policy
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.program.program import Program
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.duplication import Objective
from mho.simulation.chip_search import find_schedule


def compile_for_chip(
    network: Network,
    accelerator: Accelerator,
    *,
    objective: Objective,
    model: MappingModel,
    metadata: Mapping[str, Any],
    adc_bits: Mapping[str, int] | None = None,
    batch: int = 1,
) -> Program:
    """Compile a quantized network for all crossbars of a chip: tiles stay where it holds them all, else take turns.

    Args:
        network: whose every MVM layer carries integers.
        accelerator: the chip.
        objective: what options and copies are chosen for.
        model: how layers are mapped.
        metadata: JSON values to carry along.
        adc_bits: with how many bits the sums of layers are converted, by name; the others: with the accelerator's.
        batch: inputs that share the writes of weights, where tiles take turns.

    Raises:
        MappingError: a layer is not quantized, or cannot be mapped.
        ScheduleError: buffers are too small; or there is a batch although all tiles stay.
    """
    demand = ChipDemand.of(network, read_policy(network, adc_bits), accelerator, model=model)
    if demand.is_held and batch != 1:
        raise ScheduleError(
            f"a batch of {batch}",
            where=network.name,
            expected=f"1: its {demand.minimal_crossbars:,} tiles stay in the crossbars of {accelerator.name}",
            hint="leave out --batch, or take fewer crossbars than tiles (--crossbars N): inputs then share the writes",
        )
    deployment = ChipDeployment(accelerator, model, find_schedule(demand, objective, batch=batch))
    return compile_deployment(network, deployment, metadata=metadata)
