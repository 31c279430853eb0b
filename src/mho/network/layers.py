"""The table of MVM layers: what a crossbar must multiply, derived from the graph, never typed in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mho.network.graph import Network, Node


@dataclass(frozen=True)
class ConvShape:
    """The geometry of a convolution as a mapping needs it: which input pixels meet which output position.

    Output (y, x) takes the pixels (y * strides[0] + i * dilations[0], x * strides[1] + j * dilations[1]) of the padded
    input, for i, j in the kernel.

    Attributes:
        batch: images of one sample (the graph's fixed batch axis).
        in_size: height and width of the input without padding.
        out_size: height and width of the output.
        kernel, strides, dilations: along height and width.
        pads: top, left, bottom, right.
    """

    batch: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class LayerIntegers:
    """What the grids of a quantized layer ask of its mapping.

    Attributes:
        qmin, qmax, weight_bits: of the stored operand.
        takes_input_sums: zero points of the stored operand need the sum of each input vector.
        takes_stored_sums: codes of zero need the sum of each stored vector, of a product of two activations.
    """

    qmin: int
    qmax: int
    weight_bits: int
    takes_input_sums: bool
    takes_stored_sums: bool


@dataclass(frozen=True)
class MvmLayer:
    """One MVM layer as mapping and cost see it.

    Attributes:
        name: layer name.
        kind: "conv", "linear" or "matmul" (product of two activations).
        outputs, inputs: the logical matrix of one repetition. For a convolution `inputs` is
            in_channels / groups * kernel_h * kernel_w, in this order, and `outputs` is out_channels / groups.
        positions: input vectors that meet the matrix of one repetition (output pixels, tokens, 1 for a classifier).
        repeat: independent matrices of that size (groups of a convolution, heads of attention).
        conv: the geometry of a convolution; None for other kinds.
        integers: of a quantized layer; None where only a policy says what its integers will be.
    """

    name: str
    kind: str
    outputs: int
    inputs: int
    positions: int
    repeat: int
    conv: ConvShape | None = None
    integers: LayerIntegers | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return self.outputs * self.inputs * self.positions * self.repeat

    @property
    def is_stored_dynamically(self) -> bool:
        """True where crossbars hold an activation, which must be written for every sample."""
        return self.kind == "matmul"

    def without_name(self) -> MvmLayer:
        """Return the layer without its name: equal for layers that are mapped alike."""
        return replace(self, name="")

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, lists and numbers, from which `from_json` makes an equal value."""
        conv = None
        if self.conv is not None:
            conv = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.conv).items()}
        return {**asdict(self), "conv": conv}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> MvmLayer:
        """Return the layer of `to_json`. Raises `KeyError` or `TypeError` where it is none."""
        values = {field.name: content[field.name] for field in fields(cls)}
        if values["conv"] is not None:
            shape: dict[str, Any] = {field.name: values["conv"][field.name] for field in fields(ConvShape)}
            shape = {key: tuple(value) if isinstance(value, list) else value for key, value in shape.items()}
            values["conv"] = ConvShape(**shape)
        if values["integers"] is not None:
            values["integers"] = LayerIntegers(**values["integers"])
        return cls(**values)


def derive_layer_table(network: Network) -> tuple[MvmLayer, ...]:
    """Derive the MVM layers of `network`, in execution order."""
    return tuple(derive_layer(network, node) for node in network.mvm_nodes)


def derive_layer(network: Network, node: Node) -> MvmLayer:
    """Derive the logical matrix, positions, repeats and integers of one MVM node."""
    return replace(_derive_product(network, node), integers=_derive_integers(node))


def _derive_integers(node: Node) -> LayerIntegers | None:
    if node.quantization is None:
        return None
    weight, streamed = node.quantization.weight, node.quantization.input
    return LayerIntegers(
        qmin=weight.qmin,
        qmax=weight.qmax,
        weight_bits=weight.bits,
        takes_input_sums=bool(weight.zero_points.any()),
        takes_stored_sums=node.op == "matmul" and max(0, -streamed.qmin) + int(streamed.zero_points) != 0,
    )


def _derive_product(network: Network, node: Node) -> MvmLayer:
    out_shape = network.shapes[node.output]
    if node.op == "conv":
        out_channels, per_group, *kernel = network.constants[node.inputs[1]].shape
        groups = int(node.attributes["groups"])  # type: ignore[arg-type]
        positions = out_shape[0] * math.prod(out_shape[2:])
        inputs = per_group * math.prod(kernel)
        conv = _derive_conv(network, node)
        return MvmLayer(node.name, node.op, out_channels // groups, inputs, positions, groups, conv)
    if node.op == "linear":
        outputs, inputs = network.constants[node.inputs[1]].shape
        return MvmLayer(node.name, node.op, outputs, inputs, math.prod(out_shape[:-1]), 1)
    inputs = network.shapes[node.inputs[0]][-1]
    return MvmLayer(node.name, node.op, out_shape[-1], inputs, out_shape[-2], math.prod(out_shape[:-2]))


def _derive_conv(network: Network, node: Node) -> ConvShape:
    in_shape, out_shape = network.shapes[node.inputs[0]], network.shapes[node.output]
    kernel, strides, dilations, pads = (
        tuple(map(int, node.attributes[key]))  # type: ignore[arg-type]
        for key in ("kernel", "strides", "dilations", "pads")
    )
    return ConvShape(
        batch=in_shape[0],
        in_size=(in_shape[2], in_shape[3]),
        out_size=(out_shape[2], out_shape[3]),
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        dilations=(dilations[0], dilations[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
    )
