"""Input normalization as the first operations of a network, so that it takes samples as the dataset gives them.

Every reader and engine computes these operations like any other: float and quantized ONNX files, programs and training
all take raw samples. The names of the nodes mark them, so that nobody normalizes such a network's inputs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mho.network.graph import Network, Node

Steps = Sequence[tuple[str, NDArray[np.float32]]]
"""Operations of the digital unit ("sub", "mul", "add") in their order, each with its constant second operand."""

_MARK = "input_normalization."
"""What the names of the nodes begin with; the operation follows."""


def normalize_input(network: Network, steps: Steps) -> Network:
    """Return a network of one input that applies `steps` to it first; constants broadcast to the input's shape."""
    (source,) = network.inputs
    taken = {*network.constants, *network.shapes}
    nodes, constants, shapes, last = [], dict(network.constants), dict(network.shapes), source.name
    for operation, numbers in steps:
        constant, output = _free(f"{_MARK}{operation}", taken), _free(f"{source.name}.{operation}", taken)
        nodes.append(Node(f"{_MARK}{operation}", operation, (last, constant), output))
        constants[constant], shapes[output], last = numbers, source.shape, output
    nodes += [
        replace(node, inputs=tuple(last if name == source.name else name for name in node.inputs))
        for node in network.nodes
    ]
    return replace(network, nodes=tuple(nodes), constants=constants, shapes=shapes)


def find_normalization(network: Network) -> Steps:
    """Return the steps that `normalize_input` put into a network; empty where there are none."""
    return [(node.op, network.constants[node.inputs[1]]) for node in _steps(network)]


def list_inputs(network: Network) -> set[str]:
    """Return the names of the network's inputs, raw and normalized."""
    return {tensor.name for tensor in network.inputs} | {node.output for node in _steps(network)}


def _steps(network: Network) -> list[Node]:
    """Return the marked nodes that combine a tensor with a constant, as `normalize_input` makes them."""
    marked = [node for node in network.nodes if node.name.startswith(_MARK)]
    return [node for node in marked if len(node.inputs) == 2 and node.inputs[1] in network.constants]


def _free(name: str, taken: set[str]) -> str:
    """Return the name, lengthened until nothing has it, and take it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
