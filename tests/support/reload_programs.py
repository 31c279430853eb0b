"""Programs whose tiles are reloaded into too few crossbars, of random small networks: any mappings and any plan."""

from __future__ import annotations

from dataclasses import replace

from chip_programs import random_chip_network
from random_mappings import random_accelerator, random_mapping
from random_networks import Chooser

from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_layers
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.program.lowering import compile_schedule, read_widths
from mho.program.program import Program
from mho.scheduling.reload_schedule import ReloadSchedule, schedule_reload
from mho.scheduling.reload_tiles import NetworkTiles
from mho.scheduling.reload_timing import ReloadPlan, time_reload


def random_reload(chooser: Chooser, *, most: int = 40) -> tuple[Network, ReloadSchedule, Program]:
    """Return a quantized network, a schedule of it on a few crossbars, and its program.

    Raises:
        MappingError: the network does not fit the accelerator that was drawn.
    """
    network = random_chip_network(chooser)
    schedule = random_reload_schedule(chooser, network, most=most)
    return network, schedule, compile_schedule(network, schedule)


def random_reload_schedule(chooser: Chooser, network: Network, *, most: int = 40) -> ReloadSchedule:
    """Return a schedule on two to seven crossbars: the best there is, or any plan, of any mappings.

    Raises:
        MappingError: the network does not fit the accelerator that was drawn.
    """
    hardware, batch = _draw_hardware(chooser, most), chooser.integer(1, 3)
    layers, widths = derive_layer_table(network), list(read_widths(network, {}).layers.values())
    model, given = chooser.choice((MappingModel.BEST, MappingModel.BEST, MappingModel.PAPER)), {}
    for layer, bits in zip(layers, widths, strict=True):
        if model is MappingModel.BEST and not chooser.integer(0, 2):
            given[layer.name] = random_mapping(chooser, layer, bits, hardware)
    mapping = map_layers(layers, widths, hardware, model, batch=batch, given=given)
    schedule = schedule_reload(mapping, hardware, batch, model=model)
    if chooser.integer(0, 1):
        return schedule
    plan = _draw_plan(chooser, schedule.work, hardware.chip.crossbars)
    return replace(schedule, plan=plan, timing=time_reload(schedule.work, plan, with_spans=True))


def _draw_plan(chooser: Chooser, work: NetworkTiles, crossbars: int) -> ReloadPlan:
    """Return any plan: any copies of each tile, of which any stay while a crossbar is left to be rewritten."""
    copies, staying, left = [], [], crossbars - 1
    for group in work.groups:
        copies.append(chooser.integer(1, min(4, group.most_copies)))
        most = min(left, group.tiles * copies[-1]) if group.can_stay else 0
        staying.append(chooser.integer(0, most))
        left -= staying[-1]
    return ReloadPlan(1 + chooser.integer(0, left), tuple(copies), tuple(staying))


def _draw_hardware(chooser: Chooser, most: int) -> Accelerator:
    """Let crossbars be few, the digital unit and the link to the outside take time, or not."""
    content = random_accelerator(chooser, most=most).to_json()
    content["chip"] = {"crossbars": chooser.integer(2, 7), "cores": 1}
    content["digital"] = {"operation_latency_us": chooser.choice(("ideal", "ideal", 0.000007))}
    content["memory"] = {"bytes_per_us": chooser.choice(("ideal", "ideal", 4, 64))}
    return accelerator_from_json(content, where="drawn")
