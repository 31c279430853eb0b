"""What follows for the tensors of a network from the records of its operations (`mho.arithmetic`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operation import RequiredWindows, Use
from mho.arithmetic.operations import OPERATIONS
from mho.errors import ScheduleError
from mho.network.graph import Network, Node


def required_windows(network: Network, node: Node, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    """Return how many windows of a producer each element of what a node makes requires.

    Args:
        network: of the node.
        node: its operation; an MVM is taken for a digital operation.
        operands: the same of its inputs; None for what does not depend on the producer, at least one is not None.

    Raises:
        ScheduleError: no such operation.
    """
    if node.op not in OPERATIONS:
        raise ScheduleError(
            f"nothing says which elements {node.op!r} reads", where=f"{network.name}: {node.name}",
            expected="an operation of mho.arithmetic",
        )  # fmt: skip
    return OPERATIONS[node.op].required_windows(_use(network, node), operands)


def non_negative_tensors(network: Network) -> frozenset[str]:
    """Return the names of the tensors (constants too) that cannot be negative, whatever the input. Inputs may be."""
    known = {name for name, value in network.constants.items() if _is_non_negative(value)}
    for node in network.nodes:
        operands = [name in known for name in node.inputs]
        if OPERATIONS[node.op].non_negative(_use(network, node), operands):
            known.add(node.output)
    return frozenset(known)


def keeps_samples_apart(network: Network) -> bool:
    """Whether the leading axis of 1 may be a batch in a file: nothing mixes, moves or counts along it."""
    if any(shape[:1] != (1,) for shape in network.shapes.values()):
        return False
    return all(OPERATIONS[node.op].keeps_samples(_use(network, node)) for node in network.nodes)


def _use(network: Network, node: Node) -> Use:
    constants = {i: network.constants[name] for i, name in enumerate(node.inputs) if name in network.constants}
    shapes = tuple(constants[i].shape if i in constants else network.shapes[name] for i, name in enumerate(node.inputs))
    return Use(node.inputs, shapes, constants, network.shapes[node.output], node.attributes)


def _is_non_negative(values: NDArray[np.generic]) -> bool:
    return values.dtype.kind in "fiu" and bool((values >= 0).all())  # type: ignore[operator]
