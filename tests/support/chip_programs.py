"""Programs for chips, of random small networks: any option of each layer, any number of copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_digital import random_digital_network
from random_mappings import random_accelerator
from random_networks import Chooser, random_network

from mho.hardware.loading import accelerator_from_json, override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.program.lowering import compile_schedule, read_widths
from mho.program.program import Program
from mho.quantization.ptq import quantize
from mho.scheduling.asap import time_asap, time_layer_by_layer
from mho.scheduling.chip_schedule import ChipSchedule, schedule_network
from mho.scheduling.dependencies import build_work_graph
from mho.scheduling.options import list_network_options
from mho.scheduling.placement import place_copies


def quantized_program(
    network: Network, accelerator: Accelerator, copies: int = 1, model: MappingModel = MappingModel.BEST
) -> tuple[ChipSchedule, Program]:
    """Return a float network at 4/4, on a chip that holds so many copies of each layer, and its program."""
    policy = Policy.uniform(network.layer_names, BitWidths(4, 4))
    shape = (8, *network.inputs[0].shape)
    quantized = quantize(network, policy, np.random.default_rng(5).standard_normal(shape).astype(np.float32))
    base = schedule_network(quantized, policy, accelerator, model=model)
    counts = dict.fromkeys(base.copies, copies)
    schedule = replace(
        base,
        duplication=replace(base.duplication, copies=counts),
        plan=place_copies(base.graph, counts, accelerator.chip),
        ideal=time_asap(base.graph, counts),
        layer_by_layer=time_layer_by_layer(base.graph, counts),
    )
    return schedule, compile_schedule(quantized, schedule)


def random_chip_network(chooser: Chooser) -> Network:
    """Return a random quantized network, of the plain kind or with much digital work between its layers."""
    return random_network(chooser) if chooser.integer(0, 1) else random_digital_network(chooser)


def random_schedule(
    chooser: Chooser, network: Network, *, most: int = 40, arithmetic: str | None = None
) -> ChipSchedule:
    """Return a schedule that takes any option and up to four copies of each layer, on a chip of any cores.

    Raises:
        MappingError: the network does not fit the accelerator that was drawn.
    """
    hardware = override(_charge(random_accelerator(chooser, most=most), chooser), arithmetic=arithmetic)
    policy, model = read_widths(network, {}), chooser.choice((MappingModel.BEST, MappingModel.BEST, MappingModel.PAPER))
    options = list_network_options(derive_layer_table(network), policy, hardware, model)
    mappings = {name: chooser.choice(listed) for name, listed in options.items()}
    graph = build_work_graph(network, mappings, hardware)
    copies = {layer.name: 1 if layer.unit is not None else chooser.integer(1, 4) for layer in graph.layers}
    used = sum(layer.crossbars * copies[layer.name] for layer in graph.layers)
    per_core = chooser.integer(1, 6)
    cores = max(1, -(-used // per_core)) + chooser.integer(0, 2)
    content = hardware.to_json()
    content["chip"] = {"cores": cores, "crossbars": cores * per_core}
    chip = accelerator_from_json(content, where="drawn")
    base = schedule_network(network, policy, chip, model=model)
    graph = build_work_graph(network, mappings, chip)
    return replace(
        base,
        graph=graph,
        duplication=replace(base.duplication, copies=copies),
        plan=place_copies(graph, copies, chip.chip),
        ideal=time_asap(graph, copies),
        layer_by_layer=time_layer_by_layer(graph, copies),
    )


def _charge(hardware: Accelerator, chooser: Chooser) -> Accelerator:
    """Let the digital unit take time, or not."""
    content = hardware.to_json()
    content["digital"] = {"operation_latency_us": chooser.choice(("ideal", "ideal", 0.000007))}
    return accelerator_from_json(content, where="charged")
