"""Resize: whole repetitions as an operation of their own, everything else as weighted sums of picked elements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import Unsupported
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import OnnxNode, normalize_axes

_MODES = ("nearest", "linear", "cubic")
_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
)  # fmt: skip
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class _Axis:
    """How one axis changes: `old` elements to `new`, `scale` as the file has it."""

    old: int
    new: int
    scale: float


def _resize(reader: GraphReader, node: OnnxNode) -> None:
    steps, x = Steps(reader, node), reader.activation(node)
    shape = reader.shape(x)
    mode = node.text("mode", "nearest")
    if mode not in _MODES:
        raise Unsupported(f"resizes by {mode}")
    axes = _read_axes(reader, node, shape)
    if mode == "nearest" and _repeats(node, axes):
        scales = tuple(float(axis.scale) for axis in axes)
        reader.bind_result(node, reader.emit(node, "resize_nearest", [x], {"scales": scales}))
        return
    if node.flag("antialias", 0) and any(axis.scale < 1 for axis in axes):
        raise Unsupported("resizes with antialias; mho has none")
    result = node.inputs[0]
    for number, axis in enumerate(axes):
        if axis.new != axis.old or axis.scale != 1.0:
            places = _coordinates(node, axis)
            indices, weights = _nearest(node, places) if mode == "nearest" else _taps(node, mode, places, axis.old)
            indices = indices.clip(0, axis.old - 1)
            result = _weigh(steps, result, number, indices, weights, len(shape))
    steps.finish(result)


def _read_axes(reader: GraphReader, node: OnnxNode, shape: tuple[int, ...]) -> list[_Axis]:
    given = node.integers("axes")
    chosen = tuple(range(len(shape))) if given is None else normalize_axes(given, len(shape))
    if node.has_input(3):
        sizes = reader.whole_numbers(node, 3, "sizes") or ()
        if len(sizes) != len(chosen):
            raise Unsupported(f"resizes {list(shape)} to {list(sizes)}")
        scales = tuple(size / shape[axis] for size, axis in zip(sizes, chosen, strict=True))
        policy = node.text("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scales = _keep_aspect(policy, scales)
            sizes = tuple(math.floor(s * shape[axis] + 0.5) for s, axis in zip(scales, chosen, strict=True))
    elif node.has_input(2):
        scales = tuple(float(scale) for scale in reader.constant(node, 2, "scales").reshape(-1))
        if len(scales) != len(chosen) or not all(0 < scale < _LARGEST for scale in scales):
            raise Unsupported(f"resizes {list(shape)} by {list(scales)}")
        sizes = tuple(math.floor(scale * shape[axis]) for scale, axis in zip(scales, chosen, strict=True))
    else:
        raise Unsupported("has neither scales nor sizes")
    if min(sizes, default=1) < 1 or max(sizes, default=1) > _LARGEST:
        raise Unsupported(f"resizes {list(shape)} to {list(sizes)}")
    found = {axis: _Axis(shape[axis], n, s) for axis, n, s in zip(chosen, sizes, scales, strict=True)}
    return [found.get(axis, _Axis(size, size, 1.0)) for axis, size in enumerate(shape)]


def _keep_aspect(policy: str, scales: tuple[float, ...]) -> tuple[float, ...]:
    """Return the scales after `keep_aspect_ratio_policy`, which is not to stretch: all axes get the same one."""
    if policy not in ("not_larger", "not_smaller"):
        raise Unsupported(f"resizes by keep_aspect_ratio_policy {policy!r}")
    return (min(scales) if policy == "not_larger" else max(scales),) * len(scales)


def _repeats(node: OnnxNode, axes: list[_Axis]) -> bool:
    """Whether each element is repeated a whole number of times."""
    coordinates, rounding = _text(node, "coordinate_transformation_mode", _COORDINATES), _rounding(node)
    centred = coordinates in ("half_pixel", "half_pixel_symmetric") and rounding.startswith("round")
    return all(axis.scale >= 1 and axis.scale == int(axis.scale) for axis in axes) and (
        (coordinates == "asymmetric" and rounding == "floor") or centred or all(axis.scale == 1 for axis in axes)
    )


def _text(node: OnnxNode, key: str, choices: tuple[str, ...]) -> str:
    value = node.text(key, choices[0])
    if value not in choices:
        what = "resizes a crop" if value == "tf_crop_and_resize" else f"resizes with {key} {value!r}"
        raise Unsupported(what)
    return value


def _rounding(node: OnnxNode) -> str:
    return _text(node, "nearest_mode", _ROUNDINGS)


def _coordinates(node: OnnxNode, axis: _Axis) -> NDArray[np.float64]:
    """Return where in the input each output element lies, [new]."""
    places, scale = np.arange(axis.new, dtype=np.float64), axis.scale
    match _text(node, "coordinate_transformation_mode", _COORDINATES):
        case "asymmetric":
            return places / scale
        case "align_corners":
            return places * ((axis.old - 1) / (axis.new - 1)) if axis.new > 1 else np.zeros(axis.new)
        case "pytorch_half_pixel" if axis.new == 1:
            return np.zeros(1)
        case "tf_half_pixel_for_nn":
            return (places + 0.5) / scale
        case "half_pixel_symmetric":
            offset = axis.old / 2 * (1 - axis.new / (scale * axis.old))
            return np.asarray(offset + (places + 0.5) / scale - 0.5)
        case _:
            return (places + 0.5) / scale - 0.5


def _nearest(node: OnnxNode, places: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rounded = {
        "round_prefer_floor": np.ceil(places - 0.5), "round_prefer_ceil": np.floor(places + 0.5),
        "floor": np.floor(places), "ceil": np.ceil(places),
    }[_rounding(node)]  # fmt: skip
    return rounded.astype(np.int64)[None], np.ones((1, len(places)), np.float32)


def _taps(
    node: OnnxNode, mode: str, places: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which elements each output element is the sum of, and their weights: [taps, new] each."""
    before = np.floor(places)
    rest = places - before
    if mode == "linear":
        indices, weights = before + np.array([[0], [1]]), np.stack([1 - rest, rest])
    else:
        indices, a = before + np.array([[-1], [0], [1], [2]]), node.number("cubic_coeff_a", -0.75)
        near, far = (np.stack([rest, 1 - rest]), np.stack([rest + 1, 2 - rest]))
        inner = ((a + 2) * near - (a + 3)) * near * near + 1
        outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
        weights = np.stack([outer[0], inner[0], inner[1], outer[1]])
    if node.flag("exclude_outside", 0):
        weights = np.where((indices >= 0) & (indices < size), weights, 0.0)
        weights = weights / weights.sum(axis=0)
    return indices.astype(np.int64), weights.astype(np.float32)


def _weigh(steps: Steps, x: str, axis: int, indices: NDArray[np.int64], weights: NDArray[np.float32], rank: int) -> str:
    """Return the sum of what each row of indices picks along `axis`, times its weights."""
    parts = []
    for places, factors in zip(indices, weights, strict=True):
        picked = steps("Gather", x, steps.constant(places), axis=axis)
        if (factors != 1).any():
            factors = factors.reshape(-1, *(1,) * (rank - axis - 1))
            picked = steps("Mul", picked, steps.constant(factors))
        parts.append(picked)
    while len(parts) > 1:
        parts = [steps("Add", *parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return parts[0]


CONVERTERS: dict[str, Converter] = {"Resize": _resize}
