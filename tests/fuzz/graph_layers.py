"""The layers of drawn graphs: convolutions, dense layers and products, with attributes that are mostly right."""

from __future__ import annotations

from typing import Any

from graph_drawer import Drawer, Tensor
from random_networks import Chooser

_MOST_INPUTS = 400


def _conv(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) not in (3, 4):
        return _matmul(drawer, x)
    chooser, channels, rank = drawer.chooser, x.shape[1], len(x.shape) - 2
    group = chooser.choice([one for one in (1, 1, channels) if channels % one == 0])
    kernel = [chooser.integer(1, 3) for _ in range(rank)]
    weights = drawer.weights(group * chooser.integer(1, 3), channels // group, *kernel)
    bias = drawer.hold(drawer.array(weights.shape[0])) if chooser.integer(0, 1) else None
    attributes = {"group": group, **draw_window(chooser, rank)}
    if chooser.integer(0, 1):
        attributes["kernel_shape"] = kernel
    return drawer.one("Conv", drawer.layer_input(x), weights, *([bias] if bias else []), **attributes)


def draw_window(chooser: Chooser, rank: int) -> dict[str, Any]:
    """Return strides, padding and dilations of a window, most of them left out."""
    attributes: dict[str, Any] = {}
    if chooser.integer(0, 1):
        attributes["strides"] = [chooser.integer(1, 2) for _ in range(rank)]
    if chooser.integer(0, 2) == 0:
        attributes["auto_pad"] = chooser.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
        return attributes
    if chooser.integer(0, 1):
        attributes["pads"] = [chooser.integer(0, 1) for _ in range(2 * rank)]
    if chooser.integer(0, 3) == 0:
        attributes["dilations"] = [chooser.integer(1, 2) for _ in range(rank)]
    return attributes


def _gemm(drawer: Drawer, x: Tensor) -> Tensor | None:
    chooser = drawer.chooser
    flat = x if len(x.shape) == 2 else drawer.one("Flatten", x, axis=chooser.choice((1, 1, 1, 0, len(x.shape))))
    if flat is None or flat.shape[1] > _MOST_INPUTS:
        return None
    across, inputs, outputs = chooser.integer(0, 1), flat.shape[1], chooser.integer(1, 4)
    weights = drawer.weights(*((outputs, inputs) if across else (inputs, outputs)), axis=1 - across)
    bias = [drawer.hold(drawer.array(outputs))] if chooser.integer(0, 1) else []
    attributes: dict[str, Any] = {"transB": across}
    if chooser.integer(0, 4) == 0:
        attributes |= {"alpha": chooser.choice((1.0, 0.5, -2.0)), "beta": chooser.choice((1.0, 2.0))}
    return drawer.one("Gemm", drawer.layer_input(flat), weights, *bias, **attributes)


def _matmul(drawer: Drawer, x: Tensor) -> Tensor | None:
    if not x.shape or x.shape[-1] > _MOST_INPUTS:
        return None
    weights = drawer.weights(x.shape[-1], drawer.chooser.integer(1, 4), axis=1)
    return drawer.one("MatMul", drawer.layer_input(x), weights)


def _conv_transpose(drawer: Drawer, x: Tensor) -> Tensor | None:
    if len(x.shape) not in (3, 4):
        return _matmul(drawer, x)
    chooser, rank = drawer.chooser, len(x.shape) - 2
    kernel = [chooser.integer(1, 3) for _ in range(rank)]
    weights = drawer.weights(x.shape[1], chooser.integer(1, 3), *kernel, axis=1)
    attributes = {"strides": [chooser.integer(1, 3) for _ in range(rank)]}
    if chooser.integer(0, 1):
        attributes["pads"] = [chooser.integer(0, 1) for _ in range(2 * rank)]
    elif chooser.integer(0, 1):
        attributes["output_padding"] = [stride - 1 for stride in attributes["strides"]]
    bias = [drawer.hold(drawer.array(weights.shape[1]))] if chooser.integer(0, 1) else []
    return drawer.one("ConvTranspose", drawer.layer_input(x), weights, *bias, **attributes)


def _product(drawer: Drawer, x: Tensor) -> Tensor | None:
    """A product of two activations."""
    if len(x.shape) < 3:
        return _matmul(drawer, x)
    perm = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
    turned = drawer.one("Transpose", x, perm=perm)
    assert turned is not None
    pair = (x, turned) if drawer.chooser.integer(0, 1) else (turned, x)
    return drawer.one("MatMul", *(drawer.layer_input(one) for one in pair))


LAYERS = (_conv, _conv, _conv, _conv_transpose, _gemm, _gemm, _matmul, _product)
