"""RMS normalizations in a network: files hold one as squares, a mean, a root and products; here it is one operation.

An integer-only digital unit computes x / sqrt(mean(x^2) + epsilon) * scale from the sum of squares, as one operation;
which rounds once; what lies between needs no grids. A quantizer within such a chain makes it several operations again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mho.arithmetic.attributes import get_float, get_ints
from mho.arithmetic.shapes import ShapeError, broadcast
from mho.network.graph import Network, Node


@dataclass(frozen=True)
class RmsNorm:
    """One normalization, x / sqrt(mean(x^2) + epsilon) * scale.

    Attributes:
        source: name of x.
        axis: the mean is over the axes from it on.
        epsilon: 0 or more.
        scale: name of a constant that broadcasts to the axes from `axis` on; "" for none.
        inner: names of the tensors between the source and the result.
        result: name of the result.
    """

    source: str
    axis: int
    epsilon: float
    scale: str
    inner: frozenset[str]
    result: str


def find_rms_norms(network: Network) -> tuple[RmsNorm, ...]:
    """Return the normalizations of which nothing but the result is read elsewhere."""
    search = _Search(network)
    found = (search.follow(node) for node in network.nodes if node.op == "reduce_mean")
    return tuple(one for one in found if one is not None)


class _Search:
    """What reads and makes each tensor of a network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._makers = {node.output: node for node in network.nodes}
        self._readers: dict[str, list[Node]] = {}
        for node in network.nodes:
            for name in set(node.inputs):
                self._readers.setdefault(name, []).append(node)
        self._outputs = {tensor.name for tensor in network.outputs}

    def follow(self, mean: Node) -> RmsNorm | None:
        """Return the normalization whose mean of squares a node computes; None where it is of none."""
        square, shape = self._makers.get(mean.inputs[0]), self._network.shapes[mean.inputs[0]]
        axes = sorted(get_ints(mean.attributes, "axes"))
        if square is None or not _is_square(square) or self._only_reader(square.output) is not mean:
            return None
        if axes != list(range(axes[0], len(shape))) or not mean.attributes["keepdims"]:
            return None
        source, inner, epsilon = square.inputs[0], [square.output, mean.output], 0.0
        node = self._only_reader(mean.output)
        if node is not None and node.op == "add" and (found := self._number(node)) is not None:
            epsilon = found
            inner.append(node.output)
            node = self._only_reader(node.output)
        product = self._divide(node, source, inner)
        if product is None or not (epsilon >= 0 and math.isfinite(epsilon)):
            return None
        scaled, scale = self._scaled(product, shape[axes[0] :])
        inner += [product.output] if scale else []
        return RmsNorm(source, axes[0], epsilon, scale, frozenset(inner), scaled.output)

    def _only_reader(self, name: str) -> Node | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def _number(self, node: Node) -> float | None:
        """Return the one number among the operands of a node."""
        constants = [self._network.constants[name] for name in node.inputs if name in self._network.constants]
        return float(constants[0].reshape(())) if len(constants) == 1 and constants[0].size == 1 else None

    def _divide(self, node: Node | None, source: str, inner: list[str]) -> Node | None:
        """Return the node that divides the source by the root of what `node` reads; what lies between goes to inner."""
        if node is None or (not _is_power(node, 0.5, "sqrt") and not _is_power(node, -0.5)):
            return None
        is_inverse = not _is_power(node, 0.5, "sqrt")
        inner.append(node.output)
        after = self._only_reader(node.output)
        if after is not None and not is_inverse and _is_power(after, -1.0, "reciprocal"):
            inner.append(after.output)
            after, is_inverse = self._only_reader(after.output), True
        if after is None or len(after.inputs) != 2:
            return None
        divides = after.op == "div" and not is_inverse and after.inputs == (source, inner[-1])
        multiplies = after.op == "mul" and is_inverse and set(after.inputs) == {source, inner[-1]}
        return after if divides or multiplies else None

    def _scaled(self, product: Node, normalized: tuple[int, ...]) -> tuple[Node, str]:
        """Return the node that multiplies with a scale, and the scale; the product itself where there is none."""
        node, constants = self._only_reader(product.output), self._network.constants
        if node is None or node.op != "mul":
            return product, ""
        held = [name for name in node.inputs if name in constants]
        try:
            fits = len(held) == 1 and broadcast(constants[held[0]].shape, normalized) == normalized
        except ShapeError:
            fits = False
        return (node, held[0]) if fits else (product, "")


def _is_power(node: Node, exponent: float, name: str = "") -> bool:
    return node.op == name or (node.op == "pow" and get_float(node.attributes, "exponent") == exponent)


def _is_square(node: Node) -> bool:
    return _is_power(node, 2.0) or (node.op == "mul" and node.inputs[0] == node.inputs[1])
