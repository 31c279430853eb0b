"""What the layers of one network need of each other, worked out once for each pair of windows, and kept.

`mho.scheduling.dependencies` derives a work graph in milliseconds. A search needs thousands of graphs that differ in
windows and widths alone: what a layer needs of another depends on nothing but the windows of the two, and bytes follow
from widths. A graph of a table is the one that `derive_work_graph` derives, but for the order of a layer's needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operation import RequiredWindows
from mho.network.graph import Network, Node
from mho.network.properties import required_windows
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.dependencies import WindowOrder
from mho.scheduling.work_graph import Integers, LayerWork, Need, WorkGraph

_MOST_BYTES = 512 << 20
"""Of arrays that a table keeps; beyond it starts over."""

Size = tuple[int, int]
"""Height and width of a window, in positions."""


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
    """Makes work graphs of one network, all of whose MVM layers are on the chip.

    Args:
        network: float or quantized.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes: dict[str, Node] = {node.name: node for node in network.mvm_nodes}
        self._order = {name: number for number, name in enumerate(self._nodes)}
        self._reached: dict[tuple[str, Size], dict[tuple[str, int], _Operand]] = {}
        self._owners: dict[tuple[str, int], NDArray[np.int32]] = {}
        self._links: dict[tuple[str, Size, str, Size], _Link] = {}
        self._producers: dict[str, tuple[str, ...]] = {}
        self._bytes = 0

    def graph(self, layers: Mapping[str, ChipLayer]) -> WorkGraph:
        """Return the work graph of the network; `layers`: every MVM layer by name, in execution order."""
        made = (self._make_layer(name, own, layers) for name, own in layers.items())
        return WorkGraph(self._network.name, tuple(made))

    def producers(self, name: str, layers: Mapping[str, ChipLayer]) -> tuple[str, ...]:
        """Return the layers that an operand of a layer depends on, in execution order."""
        if not self._producers:
            found: dict[str, list[str]] = {layer: [] for layer in self._nodes}
            for producer in self._nodes:
                for consumer in dict.fromkeys(layer for layer, _ in self._reach(producer, layers[producer])):
                    found[consumer].append(producer)
            self._producers = {layer: tuple(names) for layer, names in found.items()}
        return self._producers[name]

    def needs(self, name: str, producer: str, layers: Mapping[str, ChipLayer]) -> tuple[Integers | None, int]:
        """Return what a layer needs of a producer: windows for each of its own (None: nothing), and to be stored."""
        link = self._link(name, producer, layers)
        return (None if link.streamed is None else link.streamed[0]), link.stored

    def _make_layer(self, name: str, own: ChipLayer, layers: Mapping[str, ChipLayer]) -> LayerWork:
        needs, stored_needs, stored_bytes = [], [], []
        for producer in self.producers(name, layers):
            link = self._link(name, producer, layers)
            if link.streamed is not None:
                needs.append(link.need(producer, own.act_bits))
            if link.stored:
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
            found = (
                (self._order[producer] + 1, self._reach(producer, own).get(key)) for producer, own in layers.items()
            )
            places = [np.where(one.forward > 0, number, 0) for number, one in found if one is not None]
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
            elif any(name in known for name in node.inputs):
                ways = [[known[name][way] if name in known else None for name in node.inputs] for way in range(2)]
                forward, backward = (required_windows(self._network, node, operands) for operands in ways)
                known[node.output] = forward, backward
        return found
