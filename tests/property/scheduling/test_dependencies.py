"""The work graph against taint: what a window of a layer reads is not a number exactly where a window before made it.

The oracle runs the digital operations themselves: one sample for each window of a producer, in which that window's
outputs are not numbers. The windows of both layers are listed position by position and tap by tap.
"""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import torch
from accelerators import accelerators
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_digital import random_digital_network
from random_networks import choosers, networks, random_inputs

from mho.arithmetic.operations import OPERATIONS
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.windows import PositionGrid
from mho.network.layers import derive_layer
from mho.policy import BitWidths
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.dependencies import DependencyTable, build_work_graph
from mho.scheduling.digital_units import divide_units
from mho.scheduling.options import chip_window, list_chip_options

RELAXED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def map_some_layers(network, accelerator, chooser):
    """Give most layers one of their options; the others are left to the digital unit."""
    mappings = {}
    for node in network.mvm_nodes:
        if not chooser.integer(0, 5):
            continue
        grid = node.quantization
        bits = BitWidths(grid.weight.bits, grid.input.bits)
        layer = derive_layer(network, node)
        model = chooser.choice((MappingModel.BEST, MappingModel.BEST, MappingModel.PAPER))
        mappings[node.name] = chooser.choice(list_chip_options(layer, bits, accelerator, model))
    return mappings


def list_windows(network, node, mapping):
    """Return the windows in order: each a list of positions (index tuples into the output without its channels)."""
    shape = network.shapes[node.output]
    if node.op == "conv":
        positions = [(image, *where) for image in range(shape[0]) for where in product(*map(range, shape[2:]))]
    elif node.op == "linear":
        positions = list(product(*map(range, shape[:-1])))
    else:
        positions = [(row,) for row in range(shape[-2])]
    grid, window = PositionGrid.of(mapping.layer), chip_window(mapping)
    per_image = len(positions) // grid.batch
    windows = {}
    for number, position in enumerate(positions):
        image, place = divmod(number, per_image)
        row, col = divmod(place, grid.width.positions)
        windows.setdefault((image, row // window.height.count, col // window.width.count), []).append(position)
    return [windows[key] for key in sorted(windows)]


def outputs_at(node, position):
    """Return the index of all outputs at a position."""
    if node.op == "conv":
        return (position[0], slice(None), *position[1:])
    return position if node.op == "linear" else (..., position[0], slice(None))


def read_at(network, node, position, tainted):
    """Return bool [samples]: whether a position of a layer reads a tainted element of its streamed operand."""
    if node.op == "linear":
        return tainted[(slice(None), *position)].any(axis=-1)
    if node.op == "matmul":
        return tainted[..., position[0], :].reshape(len(tainted), -1).any(axis=1)
    height, width = network.shapes[node.inputs[0]][2:]
    kernel, strides, dilations, pads = (node.attributes[key] for key in ("kernel", "strides", "dilations", "pads"))
    found = np.zeros(len(tainted), bool)
    for tap in product(range(kernel[0]), range(kernel[1])):
        y, x = (
            position[axis + 1] * strides[axis] + tap[axis] * dilations[axis] - pads[axis] for axis in range(2)
        )  # fmt: skip
        if 0 <= y < height and 0 <= x < width:
            found |= tainted[:, position[0], :, y, x].any(axis=1)
    return found


def run_tainted(network, mappings, producer, windows):
    """Return every tensor as bool [windows of the producer, *shape]: what depends on it through digital operations."""
    samples = len(windows)
    values = {name: torch.from_numpy(array) for name, array in random_inputs(network, samples, seed=3).items()}
    held = {n.inputs[-1] for n in network.nodes if n.op in ("gather", "where")}  # indices and masks
    values |= {
        name: torch.from_numpy(np.array(array, array.dtype if name in held else np.float32))
        for name, array in network.constants.items()
    }
    generator = np.random.default_rng(5)
    for node in network.nodes:
        if node.name in mappings:
            made = generator.standard_normal((samples, *network.shapes[node.output])).astype(np.float32)
            if node.name == producer:
                for sample, positions in enumerate(windows):
                    for position in positions:
                        made[sample][outputs_at(node, position)] = np.nan
            values[node.output] = torch.from_numpy(made)
        else:
            values[node.output] = OPERATIONS[node.op].run([values[name] for name in node.inputs], node.attributes)
    return {name: np.isnan(value.numpy()) for name, value in values.items() if name not in network.constants}


def check_what_may_be_forgotten(layer, producer, reads):
    """Compare what is forgotten after each window against bool [windows, windows of the producer]."""
    (need,) = (need for need in layer.needs if need.producer == producer)
    for window, forgotten in enumerate(need.forgotten.tolist()):
        read_later = reads[window + 1 :].any(axis=0)
        assert not read_later[:forgotten].any()
        assert forgotten == reads.shape[1] or read_later[forgotten]


def check_against_taint(network, accelerator, chooser):
    mappings = map_some_layers(network, accelerator, chooser)
    graph = build_work_graph(network, mappings, accelerator)
    assert [layer.name for layer in graph.layers] == [node.name for node in network.mvm_nodes if node.name in mappings]
    nodes = {node.name: node for node in network.mvm_nodes}
    windows = {name: list_windows(network, nodes[name], mapping) for name, mapping in mappings.items()}
    clean = run_tainted(network, mappings, None, [[]])
    assume(not any(tensor.any() for tensor in clean.values()))
    for layer in graph.layers:
        assert layer.windows == len(windows[layer.name])
    for producer in mappings:
        tainted = run_tainted(network, mappings, producer, windows[producer])
        for layer in graph.layers:
            node = nodes[layer.name]
            needs = {need.producer: need.windows for need in layer.needs}
            reads = [
                np.any([read_at(network, node, position, tainted[node.inputs[0]]) for position in positions], axis=0)
                for positions in windows[layer.name]
            ]
            expected = [int(np.flatnonzero(read).max(initial=-1)) + 1 for read in reads]
            assert needs.get(producer, np.zeros(len(reads), int)).tolist() == expected, (producer, layer.name)
            assert (producer in needs) == any(expected)
            if producer in needs:
                check_what_may_be_forgotten(layer, producer, np.array(reads))
            stored = 0
            if node.op == "matmul":
                marked = tainted[node.inputs[1]].reshape(len(windows[producer]), -1).any(axis=1)
                stored = int(np.flatnonzero(marked).max(initial=-1)) + 1
            assert dict(layer.stored_needs).get(producer, 0) == stored


@settings(max_examples=examples(100), **RELAXED)
@given(choosers(), accelerators())
def test_needs_are_exact_through_digital_operations(chooser, accelerator):
    check_against_taint(random_digital_network(chooser), accelerator, chooser)


@settings(max_examples=examples(40), **RELAXED)
@given(networks(), accelerators(), choosers())
def test_needs_are_exact_in_networks_with_attention_and_shortcuts(network, accelerator, chooser):
    check_against_taint(network, accelerator, chooser)


@settings(max_examples=examples(60), **RELAXED)
@given(network=st.none() | networks(), accelerator=accelerators(), chooser=choosers())
def test_a_table_that_made_another_graph_makes_the_same_one_as_a_new_table(network, accelerator, chooser):
    network = network or random_digital_network(chooser)
    first = map_some_layers(network, accelerator, chooser)
    assume(first)
    options = {name: (mapping, *list_options(network, name, mapping, accelerator)) for name, mapping in first.items()}
    second = {name: chooser.choice(listed) for name, listed in options.items()}
    table = DependencyTable(network, first)
    for mappings in (first, second):
        made = table.graph({name: ChipLayer.of(mapping, accelerator) for name, mapping in mappings.items()})
    derived = build_work_graph(network, second, accelerator)
    shared = divide_units(made, accelerator.chip.cores)
    assert list(map(plain, shared.layers)) == list(map(plain, derived.layers))


def list_options(network, name, mapping, accelerator):
    layer = derive_layer(network, next(node for node in network.nodes if node.name == name))
    return list_chip_options(layer, mapping.bits, accelerator, MappingModel.BEST)


def plain(work):
    """Return all that a layer's work tells, with lists for arrays."""
    needs = [
        (
            need.producer,
            *(None if array is None else array.tolist() for array in (need.windows, need.forgotten, need.bytes)),
        )
        for need in work.needs
    ]
    rest = {
        field.name: getattr(work, field.name) for field in fields(work) if field.name not in ("needs", "stored_bytes")
    }
    return rest, needs, [array.tolist() for array in work.stored_bytes]
