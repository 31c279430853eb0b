"""The oracle: runs a Network sample by sample as it is defined, slowly and obviously, knowing nothing of crossbars.

A quantized layer is quantize -> integers minus zero points -> exact integer product (int64, or float64 where a bound
below 2^53 proves it exact) -> dequantize. All else is `mho.arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.arithmetic import requantize
from mho.arithmetic.attributes import get_int, get_ints
from mho.arithmetic.batching import from_samples, to_samples
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError, MhoError, suggest
from mho.network.graph import LayerQuantization, Network, Node

Inputs = Mapping[str, Any] | NDArray[Any]
Integers = NDArray[np.int64]

_EXACT_IN_FLOAT64 = 1 << 53
_CHUNK_ELEMENTS = 1 << 23


def run_float(network: Network, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Run a float network.

    Args:
        network: without quantized layers.
        inputs: array of the only input, or arrays by input name: [N, *S], or [N, *S[1:]] where S[0] is 1.

    Returns:
        Arrays by output name, [N, *S[1:]] where S[0] is 1, else [N, *S].

    Raises:
        DataError: inputs do not fit.
        MhoError: a layer is quantized.
    """
    quantized = [node.name for node in network.mvm_nodes if node.quantization is not None]
    if quantized:
        raise MhoError(f"quantized layers in a float run: {', '.join(quantized)}", where=network.name)
    return _run(network, inputs, _run_operation)


def run_quantized(
    network: Network, inputs: Inputs, *, record: dict[str, Integers] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run a quantized network in exact integers.

    Args:
        network: every MVM layer quantized.
        inputs: as `run_float`.
        record: filled with the exact sums of every layer by name: [N, B, O, oh, ow] for a convolution,
            [N, ..., outputs] for a linear layer, [N, ..., M, N] for a product.

    Raises:
        DataError: inputs do not fit.
        MhoError: a layer is not quantized.
    """
    missing = [node.name for node in network.mvm_nodes if node.quantization is None]
    if missing:
        raise MhoError(
            f"layers without integers: {', '.join(missing)}",
            where=network.name,
            hint="quantize the network, or give a file whose weights and activations are all quantized",
        )

    def compute(network: Network, node: Node, operands: list[Tensor]) -> Tensor:
        if node.quantization is None:
            return _run_operation(network, node, operands)
        sums = _integer_sums(node, node.quantization, operands)
        if record is not None:
            record[node.name] = sums
        return _dequantize(node, node.quantization, sums, operands)

    return _run(network, inputs, compute)


def samples_by_name(network: Network, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Return every input as float32 [N, *S]. Raises `DataError` where names, shapes or counts do not fit."""
    names = [tensor.name for tensor in network.inputs]
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            raise DataError(f"one array for {len(names)} inputs", where=network.name, expected=", ".join(names))
        inputs = {names[0]: inputs}
    for name in inputs:
        if name not in names:
            hint = suggest(name, names)
            raise DataError(f"no input {name!r}", where=network.name, expected=", ".join(names), hint=hint)
    samples = {}
    for tensor in network.inputs:
        if tensor.name not in inputs:
            raise DataError(f"input {tensor.name!r} is missing", where=network.name)
        samples[tensor.name] = to_samples(inputs[tensor.name], tensor.shape, where=f"input {tensor.name!r}")
    counts = {name: array.shape[0] for name, array in samples.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"different numbers of samples: {counts}", where=network.name)
    return samples


Compute = Callable[[Network, Node, list[Tensor]], Tensor]


def _run(network: Network, inputs: Inputs, compute: Compute) -> dict[str, NDArray[np.float32]]:
    values = {name: torch.from_numpy(array) for name, array in samples_by_name(network, inputs).items()}
    constants = {name: torch.from_numpy(np.array(value)) for name, value in network.constants.items()}
    last_use = {tensor: index for index, node in enumerate(network.nodes) for tensor in node.inputs}
    kept = {tensor.name for tensor in network.outputs}
    with torch.no_grad():
        for index, node in enumerate(network.nodes):
            operands = [values[name] if name in values else constants[name] for name in node.inputs]
            values[node.output] = compute(network, node, operands)
            for name in set(node.inputs) - kept:
                if last_use[name] == index:
                    values.pop(name, None)
    return {tensor.name: from_samples(values[tensor.name].numpy(), tensor.shape) for tensor in network.outputs}


def _run_operation(network: Network, node: Node, operands: list[Tensor]) -> Tensor:
    del network
    return OPERATIONS[node.op].run(operands, node.attributes)


def _integer_sums(node: Node, quantization: LayerQuantization, operands: list[Tensor]) -> Integers:
    """Return acc[o] = sum over r of (W[o, r] - z_w[o]) * (q_x[r] - z_x), exactly."""
    x = requantize.quantize(operands[0], quantization.input, where=node.inputs[0]).numpy().astype(np.int64)
    x -= quantization.input.zero_points
    if node.op == "matmul":
        stored = requantize.quantize(operands[1], quantization.weight, where=node.inputs[1]).numpy().astype(np.int64)
        return _product(x, stored - quantization.weight.zero_points)
    weight = operands[1].numpy().astype(np.int64)
    zero_points = quantization.weight.zero_points
    weight = weight - zero_points.reshape((-1, *(1,) * (weight.ndim - 1)) if zero_points.ndim else ())
    if node.op == "linear":
        return _product(x, weight.T)
    return _convolve(x, weight, node)


def _convolve(x: Integers, weight: Integers, node: Node) -> Integers:
    """Convolve [N, B, C, H, W], zero points already taken off, so that padding is 0."""
    top, left, bottom, right = get_ints(node.attributes, "pads")
    (kh, kw), (sh, sw) = get_ints(node.attributes, "kernel"), get_ints(node.attributes, "strides")
    dh, dw = get_ints(node.attributes, "dilations")
    groups = get_int(node.attributes, "groups")
    samples, batch, channels = x.shape[:3]
    padded = np.pad(x.reshape(-1, *x.shape[2:]), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    windows = windows[:, :, ::sh, ::sw, ::dh, ::dw]
    images, _, oh, ow = windows.shape[:4]
    per_group, outputs = channels // groups, weight.shape[0] // groups
    result = np.empty((images, groups * outputs, oh, ow), np.int64)
    step = max(1, _CHUNK_ELEMENTS // (per_group * kh * kw * oh * ow))
    for group in range(groups):
        matrix = weight[group * outputs : (group + 1) * outputs].reshape(outputs, -1).T
        for start in range(0, images, step):
            part = windows[start : start + step, group * per_group : (group + 1) * per_group]
            vectors = part.transpose(0, 2, 3, 1, 4, 5).reshape(-1, oh, ow, per_group * kh * kw)
            sums = _product(vectors, matrix).transpose(0, 3, 1, 2)
            result[start : start + step, group * outputs : (group + 1) * outputs] = sums
    return result.reshape(samples, batch, *result.shape[1:])


def _product(a: Integers, b: Integers) -> Integers:
    """Return a @ b exactly: by float64 where no partial sum can reach 2^53, else by int64."""
    largest = [int(np.abs(side).max(initial=0)) for side in (a, b)]
    if a.shape[-1] * largest[0] * largest[1] < _EXACT_IN_FLOAT64:
        return np.asarray(np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64))
    return np.asarray(np.matmul(a, b))


def _dequantize(node: Node, quantization: LayerQuantization, sums: Integers, operands: list[Tensor]) -> Tensor:
    dim = 2 if node.op == "conv" else sums.ndim - 1
    if (scaling := quantization.output) is not None:
        shape = [-1 if axis == dim else 1 for axis in range(sums.ndim)]
        factors, offsets = (
            torch.from_numpy(np.array(one, np.int64).reshape(shape if one.ndim else ()))
            for one in (scaling.multipliers, scaling.offsets)
        )
        return requantize.requantize(torch.from_numpy(sums), factors, offsets, scaling)
    multipliers = requantize.combined_scales(quantization.input.scales, quantization.weight.scales)
    bias = operands[2] if len(operands) > 2 else None
    return requantize.dequantize(torch.from_numpy(sums), torch.from_numpy(np.array(multipliers)), bias, dim)
