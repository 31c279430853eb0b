"""Single convolutions spread over many cores of one crossbar each, on a bus.

Modelled: a memory core sends every pixel of the input once, as 8-bit codes, to all cores of the layer, which listen
(`Carrier`); as many copies of the layer as fit take its windows in turn; a copy whose kernel takes several rows of
crossbars lies on several cores, which send their partial sums (4 bytes each) to the first of them; that core sends the
outputs back to the memory core as 8-bit codes. Everything goes over one bus, first come first served. An input buffer
holds the pixels that windows need from one turn of all copies to two turns later; an output buffer holds two windows,
so that cores stop when the bus does not keep up. The limit is the time of the busiest copy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from mho.arithmetic.attributes import get_ints
from mho.arithmetic.required_windows import slide_images
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network, Node
from mho.network.layers import derive_layer_table
from mho.network.loading import load_network
from mho.policy import BitWidths, Policy
from mho.scheduling.dependencies import build_work_graph
from mho.scheduling.options import list_network_options
from mho.scheduling.placement import place_copies
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph
from mho.simulation.chip_timing import Cause, simulate_chip

NETWORKS = ("torchvision:resnet18", "torchvision:mobilenet_v2")
CORES = (8, 16, 32, 64, 128, 256, 512)
QUICK_CORES = (16, 128)
WIDTHS = (64, 4)
"""Bytes that the bus carries a cycle of 1 ns."""
DAC_BITS = (1, 8)
"""An input of 8 bits takes eight MVMs of 1.4 us, or one."""
BITS = BitWidths(8, 8)
TITLE = """convolutions at 8/8, each spread over cores of one crossbar of 256x256 on a bus of 1 GHz
(published for 64 B: over 99 % of the limit, under 4 % in transmission, up to 512 cores; for 4 B: over 90 % up to 16)"""


def report(console: Console, quick: bool) -> None:
    table = Table(title=TITLE)
    for title in ("network", "a window", "bus", "cores", "layers that fit", "crossbars at work", "faster than one core",
                  "of the limit", "worst layer", "waiting for the bus", "bus held"):  # fmt: skip
        table.add_column(title, justify="left" if title == "network" else "right")
    for name in NETWORKS[:1] if quick else NETWORKS:
        network = load_network(name)
        for dac_bits in DAC_BITS:
            hardware = make_hardware(dac_bits)
            graphs = list_convolutions(network, hardware)
            for width in WIDTHS:
                for cores in QUICK_CORES if quick else CORES:
                    table.add_row(*make_row(name, graphs, hardware, cores, width))
                table.add_section()
    console.print(table)


def make_row(name: str, graphs: list[WorkGraph], hardware: Accelerator, cores: int, width: int) -> list[str]:
    known: dict[tuple[object, ...], Spread | None] = {}
    for graph in graphs:
        if shape_of(graph) not in known:
            known[shape_of(graph)] = spread(graph, hardware, cores, width)
    spreads = [one for graph in graphs if (one := known[shape_of(graph)])]
    total = sum(one.total_ps for one in spreads)
    return [
        name.split(":")[-1],
        f"{graphs[0].layers[1].window_ps / 1e6:.1f} us",
        f"{width} B",
        str(cores),
        f"{len(spreads)} of {len(graphs)}",
        f"{sum(one.used * one.total_ps for one in spreads) / total:.1f}",
        f"{sum(one.alone_ps for one in spreads) / total:.1f}x",
        f"{sum(one.limit_ps for one in spreads) / total:.1%}",
        f"{min(one.limit_ps / one.total_ps for one in spreads):.1%}",
        f"{sum(one.waiting * one.total_ps for one in spreads) / total:.1%}",
        f"{sum(one.bus * one.total_ps for one in spreads) / total:.1%}",
    ]


def shape_of(graph: WorkGraph) -> tuple[object, ...]:
    """Return what a simulation depends on."""
    layer = graph.layers[1]
    arrays = [array for need in (*layer.needs, *graph.layers[2].needs) for array in (need.windows, need.bytes)]
    data = (array.tobytes() for array in arrays if array is not None)
    return (layer.crossbars, layer.windows, layer.window_ps, layer.sum_bytes, layer.tile_sum_bytes, *data)


@dataclass(frozen=True)
class Spread:
    """What one layer does on some cores.

    Attributes:
        used: cores that hold a copy or a part of one.
        total_ps, limit_ps: time of the layer, and of the copy with most windows alone.
        alone_ps: time of all MVMs one after the other.
        waiting: share of the time of its cores in which they wait for the bus or what it brings.
        bus: share of the time in which the bus is held.
    """

    used: int
    total_ps: int
    limit_ps: int
    alone_ps: int
    waiting: float
    bus: float


def make_hardware(dac_bits: int) -> Accelerator:
    """Return the crossbars of clsa-256 with some DACs; groups of depthwise convolutions share crossbars."""
    content = load_accelerator("clsa-256").to_json()
    content["converters"]["dac_bits"] = dac_bits
    content["mapping"]["allowed"]["groups_per_tile"] = 65536
    content["sources"]["converters.dac_bits"] = content["sources"]["mapping.allowed"] = "benchmarks/multicore.py"
    return accelerator_from_json(content, where="clsa-256, changed")


def put_on_bus(hardware: Accelerator, cores: int, width: int, inputs: int, outputs: int) -> Accelerator:
    """Return it with so many cores of one crossbar on a bus of `width` bytes a cycle of 1 ns, and with buffers."""
    content = hardware.to_json()
    content["chip"] = {"crossbars": cores, "cores": cores}
    content["interconnect"] = {"kind": "bus", "bytes_per_cycle": width, "cycle_ns": 1, "hop_latency_cycles": 0}
    content["buffers"] = {"input_bytes": inputs, "output_bytes": outputs}
    content["sources"] = {}
    return accelerator_from_json(content, where="bus")


def list_convolutions(network: Network, hardware: Accelerator) -> list[WorkGraph]:
    """Return for each convolution a graph of the memory, the layer and where its outputs go."""
    layers = [layer for layer in derive_layer_table(network) if layer.kind == "conv"]
    policy = Policy.uniform((layer.name for layer in layers), BITS)
    options = list_network_options(layers, policy, hardware, MappingModel.BEST)
    graph = build_work_graph(network, {name: found[0] for name, found in options.items()}, hardware)
    nodes = {node.name: node for node in network.mvm_nodes}
    return [_isolate(network, nodes[work.name], work) for work in graph.layers]


def _isolate(network: Network, node: Node, work: LayerWork) -> WorkGraph:
    """Return the layer between a memory that sends pixels and one that takes outputs, neither of which takes time."""
    (_, channels, *sizes), (_, outputs, *counts) = network.shapes[node.inputs[0]], network.shapes[node.output]
    pixels = sizes[0] * sizes[1]
    numbers = np.arange(1, pixels + 1, dtype=np.int32).reshape(1, 1, *sizes)
    read = slide_images(numbers, tuple(sizes), tuple(counts), node.attributes).reshape(-1).astype(np.int64)
    backwards = slide_images(pixels + 1 - numbers, tuple(sizes), tuple(counts), node.attributes).reshape(-1)
    first = pixels + 1 - backwards.astype(np.int64)
    forgotten = np.append(np.minimum.accumulate(first[:0:-1])[::-1] - 1, pixels)
    is_read = np.zeros(pixels, bool)
    strides, kernel = get_ints(node.attributes, "strides"), get_ints(node.attributes, "kernel")
    is_read.reshape(sizes)[
        tuple(slice(None, None, s if k < s else 1) for s, k in zip(strides, kernel, strict=True))
    ] = True
    memory = LayerWork("memory", work.mapping, 1, pixels, 0, ())
    layer = replace(work, needs=(Need("memory", read, forgotten, np.where(is_read, channels, 0)),))
    made = np.arange(1, work.windows + 1, dtype=np.int64)
    result = LayerWork(
        "result", work.mapping, 1, work.windows, 0, (Need(work.name, made, made, np.full_like(made, outputs)),)
    )
    return WorkGraph(work.name, (memory, layer, result))


def spread(graph: WorkGraph, hardware: Accelerator, cores: int, width: int) -> Spread | None:
    """Simulate a layer on some cores; None where one copy does not fit."""
    _, layer, result = graph.layers
    copies = min(cores // layer.crossbars, layer.windows)
    if not copies:
        return None
    need = layer.needs[0]
    sent = need.bytes
    assert need.forgotten is not None
    assert sent is not None
    totals = np.append(0, np.cumsum(sent))
    ahead = np.minimum(np.arange(layer.windows) + 2 * copies, layer.windows - 1)
    inputs = int((totals[need.windows[ahead]] - totals[np.append(0, need.forgotten[:-1])]).max())
    assert result.needs[0].bytes is not None
    made = int(result.needs[0].bytes.max())
    inputs, outputs = max(inputs, 2 * copies * made), 2 * max(layer.tile_sum_bytes, made)
    accelerator = put_on_bus(hardware, copies * layer.crossbars + 2, width, inputs, outputs)
    plan = place_copies(graph, {"memory": 1, layer.name: copies, "result": 1}, accelerator.chip)
    timing = simulate_chip(graph, plan, accelerator)
    lost = timing.layers[1].lost_ps
    waiting = sum(lost[cause] for cause in (Cause.INPUT, Cause.INTERCONNECT, Cause.BUFFER))
    return Spread(
        used=copies * layer.crossbars,
        total_ps=timing.total_ps,
        limit_ps=-(-layer.windows // copies) * layer.window_ps,
        alone_ps=layer.crossbars * layer.work_ps,
        waiting=waiting / (timing.total_ps * copies),
        bus=timing.interconnect_ps / timing.total_ps,
    )
