"""A network in a few numbers, for who wants to look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer


@dataclass(frozen=True)
class LayerSummary:
    """One MVM layer: its logical matrix, and its widths where it is quantized.

    Attributes:
        layer: what a crossbar must multiply.
        weights: elements of the weight constant; 0 for a product of two activations.
        weight_bits, act_bits: None where the layer is float.
    """

    layer: MvmLayer
    weights: int
    weight_bits: int | None
    act_bits: int | None


@dataclass(frozen=True)
class NetworkSummary:
    """What a network takes, makes and is made of.

    Attributes:
        inputs, outputs: per-sample shapes by name.
        layers: MVM layers in execution order.
        operations: how many nodes of each digital operation, by name.
        parameters: numbers in all constants.
        input_types: of inputs that hold whole numbers, by name, as `TensorInfo.dtype` has them.
        tables: of embeddings, which digital memory holds.
        table_bytes: that they take there.
    """

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    layers: tuple[LayerSummary, ...]
    operations: Mapping[str, int]
    parameters: int
    input_types: Mapping[str, str]
    tables: int
    table_bytes: int

    @property
    def quantized_layers(self) -> int:
        """How many MVM layers carry integers."""
        return sum(layer.weight_bits is not None for layer in self.layers)


def summarize_network(network: Network) -> NetworkSummary:
    """Summarize a network without running it."""
    layers = []
    for node in network.mvm_nodes:
        quantization = node.quantization
        layers.append(
            LayerSummary(
                derive_layer(network, node),
                0 if node.op == "matmul" else network.constants[node.inputs[1]].size,
                quantization.weight.bits if quantization else None,
                quantization.input.bits if quantization else None,
            )
        )
    tables = {node.inputs[1] for node in network.nodes if node.op == "embed"}
    operations = Counter(node.op for node in network.nodes if not node.is_mvm)
    return NetworkSummary(
        network.name,
        MappingProxyType({tensor.name: tensor.shape for tensor in network.inputs}),
        MappingProxyType({tensor.name: tensor.shape for tensor in network.outputs}),
        tuple(layers),
        MappingProxyType(dict(sorted(operations.items()))),
        sum(value.size for value in network.constants.values()),
        MappingProxyType({tensor.name: tensor.dtype for tensor in network.inputs if tensor.dtype != "float32"}),
        len(tables),
        sum(network.constants[name].nbytes for name in tables),
    )
