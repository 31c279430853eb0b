"""From a quantized network and its schedule on a chip to a program that carries the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import MappingError
from mho.mapping.network import naming_layer
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.program.layer_lowering import lower_layer
from mho.program.lowering import assemble_program, check_mappings, read_widths, require_integers
from mho.program.program import Program
from mho.program.schedule import LayerSchedule, Schedule, StoredWait, Wait
from mho.scheduling.chip_schedule import ChipSchedule
from mho.scheduling.work_graph import LayerWork


def compile_schedule(
    quantized: Network, schedule: ChipSchedule, *, metadata: Mapping[str, Any] | None = None
) -> Program:
    """Compile a quantized network for the chip that it was scheduled on.

    Args:
        quantized: a network whose every MVM layer carries integers.
        schedule: of this network, at its own widths, with all of its layers, as `schedule_network` makes it.
        metadata: JSON values to carry along (hashes, names), beside mho's version and the layers' bit widths.

    Returns:
        A verified program: every tile of the first copy of each layer in its crossbar, and the other copies, and what
        windows wait for, in `Program.schedule`.

    Raises:
        MappingError: a layer is not quantized, or the schedule is that of another network.
    """
    require_integers(quantized)
    own_bits = {name: one.bits.adc_bits for name, one in schedule.mappings.items() if one.bits.adc_bits is not None}
    check_mappings(derive_layer_table(quantized), read_widths(quantized, own_bits), schedule.mappings)
    if missing := [name for name in quantized.layer_names if name not in schedule.mappings]:
        raise MappingError(
            f"layers that the schedule leaves out: {', '.join(missing)}", where=quantized.name,
            expected="a schedule of all layers of the network",
        )  # fmt: skip
    lowered = []
    for node in quantized.mvm_nodes:
        crossbars = schedule.plan.places[node.name][0].crossbars
        with naming_layer(node.name):
            mapping = schedule.mappings[node.name]
            lowered.append(lower_layer(quantized, node, schedule.accelerator, mapping, crossbars))
    waits: dict[str, NDArray[Any]] = {}
    layers = tuple(_describe(schedule, work, waits) for work in schedule.graph.layers)
    origin = {"mapping": str(schedule.model), "objective": str(schedule.objective), **(metadata or {})}
    return assemble_program(
        quantized, schedule.accelerator, lowered, [one.layer for one in lowered], waits, Schedule(layers), origin
    )


def _describe(schedule: ChipSchedule, work: LayerWork, waits: dict[str, NDArray[Any]]) -> LayerSchedule:
    own = []
    for need in work.needs:
        name = f"{work.name}:waits:{need.producer}"
        waits[name] = need.windows.astype(np.int32)
        own.append(Wait(need.producer, name))
    return LayerSchedule(
        name=work.name,
        copies=tuple(place.crossbars for place in schedule.plan.places[work.name]),
        waits=tuple(own),
        stored_waits=tuple(StoredWait(producer, count) for producer, count in work.stored_needs),
    )
