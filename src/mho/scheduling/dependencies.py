"""From a network to its work graph: which windows of earlier layers each window of a layer waits for, exactly.

The outputs of every layer are numbered by the window that makes them, the numbers are followed through the digital
operations behind it (`mho.network.properties`), and a window of a later layer needs the largest number among the
elements that it reads. That is exact to single positions, for layers that work through their windows in order.

The same is done with the windows numbered from the last: the largest such number is that of the first window that is
read. What no later window reads may leave the buffers.

Layers that no mapping is given for are taken for digital operations that take no time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_ints
from mho.arithmetic.operation import RequiredWindows
from mho.arithmetic.required_windows import largest, slide_images
from mho.errors import ScheduleError, suggest
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping
from mho.mapping.windows import Axis, PositionGrid
from mho.network.graph import Network, Node
from mho.network.layers import derive_layer
from mho.network.properties import required_windows
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.work_graph import Integers, LayerWork, Need, WorkGraph

_Numbering = tuple[str, bool]
"""A producer, and whether its windows are numbered from the last."""

_Known = dict[_Numbering, RequiredWindows]
"""What is known of a tensor."""


def build_work_graph(
    network: Network,
    mappings: Mapping[str, LayerMapping],
    accelerator: Accelerator,
    *,
    base: WorkGraph | None = None,
) -> WorkGraph:
    """Derive the work graph of a network.

    Args:
        network: float or quantized.
        mappings: of the layers that run in crossbars, by name; such as `list_chip_options` gives. MVM layers that are
            not named run elsewhere, in no time, and pass on what they depend on.
        accelerator: what the mappings are made for.
        base: a graph of the same network and accelerator: layers that are mapped as there, and so are those that they
            need, are taken from it. The result is the same, sooner.

    Raises:
        ScheduleError: a name is unknown, or a mapping is made for another layer or is not one of a chip.
    """
    nodes = {node.name: node for node in network.mvm_nodes}
    for name in mappings:
        if name not in nodes:
            raise ScheduleError("no such MVM layer", where=f"{network.name}: {name}", hint=suggest(name, nodes))
        _check_layer(network, nodes[name], mappings[name])
    layers = {name: ChipLayer.of(mapping, accelerator) for name, mapping in mappings.items()}
    return derive_work_graph(network, layers, base=base)


def derive_work_graph(
    network: Network, chip_layers: Mapping[str, ChipLayer], *, base: WorkGraph | None = None
) -> WorkGraph:
    """Derive the work graph of a network from what is known of its layers on the chip, by name.

    Arguments are those of `build_work_graph`; layers are taken from `base` where both have the same mapping.
    """
    graph = _GraphBuilder(network)
    kept, followed = _list_kept(base, chip_layers)
    last_uses = {name: number for number, node in enumerate(network.nodes) for name in node.inputs}
    layers = []
    for number, node in enumerate(network.nodes):
        if node.name in chip_layers:
            own = chip_layers[node.name]
            layers.append(kept.get(node.name) or graph.make_layer(node, own))
            if node.name in followed:
                graph.number_outputs(node, own)
        else:
            graph.add_digital(node)
        graph.forget(name for name in (*node.inputs, node.output) if last_uses.get(name, -1) <= number)
    return WorkGraph(network.name, tuple(layers))


def _list_kept(base: WorkGraph | None, layers: Mapping[str, ChipLayer]) -> tuple[dict[str, LayerWork], set[str]]:
    """Return the layers of `base` that stay as they are, and the names of those whose outputs must be followed."""
    if base is None or {layer.name for layer in base.layers} != set(layers):
        return {}, set(layers)
    alike = {
        layer.name for layer in base.layers if layer.known_mapping and layer.known_mapping == layers[layer.name].mapping
    }
    producers = {layer.name: {need.producer for need in layer.needs} | {name for name, _ in layer.stored_needs}
                 for layer in base.layers}  # fmt: skip
    kept = {layer.name: layer for layer in base.layers if producers[layer.name] | {layer.name} <= alike}
    return kept, {producer for name in layers if name not in kept for producer in producers[name]}


class _GraphBuilder:
    """Walks over the nodes and holds the required windows of the tensors that are still to be read."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[str, _Known] = {}
        self._windows: dict[str, int] = {}

    def add_digital(self, node: Node) -> None:
        """Follow every producer through a digital operation."""
        operands = [self._known.get(name, {}) for name in node.inputs]
        numberings = dict.fromkeys(numbering for operand in operands for numbering in operand)
        found = {
            numbering: required_windows(self._network, node, [operand.get(numbering) for operand in operands])
            for numbering in numberings
        }
        if found:
            self._known[node.output] = found

    def number_outputs(self, node: Node, own: ChipLayer) -> None:
        """Number what a layer gives by its windows."""
        numbers, windows = WindowOrder(self._network, node, own).number_outputs(), own.cost.windows
        self._known[node.output] = {(node.name, False): numbers, (node.name, True): windows + 1 - numbers}
        self._windows[node.name] = windows

    def make_layer(self, node: Node, own: ChipLayer) -> LayerWork:
        """Return the work of a layer."""
        streamed, *others = (self._known.get(name, {}) for name in node.inputs[:2])
        stored = others[0] if node.op == "matmul" else {}
        order = WindowOrder(self._network, node, own)
        codes = self._count_bytes(node.inputs[0], streamed, order.list_read(), own.act_bits)
        operand = self._count_bytes(node.inputs[1], stored, np.array(True), own.stored_bits)
        producers = [producer for producer, is_reversed in streamed if not is_reversed]
        needs = (self._need(order, streamed, producer, codes[producer]) for producer in producers)
        stored_needs = tuple(
            (producer, int(found.max()))
            for (producer, is_reversed), found in stored.items()
            if found.any() and not is_reversed
        )
        return own.work(
            node.name,
            (need for need in needs if need.windows.any()),
            stored_needs,
            (operand[producer] for producer, _ in stored_needs),
        )

    def _count_bytes(self, tensor: str, known: _Known, read: NDArray[np.bool_], bits: int) -> dict[str, Integers]:
        """Return for each producer int64 [its windows]: bytes of the elements in `read` that each window completes.

        An element counts for the last producer, in execution order, that it depends on.
        """
        producers = [producer for producer in self._windows if (producer, False) in known]
        if not producers:
            return {}
        numbers = np.broadcast_arrays(*(known[producer, False] for producer in producers), read)[:-1]
        owner = reduce(np.maximum, (np.where(number > 0, i, 0) for i, number in enumerate(numbers, 1)))
        repeat = math.prod(self._network.shapes[tensor]) // owner.size
        counted: dict[str, Integers] = {}
        for i, (producer, number) in enumerate(zip(producers, numbers, strict=True), 1):
            completed = np.bincount(number[(owner == i) & read], minlength=self._windows[producer] + 1)[1:]
            counted[producer] = -(-completed * repeat * bits // 8)
        return counted

    def _need(self, order: WindowOrder, known: _Known, producer: str, codes: Integers) -> Need:
        total = self._windows[producer]
        first_read = total + 1 - order.needs(known[producer, True])  # total + 1: none is read
        later = np.minimum.accumulate(first_read[:0:-1])[::-1]
        return Need(producer, order.needs(known[producer, False]), np.append(later, total + 1) - 1, codes)

    def forget(self, tensors: Iterable[str]) -> None:
        """Let go of tensors that nothing reads any more."""
        for name in tensors:
            self._known.pop(name, None)


class WindowOrder:
    """The windows of one layer in raster order: images, then rows of windows, then columns."""

    def __init__(self, network: Network, node: Node, own: ChipLayer) -> None:
        self._node = node
        self._in_shape, self._out_shape = network.shapes.get(node.inputs[0], ()), network.shapes[node.output]
        self._grid, self._size = PositionGrid.of(own.layer), own.window
        self._counts = tuple(-(-axis.positions // size) for axis, size in zip(self._axes, self._size, strict=True))

    def number_outputs(self) -> RequiredWindows:
        """Return for each output the number of the window that makes it, from 1 on."""
        grid, (height, width) = self._grid, self._counts
        rows, cols = (np.arange(axis.positions) // size for axis, size in zip(self._axes, self._size, strict=True))
        images = np.arange(grid.batch)[:, None, None] * (height * width)
        numbers = (images + rows[:, None] * width + cols + 1).astype(np.int32)
        return numbers.reshape(self._position_shape)

    def needs(self, required: RequiredWindows) -> Integers:
        """Return the largest number that each window reads, int64 [windows], from those of the streamed operand."""
        positions = np.broadcast_to(self._read(required), self._position_shape)
        result = positions.reshape(self._grid.batch, *(axis.positions for axis in self._axes))
        for axis, size in enumerate(self._size, start=1):
            result = np.maximum.reduceat(result, np.arange(0, result.shape[axis], size), axis=axis)
        return result.reshape(-1).astype(np.int64)

    def list_read(self) -> NDArray[np.bool_]:
        """Return which elements of the streamed operand are read at all; size 1 along axes where that is the same."""
        if self._node.op != "conv":
            return np.array(True)
        geometry = [get_ints(self._node.attributes, key) for key in ("kernel", "strides", "dilations", "pads")]
        rows, cols = (
            _list_read(self._in_shape[axis + 2], self._out_shape[axis + 2], *(values[axis] for values in geometry))
            for axis in range(2)
        )
        return np.logical_and.outer(rows, cols)

    @property
    def _axes(self) -> tuple[Axis, Axis]:
        return self._grid.height, self._grid.width

    @property
    def _position_shape(self) -> tuple[int, ...]:
        """The shape of the output with size 1 where all elements belong to one position."""
        shape = self._out_shape
        if self._node.op == "conv":
            return (shape[0], 1, *shape[2:])
        if self._node.op == "linear":
            return (*shape[:-1], 1)
        return (*(1,) * (len(shape) - 2), shape[-2], 1)

    def _read(self, required: RequiredWindows) -> RequiredWindows:
        """Return the largest number that each position reads: all groups and heads work at the same time."""
        if self._node.op == "conv":
            return slide_images(largest(required, 1), self._in_shape[2:], self._out_shape[2:], self._node.attributes)
        if self._node.op == "linear":
            return largest(required, -1)
        return largest(required, (*range(required.ndim - 2), -1))


def _list_read(size: int, count: int, kernel: int, stride: int, dilation: int, pad: int) -> NDArray[np.bool_]:
    """Return bool [size]: which pixels of one axis `count` positions read."""
    pixels = np.add.outer(np.arange(count) * stride, np.arange(kernel) * dilation) - pad
    return np.isin(np.arange(size), pixels)


def _check_layer(network: Network, node: Node, mapping: LayerMapping) -> None:
    own, given = (replace(layer, name="", integers=None) for layer in (derive_layer(network, node), mapping.layer))
    if own != given:
        raise ScheduleError(
            f"the mapping is for a matrix of {given.outputs} x {given.inputs} at {given.positions} positions",
            where=f"layer {node.name}",
            expected=f"{own.outputs} x {own.inputs} at {own.positions}, of the same shape",
        )
