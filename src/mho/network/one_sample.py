"""A batch that a file or an example input fixes is taken off: a network is that of one sample.

The leading axis of the inputs is a batch where every output depends, index by index, on the inputs of that index alone.
Where it is not (tokens that attend to each other, or have constants of their own), it is part of the sample, and the
network stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Shape
from mho.arithmetic.operation import RequiredWindows
from mho.arithmetic.operations import OPERATIONS, infer_shape
from mho.arithmetic.shapes import ShapeError
from mho.errors import UnsupportedOperationError
from mho.network.graph import Attribute, Network, Node
from mho.network.properties import required_windows


class _IndicesDifferError(Exception):
    """Indices of the leading axis are not computed alike."""


def take_one_sample(network: Network) -> Network:
    """Return the network of one sample where it is one of a batch; otherwise the network itself.

    Raises:
        UnsupportedOperationError: its inputs are a batch, but its operations are fixed to the size of it.
    """
    sizes = {tensor.shape[:1] for tensor in network.inputs}
    batch = sizes.pop()[0] if len(sizes) == 1 and sizes != {()} else 1
    numbers = _number_samples(network, batch) if batch > 1 else None
    if numbers is None:
        return network
    try:
        return _rewrite(network, batch, numbers)
    except _IndicesDifferError:
        return network
    except ShapeError as reason:
        raise UnsupportedOperationError(
            f"is fixed to a batch of {batch}: {reason}",
            where=network.name,
            expected="the network of one sample",
            hint="export it with a batch of 1 or a symbolic batch axis; of a module, give an example of one sample",
        ) from reason


def _number_samples(network: Network, batch: int) -> dict[str, RequiredWindows] | None:
    """Return, of every tensor that depends on the inputs, which sample each element depends on, counted from 1.

    None where an output mixes samples, or does not have them along its leading axis.
    """
    largest = _follow(network, np.arange(1, batch + 1, dtype=np.int32))
    smallest = _follow(network, np.arange(batch, 0, -1, dtype=np.int32))
    for tensor in network.outputs:
        if tensor.name not in largest or tensor.shape[:1] != (batch,):
            return None
        if not all(_is_along_first(found, batch) for found in (largest[tensor.name], smallest[tensor.name][::-1])):
            return None
    return largest


def _follow(network: Network, numbers: NDArray[np.int32]) -> dict[str, RequiredWindows]:
    """Return the largest number of what each element depends on, inputs being numbered along their leading axis."""
    known = {t.name: numbers.reshape(-1, *(1,) * (len(t.shape) - 1)) for t in network.inputs}
    for node in network.nodes:
        operands = [known.get(name) for name in node.inputs]
        if any(operand is not None for operand in operands):
            known[node.output] = required_windows(network, node, operands)
    return known


def _is_along_first(numbers: RequiredWindows, batch: int) -> bool:
    """True where each index of the leading axis depends on the sample of that index, or (padding) on none."""
    rows, own = numbers.reshape(len(numbers), -1), np.arange(1, batch + 1)[:, None]
    return len(rows) == batch and bool(((rows == own) | (rows == 0)).all())


def _rewrite(network: Network, batch: int, numbers: dict[str, RequiredWindows]) -> Network:
    """Return the network whose tensors have the leading axis 1.

    Raises:
        ShapeError: that is not possible.
        _IndicesDifferError: a constant differs along the axis.
    """
    shapes = dict(network.shapes)
    for name in numbers:
        if shapes[name][:1] != (batch,) or not _is_along_first(numbers[name], batch):
            raise ShapeError(f"tensor {name!r} has its samples elsewhere than along its first axis")
        shapes[name] = (1, *shapes[name][1:])
    constants = dict(network.constants)
    nodes = [
        _rewrite_node(node, network, shapes, constants) if node.output in numbers else node for node in network.nodes
    ]
    inputs, outputs = (
        tuple(replace(tensor, shape=shapes[tensor.name]) for tensor in tensors)
        for tensors in (network.inputs, network.outputs)
    )
    return replace(network, inputs=inputs, outputs=outputs, nodes=tuple(nodes), constants=constants, shapes=shapes)


def _rewrite_node(
    node: Node, network: Network, shapes: dict[str, Shape], constants: dict[str, NDArray[np.generic]]
) -> Node:
    """Return the node for one sample; adds what it takes of constants that have the batch axis to `constants`."""
    old = network.shapes[node.output]
    inputs = list(node.inputs)
    has_samples = OPERATIONS[node.op].is_elementwise or node.op == "concat"
    for index, name in enumerate(inputs):
        value = network.constants.get(name)
        if has_samples and value is not None and value.ndim == len(old) and value.shape[0] == old[0]:
            if (value != value[:1]).any():
                raise _IndicesDifferError
            inputs[index] = f"{name}/one"
            constants[inputs[index]] = value[:1]
    attributes: dict[str, Attribute] = dict(node.attributes)
    if node.op in ("reshape", "expand"):
        attributes["shape"] = shapes[node.output]
    operands = [shapes[name] if name in shapes else constants[name].shape for name in inputs]
    if infer_shape(node.op, operands, attributes) != shapes[node.output]:
        raise ShapeError(f"{node.op} {node.name!r} takes the whole batch")
    return replace(node, inputs=tuple(inputs), attributes=attributes)
