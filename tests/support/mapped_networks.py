"""Small networks on crossbars, for tests of what is reported about them."""

from __future__ import annotations

import functools
from typing import Any

from accelerators import make_accelerator

from mho.cost_model.network_map import NetworkMap
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import BitWidths, Policy


def conv(name: str, outputs: int, channels: int, size: int, *, stride: int = 1, repeat: int = 1) -> MvmLayer:
    """Return a 3x3 convolution with one pixel of padding, on square images."""
    out = (size + 1) // stride if stride > 1 else size
    shape = ConvShape(1, (size, size), (out, out), (3, 3), (stride, stride), (1, 1), (1, 1, 1, 1))
    return MvmLayer(name, "conv", outputs, channels * 9, out * out, repeat, shape)


LAYERS = (
    conv("stem", 4, 2, 8),
    conv("depthwise", 1, 1, 8, repeat=8),
    MvmLayer("scores", "matmul", 6, 5, 6, 4),
    MvmLayer("head", "linear", 40, 20, 1, 1),
)
"""Windows, groups, an activation that is stored, and several tiles."""


HARDWARE = make_accelerator(rows=32, cols=24)


def make_map(
    bits: str = "4/3",
    *,
    layers: tuple[MvmLayer, ...] = LAYERS,
    accelerator: Accelerator | None = None,
    model: MappingModel = MappingModel.BEST,
    batch: int = 1,
) -> NetworkMap:
    """Return the layers on a crossbar of 32x24 cells of two bits, with the same widths everywhere."""
    if accelerator is None and layers is LAYERS:
        return _map_layers(bits, model, batch)
    policy = Policy.uniform([layer.name for layer in layers], BitWidths.parse(bits))
    return NetworkMap.of(layers, policy, accelerator or HARDWARE, model=model, batch=batch)


@functools.cache
def _map_layers(bits: str, model: MappingModel, batch: int) -> NetworkMap:
    policy = Policy.uniform([layer.name for layer in LAYERS], BitWidths.parse(bits))
    return NetworkMap.of(LAYERS, policy, HARDWARE, model=model, batch=batch)


STACKED = (MvmLayer("first", "linear", 8, 16, 1, 1), MvmLayer("second", "linear", 6, 8, 1, 1))
"""Two layers that fit one crossbar together."""


def make_stack(**arguments: Any) -> NetworkMap:
    """Return two layers that lie in one crossbar and are written at once."""
    return make_map(layers=STACKED, accelerator=make_accelerator(rows=32, cols=48, cell_bits=4), **arguments)
