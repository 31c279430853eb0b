"""Grids of the tensors between layers, for an integer-only digital unit: where one is needed, and how wide.

A tensor that layers on one grid alone read needs none (`mho.network.digital_grids`). Every other gets a quantizer
behind it, whose range calibration samples give: in the network's own words a `fake_quantize` node, a Q/DQ pair in its
file. So the network that is evaluated, trained further and exported rounds where the digital unit does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.arithmetic.attributes import get_int
from mho.arithmetic.integers import TABLE_BITS
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError, MhoError
from mho.network.digital_grids import plan_grids
from mho.network.graph import Network, Node
from mho.network.properties import non_negative_tensors
from mho.network.reference import samples_by_name
from mho.quantization.batches import samples_within
from mho.quantization.qat import TrainableNetwork

LEAST_BITS, MOST_BITS = 8, 16
_HEADROOM_BITS = 12
"""From so many bits on a range is twice what calibration saw: a step is still small, and other samples fit."""
_SOFTMAX_REACH = 22.0
"""What is so far below the largest has a probability of e^-22 at most, which is 0 in 30 fractional bits: a mask."""
_VALUES_AT_ONCE = 1 << 26
_MOST_SAMPLES_AT_ONCE = 256


def assign_digital_grids(quantized: Network, calibration_inputs: Any, *, bits: int = MOST_BITS) -> Network:
    """Return a quantized network whose every tensor has a grid, so that an integer-only digital unit can compute it.

    Args:
        quantized: every MVM layer carries integers. Tensors that have a quantizer keep it.
        calibration_inputs: as for `mho.quantization.ptq.quantize`, or arrays by input name.
        bits: of a tensor that not only layers on one grid read, 8 to 16. What only functions of one number read has
            at most 10, since such a function is a table.

    Raises:
        MhoError: a layer carries no integers, or the bits are others.
        DataError: inputs do not fit, or a tensor is not finite.
    """
    if not quantized.is_quantized:
        raise MhoError("a float network", where=quantized.name, expected="a quantized one", hint="quantize it first")
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise MhoError(f"tensors of {bits} bits", where="digital grids", expected=f"{LEAST_BITS} to {MOST_BITS}")
    missing = plan_grids(quantized, is_final=False).missing
    if not missing:
        return quantized
    ranges = _observe(quantized, calibration_inputs, frozenset(missing))
    tables = {node.output: quantized.constants[node.inputs[1]] for node in quantized.nodes if node.op == "embed"}
    non_negative = non_negative_tensors(quantized)
    grids = {}
    for name in missing:
        low, high = ranges[name]
        chosen = _choose_bits(quantized, name, bits)
        room = 2 if chosen >= _HEADROOM_BITS else 1
        if name in tables:  # rows that no sample looked up, too; and there are no others
            low, high, room = float(tables[name].min(initial=0)), float(tables[name].max(initial=0)), 1
        is_unsigned = name in non_negative or low >= 0
        grids[name] = _choose_grid(room * max(-low, high), chosen, is_unsigned=is_unsigned)
    return _insert(quantized, grids)


def _choose_bits(network: Network, name: str, bits: int) -> int:
    readers = [node for node in network.nodes if name in node.inputs]
    is_function = all(
        OPERATIONS[node.op].is_elementwise and len(node.inputs) == 1 and not OPERATIONS[node.op].takes_integers
        for node in readers
    )
    return min(bits, TABLE_BITS) if readers and is_function else bits


def _choose_grid(largest: float, bits: int, *, is_unsigned: bool) -> dict[str, int | float]:
    """Return the attributes of a quantizer whose range is up to `largest`, both ways unless it is unsigned."""
    low, high = (0, (1 << bits) - 1) if is_unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    scale = float(np.float32(largest / high)) or 1.0
    return {"scale": scale, "zero_point": 0, "qmin": low, "qmax": high}


def _insert(network: Network, grids: Mapping[str, dict[str, int | float]]) -> Network:
    """Return the network with a quantizer behind each tensor; whoever read the tensor reads what it makes."""
    inputs = {tensor.name for tensor in network.inputs}
    outputs = {tensor.name for tensor in network.outputs}
    names = {node.name for node in network.nodes}
    shapes, renamed = dict(network.shapes), dict[str, str]()
    nodes: list[Node] = []

    def free(name: str, taken: Any) -> str:
        while name in taken:
            name += "_"
        return name

    def add_quantizer(name: str) -> None:
        """An output keeps its name behind the quantizer."""
        other = free(f"{name}.exact" if name in outputs else f"{name}.quantized", {*shapes, *network.constants})
        source, target = (other, name) if name in outputs and name not in inputs else (name, other)
        shapes[other] = network.shapes[name]
        node_name = free(f"{name}.quantize", names)
        names.add(node_name)
        if target == name:
            nodes[-1] = replace(nodes[-1], output=source)
        else:
            renamed[name] = target
        nodes.append(Node(node_name, "fake_quantize", (source,), target, grids[name]))

    for name in (name for name in grids if name in inputs):
        add_quantizer(name)
    for node in network.nodes:
        nodes.append(replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs)))
        if node.output in grids:
            add_quantizer(node.output)
    return replace(network, nodes=tuple(nodes), shapes=shapes)


def _softmax_axis(network: Network, name: str) -> int | None:
    """Return along which axis, from the end, softmax alone reads a tensor; None where others do, or along several."""
    readers = [node for node in network.nodes if name in node.inputs]
    axes = {get_int(node.attributes, "axis") - len(network.shapes[name]) for node in readers if node.op == "softmax"}
    is_output = name in {tensor.name for tensor in network.outputs}
    return axes.pop() if len(axes) == 1 and not is_output and all(node.op == "softmax" for node in readers) else None


def _observe(network: Network, inputs: Any, wanted: frozenset[str]) -> dict[str, tuple[float, float]]:
    """Run the quantized network over samples; return the smallest and the largest number of each tensor."""
    arrays = samples_by_name(network, inputs.numpy() if isinstance(inputs, Tensor) else inputs)
    tensors = tuple(torch.from_numpy(array) for array in arrays.values())
    trainable = TrainableNetwork(network).eval()
    size = samples_within(network, _VALUES_AT_ONCE, _MOST_SAMPLES_AT_ONCE)
    ranges: dict[str, tuple[float, float]] = {}
    axes = {name: axis for name in wanted if (axis := _softmax_axis(network, name)) is not None}

    def see(name: str, values: Tensor) -> None:
        if name in axes:
            values = values.maximum(values.amax(axes[name], keepdim=True) - _SOFTMAX_REACH)
        low, high = (float(one) for one in values.aminmax())
        if not np.isfinite([low, high]).all():
            raise DataError(
                "NaN or infinite activations", where=f"tensor {name!r}", expected="finite numbers",
                hint='infinities elsewhere than before softmax need digital.arithmetic = "float32"',
            )  # fmt: skip
        before = ranges.get(name, (0.0, 0.0))
        ranges[name] = min(before[0], low), max(before[1], high)

    with torch.no_grad():
        for batch in zip(*(one.split(size) for one in tensors), strict=True):
            live = trainable.take_inputs(batch)
            for name in wanted & live.keys():
                see(name, live[name])
            for step in trainable.steps:
                live[step.output] = step.module(*step.take(live))
                if step.output in wanted:
                    see(step.output, live[step.output])
                for name in step.finished:
                    live.pop(name, None)
    return ranges
