"""From a network to its work graph: which windows of earlier layers each window of a layer waits for, exactly.

The outputs of every layer are numbered by the window that makes them, the numbers are followed through the digital
operations behind it (`mho.network.properties`), and a window of a later layer needs the largest number among the
elements that it reads. That is exact to single positions, for layers that work through their windows in order.

The same is done with the windows numbered from the last: the largest such number is that of the first window that is
read. What no later window reads may leave the buffers.

What a layer needs of another depends on nothing but the windows of the two, and bytes follow from widths: searches,
which make thousands of graphs of one network, keep a `DependencyTable`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operation import RequiredWindows
from mho.errors import ScheduleError, suggest
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import LayerMapping
from mho.network.graph import Network, Node
from mho.network.layers import derive_layer
from mho.network.properties import required_windows
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.digital_units import divide_units
from mho.scheduling.window_order import WindowOrder
from mho.scheduling.work_graph import Integers, LayerWork, Need, WorkGraph

_MOST_BYTES = 512 << 20
"""Of arrays that a table keeps; beyond it starts over."""

Size = tuple[int, int]
"""Height and width of a window, in positions."""


def build_work_graph(network: Network, mappings: Mapping[str, LayerMapping], accelerator: Accelerator) -> WorkGraph:
    """Derive the work graph of a network.

    Args:
        network: float or quantized.
        mappings: of the layers that run on the chip, by name; such as `list_chip_options` gives. MVM layers that are
            not named are taken for digital operations that take no time.
        accelerator: what the mappings are made for.

    Raises:
        ScheduleError: a name is unknown, or a mapping is made for another layer or is not one of a chip.
    """
    nodes = {node.name: node for node in network.mvm_nodes}
    for name in mappings:
        if name not in nodes:
            raise ScheduleError("no such MVM layer", where=f"{network.name}: {name}", hint=suggest(name, nodes))
        _check_layer(network, nodes[name], mappings[name])
    layers = {name: ChipLayer.of(mapping, accelerator) for name, mapping in mappings.items()}
    return divide_units(DependencyTable(network, layers).graph(layers), accelerator.chip.cores)


def _check_layer(network: Network, node: Node, mapping: LayerMapping) -> None:
    own, given = (replace(layer, name="", integers=None) for layer in (derive_layer(network, node), mapping.layer))
    if own != given:
        raise ScheduleError(
            f"the mapping is for a matrix of {given.outputs} x {given.inputs} at {given.positions} positions",
            where=f"layer {node.name}",
            expected=f"{own.outputs} x {own.inputs} at {own.positions}, of the same shape",
        )


@dataclass(frozen=True, eq=False)
class _Operand:
    """What one operand of a layer depends on, of one producer with windows of one size.

    Attributes:
        forward, backward: required windows of its elements, windows numbered from the first and from the last.
        windows: of the producer.
    """

    forward: RequiredWindows
    backward: RequiredWindows
    windows: int


@dataclass(frozen=True, eq=False)
class _Link:
    """What a layer needs of a producer, both with windows of one size; None where the operand does not depend on it.

    Attributes:
        streamed: int64 [windows of the layer], windows of the producer, and those that it lets go.
        completed: int64 [windows of the producer], elements of the streamed operand that each completes.
        stored: windows of the producer that the stored operand needs; 0 for none.
        stored_completed: as `completed`, of the stored operand.
    """

    streamed: tuple[Integers, Integers] | None
    completed: Integers | None
    stored: int
    stored_completed: Integers | None
    _needs: dict[int, Need] = field(default_factory=dict)

    def need(self, producer: str, bits: int) -> Need:
        """Return what is streamed, in codes of so many bits; always the same one."""
        assert self.streamed is not None, "something is streamed"
        assert self.completed is not None, "what is streamed is counted"
        if bits not in self._needs:
            self._needs[bits] = Need(producer, *self.streamed, -(-self.completed * bits // 8))
        return self._needs[bits]

    def count_stored_bytes(self, bits: int) -> Integers:
        """Return int64 [windows of the producer], bytes of the stored operand that each completes."""
        assert self.stored_completed is not None, "something is stored"
        return -(-self.stored_completed * bits // 8)

    @property
    def nbytes(self) -> int:
        """Of its arrays, without those of `need`."""
        arrays = (*(self.streamed or ()), self.completed, self.stored_completed)
        return sum(array.nbytes for array in arrays if array is not None)


class DependencyTable:
    """Makes work graphs of one network.

    Args:
        network: float or quantized.
        names: of the MVM layers on the chip; all others are taken for digital operations that take no time.
    """

    def __init__(self, network: Network, names: Collection[str]) -> None:
        self._network = network
        self._nodes: dict[str, Node] = {node.name: node for node in network.mvm_nodes if node.name in names}
        self._order = {name: number for number, name in enumerate(self._nodes)}
        self._producers = _list_producers(network, self._nodes)
        self._reached: dict[tuple[str, Size], dict[tuple[str, int], _Operand]] = {}
        self._owners: dict[tuple[str, int], NDArray[np.int32]] = {}
        self._links: dict[tuple[str, Size, str, Size], _Link] = {}
        self._bytes = 0

    def graph(self, layers: Mapping[str, ChipLayer], *, in_execution_order: bool = False) -> WorkGraph:
        """Return the work graph of the network, in which digital layers have a unit to themselves.

        Args:
            layers: every MVM layer on the chip by name.
            in_execution_order: of producers are the needs of a layer, else they are in the order in which operations
                join them; it decides between critical paths of equal length.
        """
        made = (self._make_layer(name, layers, in_execution_order) for name in self._nodes)
        return WorkGraph(self._network.name, tuple(made))

    def _make_layer(self, name: str, layers: Mapping[str, ChipLayer], in_execution_order: bool) -> LayerWork:
        own, needs, stored_needs, stored_bytes = layers[name], [], [], []
        streamed, stored = self._producers[name]
        if in_execution_order:
            streamed, stored = (
                sorted(streamed, key=self._order.__getitem__),
                sorted(stored, key=self._order.__getitem__),
            )
        for producer in streamed:
            if (link := self._link(name, producer, layers)).streamed is not None:
                needs.append(link.need(producer, own.act_bits))
        for producer in stored:
            if (link := self._link(name, producer, layers)).stored:
                stored_needs.append((producer, link.stored))
                stored_bytes.append(link.count_stored_bytes(own.stored_bits))
        return own.work(name, needs, stored_needs, stored_bytes)

    def _link(self, name: str, producer: str, layers: Mapping[str, ChipLayer]) -> _Link:
        key = (name, layers[name].window, producer, layers[producer].window)
        if key not in self._links:
            if self._bytes > _MOST_BYTES:
                self._links.clear()
                self._reached.clear()
                self._bytes = 0
            self._links[key] = link = self._derive_link(name, producer, layers)
            self._bytes += link.nbytes
        return self._links[key]

    def _derive_link(self, name: str, producer: str, layers: Mapping[str, ChipLayer]) -> _Link:
        node, reached = self._nodes[name], self._reach(producer, layers[producer])
        order = WindowOrder(self._network, node, layers[name])
        streamed, stored = reached.get((name, 0)), reached.get((name, 1))
        pair = completed = stored_completed = None
        count = 0
        if streamed is not None:
            needed = order.needs(streamed.forward)
            if needed.any():
                first_read = streamed.windows + 1 - order.needs(streamed.backward)
                later = np.minimum.accumulate(first_read[:0:-1])[::-1]
                pair = needed, np.append(later, streamed.windows + 1) - 1
                completed = self._count_completed(node, 0, producer, streamed, order.list_read(), layers)
        if stored is not None and (count := int(stored.forward.max())):
            stored_completed = self._count_completed(node, 1, producer, stored, np.array(True), layers)
        return _Link(pair, completed, count, stored_completed)

    def _count_completed(
        self,
        node: Node,
        operand: int,
        producer: str,
        reached: _Operand,
        read: NDArray[np.bool_],
        layers: Mapping[str, ChipLayer],
    ) -> Integers:
        """Count the elements in `read` that each window of a producer completes: those of no later producer."""
        owners = self._find_owners(node.name, operand, layers)
        number, owner, read = np.broadcast_arrays(reached.forward, owners, read)
        counted = (owner == self._order[producer] + 1) & read
        completed = np.bincount(number[counted], minlength=reached.windows + 1)[1:]
        return completed * (math.prod(self._network.shapes[node.inputs[operand]]) // number.size)

    def _find_owners(self, name: str, operand: int, layers: Mapping[str, ChipLayer]) -> NDArray[np.int32]:
        """Return for each element of an operand the last layer, from 1 on, that it depends on, whatever its windows."""
        key = (name, operand)
        if key not in self._owners:
            places = [
                np.where(self._reach(producer, layers[producer])[key].forward > 0, self._order[producer] + 1, 0)
                for producer in self._producers[name][operand]
            ]
            self._owners[key] = reduce(np.maximum, places).astype(np.int32)
        return self._owners[key]

    def _reach(self, producer: str, own: ChipLayer) -> dict[tuple[str, int], _Operand]:
        """Return the operands (layer, 0 streamed or 1 stored) that depend on a producer."""
        key = (producer, own.window)
        if key not in self._reached:
            self._reached[key] = found = self._follow(producer, own)
            self._bytes += sum(2 * operand.forward.nbytes for operand in found.values())
        return self._reached[key]

    def _follow(self, producer: str, own: ChipLayer) -> dict[tuple[str, int], _Operand]:
        """Number what a layer gives by its windows, and follow the numbers to the layers that read it."""
        source = self._nodes[producer]
        numbers = WindowOrder(self._network, source, own).number_outputs()
        windows = int(numbers.max())
        known = {source.output: (numbers, windows + 1 - numbers)}
        found: dict[tuple[str, int], _Operand] = {}
        for node in self._network.nodes:
            if node.name in self._nodes:
                for operand, name in enumerate(node.inputs[: 2 if node.op == "matmul" else 1]):
                    if name in known:
                        found[node.name, operand] = _Operand(*known[name], windows)
            elif not known.keys().isdisjoint(node.inputs):
                ways = [[known[name][way] if name in known else None for name in node.inputs] for way in range(2)]
                forward, backward = (required_windows(self._network, node, operands) for operands in ways)
                known[node.output] = forward, backward
        return found


def _list_producers(network: Network, on_chip: Collection[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return on which layers the streamed and the stored operand of each layer depend, as operations join them."""
    known: dict[str, list[str]] = {}
    found = {}
    for node in network.nodes:
        operands = [known.get(name, []) for name in node.inputs]
        if node.name in on_chip:
            found[node.name] = operands[0], operands[1] if node.op == "matmul" else []
            known[node.output] = [node.name]
        else:
            known[node.output] = list(dict.fromkeys(producer for operand in operands for producer in operand))
    return found
