"""Transposed and three-dimensional convolutions and poolings, by those over two axes.

A transposed convolution of stride s is s * s convolutions of the input, one for each place of an output pixel within a
cell of s x s, with every s-th tap of the kernel each. They are one layer here: nothing is filled up with zeros between
pixels, and each input window meets all taps at once. A three-dimensional convolution takes the planes that its kernel
covers as channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import Unsupported
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import Constant, OnnxNode, QuantizedConstant
from mho.network.onnx_windows import read_pads

Weight = Constant | QuantizedConstant


def _weight_of(steps: Steps) -> tuple[Weight, NDArray[np.generic]]:
    value = steps.reader.value(steps.operand(1))
    if isinstance(value, Constant):
        return value, value.array
    if isinstance(value, QuantizedConstant):
        return value, value.integers
    raise Unsupported("its weight is computed, not constant")


def _bind_weight(steps: Steps, value: Weight, array: NDArray[np.generic], scales_each: int = 0) -> str:
    """Bind other numbers of a weight; each output's scale is that of `scales_each` outputs side by side."""
    name = steps.constant(np.zeros(0, np.float32))
    if isinstance(value, Constant):
        steps.reader.bind(name, replace(value, array=array))
        return name
    held = replace(value, integers=array)
    if value.axis is not None:
        scales, zeros = (np.repeat(one, max(1, scales_each)) for one in (value.scales, value.zero_points))
        times = array.shape[0] // len(scales)
        held = replace(held, axis=0, scales=np.tile(scales, times), zero_points=np.tile(zeros, times))
    steps.reader.bind(name, held)
    return name


def _numbers(node: OnnxNode, key: str, count: int, default: int) -> tuple[int, ...]:
    numbers = node.integers(key) or (default,) * count
    if len(numbers) != count or min(numbers) < default:
        raise Unsupported(f"has {key} {list(numbers)} over {count} axes")
    return numbers


def _conv_transpose(reader: GraphReader, node: OnnxNode) -> None:
    steps = Steps(reader, node)
    x, shape = node.inputs[0], reader.shape(reader.activation(node))
    value, array = _weight_of(steps)
    rank = len(shape) - 2
    if rank == 1:
        x, array = steps.reshape(x, *shape[:2], 1, shape[2]), array[:, :, None]
    elif rank != 2:
        raise Unsupported(f"over {rank} axes; mho has one and two")
    groups = node.integer("group", 1)
    if array.ndim != 4 or groups < 1 or array.shape[0] % groups or array.shape[0] != shape[1]:
        raise Unsupported(f"has weights of {list(array.shape)} for {list(shape)} in {groups} groups")
    if isinstance(value, QuantizedConstant) and value.axis not in (None, 1):
        raise Unsupported("has weight scales along another axis than the outputs")
    sizes, kernel = shape[2:], array.shape[4 - rank :]
    strides, dilations = (_numbers(node, key, rank, 1) for key in ("strides", "dilations"))
    starts, lengths = _output_span(node, sizes, kernel, strides, dilations)
    if rank == 1:
        sizes, strides, dilations, starts, lengths = ((v, *each) for v, each in (
            (1, sizes), (1, strides), (1, dilations), (0, starts), (1, lengths)
        ))  # fmt: skip
    zero = 0 if isinstance(value, Constant) or value.zero_points.ndim else int(value.zero_points)
    if isinstance(value, QuantizedConstant) and value.zero_points.any() and value.axis is not None:
        raise Unsupported("has weight zero points for each output")
    phases = _phase_kernels(array, groups, strides, dilations, zero)
    weight = _bind_weight(steps, value, phases, strides[0] * strides[1])
    bias = steps.operand(2)
    if bias:
        bias = steps.constant(np.repeat(reader.constant(node, 2, "biases"), strides[0] * strides[1]))
    x, pads = _cover(steps, x, sizes, phases.shape[2:], strides, starts, lengths)
    made = steps("Conv", x, weight, bias, group=groups, pads=pads, kernel_shape=phases.shape[2:])
    result = _interleave(steps, made, strides, [s % t for s, t in zip(starts, strides, strict=True)], lengths)
    steps.finish(steps.reshape(result, shape[0], -1, lengths[1]) if rank == 1 else result)


def _output_span(
    node: OnnxNode, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return, along each axis, the first element of the full product that is kept, and how many are."""
    rank = len(sizes)
    extra = _numbers(node, "output_padding", rank, 0)
    full = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)]
    wanted, mode = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    if wanted is None and mode in ("NOTSET", "", "VALID"):
        pads = (node.integers("pads") if mode != "VALID" else None) or (0,) * (2 * rank)
        if len(pads) != 2 * rank:
            raise Unsupported(f"padding {list(pads)} of {rank} axes")
        starts = tuple(pads[:rank])
        lengths = tuple(f - a - b + e for f, a, b, e in zip(full, pads[:rank], pads[rank:], extra, strict=True))
    else:
        lengths = tuple(wanted[-rank:] if wanted else (n * s for n, s in zip(sizes, strides, strict=True)))
        total = [f + e - length for f, e, length in zip(full, extra, lengths, strict=True)]
        starts = tuple(max(0, t) // 2 if mode == "SAME_UPPER" else max(0, t) - max(0, t) // 2 for t in total)
    if min(lengths) < 1 or min(starts) < 0:
        raise Unsupported(f"makes {list(lengths)} elements from {list(starts)} on")
    return starts, lengths


def _phase_kernels(
    array: NDArray[np.generic], groups: int, strides: Sequence[int], dilations: Sequence[int], zero: int
) -> NDArray[np.generic]:
    """Return kernels [outputs * sh * sw, inputs / groups, taps, taps] from [inputs, outputs / groups, kh, kw].

    Output q * s + r is the sum over t of x[q - t] * w[t * s + r]; a convolution meets x in the other order.
    """
    inputs, outputs, *kernel = array.shape
    spread = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    taps = [-(-length // s) for length, s in zip(spread, strides, strict=True)]
    (th, tw), (sh, sw) = taps, strides
    padded = np.full((inputs, outputs, th * sh, tw * sw), zero, array.dtype)
    padded[:, :, : spread[0] : dilations[0], : spread[1] : dilations[1]] = array
    apart = padded.reshape(groups, inputs // groups, outputs, th, sh, tw, sw)[:, :, :, ::-1, :, ::-1]
    ordered = apart.transpose(0, 2, 4, 6, 1, 3, 5)
    return np.ascontiguousarray(ordered.reshape(groups * outputs * sh * sw, inputs // groups, th, tw))


def _cover(
    steps: Steps, x: str, sizes: Sequence[int], taps: Sequence[int], strides: Sequence[int], starts: Sequence[int],
    lengths: Sequence[int],
) -> tuple[str, tuple[int, ...]]:  # fmt: skip
    """Return the input, cut where no kept output needs it, and the padding with which windows make all of these."""
    before, after, cuts = [], [], []
    for axis, (size, tap, stride, start, length) in enumerate(
        zip(sizes, taps, strides, starts, lengths, strict=True), start=2
    ):
        first, last = start // stride, (start + length - 1) // stride
        low, high = first - tap + 1, last + 1  # the inputs that the windows cover
        cuts.append((axis, max(0, low), min(size, high)))
        before.append(max(0, -low))
        after.append(max(0, high - size))
    for axis, low, high in cuts:
        if (low, high) != (0, sizes[axis - 2]):
            x = steps("Slice", x, steps.whole(low), steps.whole(high), steps.whole(axis))
    return x, (*before, *after)


def _interleave(steps: Steps, made: str, strides: Sequence[int], starts: Sequence[int], lengths: Sequence[int]) -> str:
    """Put the places of each cell side by side, [B, O * sh * sw, h, w] -> [B, O, h * sh, w * sw], and cut the edges."""
    batch, channels, height, width = steps.shape(made)
    (sh, sw), kept = strides, channels // (strides[0] * strides[1])
    if sh * sw > 1:
        apart = steps.reshape(made, batch, kept, sh, sw, height, width)
        moved = steps("Transpose", apart, perm=(0, 1, 4, 2, 5, 3))
        made = steps.reshape(moved, batch, kept, height * sh, width * sw)
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    return steps("Slice", made, steps.whole(*starts), steps.whole(*ends), steps.whole(2, 3))


def conv_3d(reader: GraphReader, node: OnnxNode) -> None:
    """Convert a convolution over three axes."""
    steps = Steps(reader, node)
    x, shape = node.inputs[0], reader.shape(reader.activation(node))
    value, array = _weight_of(steps)
    if array.ndim != 5 or (isinstance(value, QuantizedConstant) and value.axis not in (None, 0)):
        raise Unsupported(f"has weights of {list(array.shape)} over three axes")
    strides, dilations = (_numbers(node, key, 3, 1) for key in ("strides", "dilations"))
    pads = read_pads(node, shape[2:], array.shape[2:], strides, dilations)
    weight = _bind_weight(steps, value, array.reshape(array.shape[0], -1, *array.shape[3:]))
    planes, x = _stack_planes(steps, x, array.shape[2], strides[0], dilations[0], (pads[0], pads[3]))
    made = steps(
        "Conv", x, weight, steps.operand(2), group=node.integer("group", 1), strides=strides[1:],
        dilations=dilations[1:], pads=(*pads[1:3], *pads[4:6]), kernel_shape=array.shape[3:],
    )  # fmt: skip
    apart = steps.reshape(made, shape[0], planes, *steps.shape(made)[1:])
    steps.finish(steps("Transpose", apart, perm=(0, 2, 1, 3, 4)))


def _stack_planes(
    steps: Steps, x: str, taps: int, stride: int, dilation: int, pads: tuple[int, int]
) -> tuple[int, str]:
    """Return how many planes come out, and [B * planes, C * taps, H, W]: what each of them is made of."""
    if any(pads):
        x = steps("Pad", x, steps.whole(0, 0, pads[0], 0, 0, 0, 0, pads[1], 0, 0))
    batch, channels, depth, height, width = steps.shape(x)
    planes = (depth - dilation * (taps - 1) - 1) // stride + 1
    if planes < 1:
        raise Unsupported(f"has a kernel of {taps} planes over {depth}")
    places = stride * np.arange(planes)[:, None] + dilation * np.arange(taps)
    if (taps, stride) == (1, 1):
        moved = steps("Transpose", x, perm=(0, 2, 1, 3, 4))
    else:
        moved = steps("Transpose", steps("Gather", x, steps.constant(places), axis=2), perm=(0, 2, 1, 3, 4, 5))
    return planes, steps.reshape(moved, batch * planes, channels * taps, height, width)


def pool_3d(reader: GraphReader, node: OnnxNode) -> None:
    """Convert a pooling over three axes: over two of them, then over the first."""
    steps = Steps(reader, node)
    kernel = node.integers("kernel_shape") or ()
    shape = steps.shape(node.inputs[0])
    strides, dilations = (_numbers(node, key, 3, 1) for key in ("strides", "dilations"))
    pads = read_pads(node, shape[2:], kernel, strides, dilations)
    rest = {key: node.integer(key, 0) for key in ("ceil_mode", "count_include_pad") if key in node.attributes}
    if node.op_type == "AveragePool" and (rest.get("ceil_mode") or (any(pads) and not rest.get("count_include_pad"))):
        raise Unsupported("averages over three axes what lies within the input alone")
    if node.op_type == "MaxPool":
        rest["dilations"] = dilations[1:]  # type: ignore[assignment]
    flat = steps.reshape(node.inputs[0], shape[0], shape[1] * shape[2], *shape[3:])
    flat = steps(
        node.op_type, flat, kernel_shape=kernel[1:], strides=strides[1:], pads=(*pads[1:3], *pads[4:6]), **rest
    )
    height, width = steps.shape(flat)[2:]
    if node.op_type == "MaxPool":
        rest["dilations"] = (dilations[0], 1)  # type: ignore[assignment]
    flat = steps.reshape(flat, shape[0], shape[1], shape[2], height * width)
    flat = steps(
        node.op_type, flat, kernel_shape=(kernel[0], 1), strides=(strides[0], 1), pads=(pads[0], 0, pads[3], 0), **rest
    )
    steps.finish(steps.reshape(flat, shape[0], shape[1], -1, height, width))


CONVERTERS: dict[str, Converter] = {"ConvTranspose": _conv_transpose}
