"""One network for blocks of other sizes: forms of it with the same layers and weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError, MhoError
from mho.formats import plural
from mho.network.graph import Network, Node
from mho.network.naming import SMOOTHING
from mho.network.state import POSITION, TOKENS


def share_weights(quantized: Network, form: Network) -> Network:
    """Return a form of a network with the integers, grids and other numbers of a quantized form of it.

    Args:
        quantized: a network whose MVM layers carry integers, made from one form by calibration or training.
        form: another form, float: of the same layers and operations, with other shapes.

    Returns:
        `form` quantized, and smoothed where the quantized network is. Constants that have another shape in both forms,
        such as the places of a block, are its own.

    Raises:
        MhoError: the operations of the two differ, or a layer's weights have another shape.
    """
    form = _smooth_alike(quantized, form)
    sources, targets = _computing(quantized), _computing(form)
    for source, target in zip(sources, targets, strict=False):
        if source.op != target.op or (source.is_mvm and source.name != target.name):
            raise MhoError(
                f"{target.op} {target.name!r} stands where the quantized network has {source.op} {source.name!r}",
                where=form.name, expected="two forms of one network",
            )  # fmt: skip
    if len(sources) != len(targets):
        raise MhoError(
            f"computes with {plural(len(targets), 'operation')}", where=form.name,
            expected=f"the {len(sources)} of {quantized.name}",
        )  # fmt: skip
    origin = {target.name: source for source, target in zip(sources, targets, strict=True)}
    constants = dict(form.constants)
    nodes = tuple(
        _take_over(node, origin[node.name], quantized, constants, form) if node.name in origin else node
        for node in form.nodes
    )
    read = {name for node in nodes for name in node.inputs}
    return replace(form, nodes=nodes, constants={name: value for name, value in constants.items() if name in read})


def _smooth_alike(quantized: Network, form: Network) -> Network:
    """Return `form` with the operations that smoothing put before layers of the quantized network."""
    makers = {node.output: node for node in quantized.nodes if SMOOTHING in node.name}
    taken = {node.name: node.inputs[0] for node in quantized.nodes if node.is_mvm}
    constants, shapes, nodes, reads = dict(form.constants), dict(form.shapes), list[Node](), dict[str, str]()
    for node in form.nodes:
        chain, tensor, read = list[Node](), taken.get(node.name, ""), node.inputs[0]
        while tensor in makers:
            chain.insert(0, makers[tensor])
            tensor = makers[tensor].inputs[0]
        for part in chain:
            if part.name not in reads:
                values = part.inputs[1]
                name = _name_of(values, quantized.constants[values], constants, form)
                nodes.append(replace(part, inputs=(read, name)))
                shapes[part.output], reads[part.name] = shapes[read], read
            elif reads[part.name] != read:
                raise MhoError(f"layer {node.name!r} takes another tensor than in {quantized.name}", where=form.name)
            read = part.output
        nodes.append(replace(node, inputs=(read, *node.inputs[1:])) if chain else node)
    return replace(form, nodes=tuple(nodes), constants=constants, shapes=shapes)


def _computing(network: Network) -> list[Node]:
    """Return the nodes that do more than move numbers: shapes decide whether these are there."""
    return [node for node in network.nodes if not OPERATIONS[node.op].moves]


def _take_over(node: Node, source: Node, quantized: Network, constants: dict[str, NDArray[Any]], form: Network) -> Node:
    """Return the node with the constants and grids of its source; its constants are added to `constants`."""
    inputs = list(node.inputs)
    for index, name in enumerate(source.inputs):
        value = quantized.constants.get(name)
        if value is None:
            continue
        if index == len(inputs):  # a bias that quantization added
            inputs.append(name)
        elif inputs[index] not in constants:
            raise MhoError(f"operand {index} of {node.name!r} is constant in one form alone", where=quantized.name)
        elif constants[inputs[index]].shape != value.shape:
            if node.is_mvm:
                raise MhoError(
                    f"layer {node.name!r} has weights of other shapes in the two forms", where=quantized.name
                )
            continue
        inputs[index] = _name_of(name, value, constants, form)
    return replace(node, inputs=tuple(inputs), quantization=source.quantization)


def _name_of(name: str, value: NDArray[Any], constants: dict[str, NDArray[Any]], form: Network) -> str:
    """Return the name under which a constant of the quantized form is held in the other."""
    while name in form.shapes or (name in constants and constants[name] is not value):
        name += ".shared"
    constants[name] = value
    return name


def first_inputs(network: Network, tokens: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a block at the beginning of sequences: tokens, position 0 and empty states.

    Args:
        network: a language model with states.
        tokens: [N, T] whole numbers.

    Raises:
        DataError: it is none, or takes blocks of another size.
    """
    shapes = {tensor.name: tensor.shape for tensor in network.inputs}
    if not network.states or not {TOKENS, POSITION} <= set(shapes):
        raise DataError("has no states", where=network.name, expected="a language model that mho.load_decoder read")
    if tokens.ndim != 2 or (1, tokens.shape[1]) != shapes[TOKENS]:
        raise DataError(f"tokens {list(tokens.shape)}", where=network.name, expected=f"[N, {shapes[TOKENS][1]}]")
    samples = len(tokens)
    states = {state.input: np.zeros((samples, *shapes[state.input]), np.float32) for state in network.states}
    return {TOKENS: tokens[:, None], POSITION: np.zeros((samples, 1), np.int64), **states}
