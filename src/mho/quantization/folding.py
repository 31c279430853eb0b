"""From trained modules back to a Network: in float, or in integers with BatchNorm folded into scales.

Folding never touches an integer. A BatchNorm that directly follows an MVM layer is, per output,
y = factor * m + (beta - mean * factor) with factor = gamma / sqrt(variance + epsilon): the factor becomes part of the
layer's scale, the rest its bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mho.errors import PolicyError
from mho.network.graph import Grid, LayerQuantization, Network, Node
from mho.quantization.modules import BatchNormModule, DigitalModule, MvmModule

Constants = dict[str, NDArray[np.generic]]


Affine = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Factor and shift of y = factor * x + shift, per output: float64 [outputs] each."""


def make_float_network(network: Network, modules: Mapping[str, nn.Module]) -> Network:
    """Return `network` with the constants that its modules hold, and no quantization."""
    constants = dict(network.constants)
    for module in modules.values():
        constants.update(_trained_constants(module))
    return network.with_nodes(tuple(replace(node, quantization=None) for node in network.nodes), constants)


def make_quantized_network(network: Network, modules: Mapping[str, nn.Module]) -> Network:
    """Return `network` in integers.

    Raises:
        PolicyError: a layer is in float.
    """
    in_float = [name for name, m in modules.items() if isinstance(m, MvmModule) and not m.quantized]
    if in_float:
        raise PolicyError(f"layers in float: {', '.join(in_float)}", hint="set a policy that names every layer")
    constants = dict(make_float_network(network, modules).constants)
    foldable = find_foldable_batch_norms(network)
    folded = {batch_norm.name for batch_norm in foldable.values()}
    nodes = []
    for node in network.nodes:
        module = modules[node.name]
        if node.name in folded:
            continue
        if not isinstance(module, MvmModule):
            nodes.append(node)
            continue
        batch_norm = foldable.get(node.name)
        affine = None if batch_norm is None else _affine_of(modules[batch_norm.name])
        quantized, added = _quantize_node(node, module, affine)
        constants.update(added)
        nodes.append(quantized if batch_norm is None else replace(quantized, output=batch_norm.output))
    used = {name for node in nodes for name in node.inputs}
    return network.with_nodes(tuple(nodes), {name: value for name, value in constants.items() if name in used})


def find_foldable_batch_norms(network: Network) -> dict[str, Node]:
    """Return, by the name of the MVM layer before it, every BatchNorm that can be folded.

    That is: it alone uses the layer's output, which is no output of the network, and normalizes the axis of outputs.
    """
    consumers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    outputs = {tensor.name for tensor in network.outputs}
    found = {}
    for node in network.mvm_nodes:
        users = consumers.get(node.output, [])
        if node.op == "matmul" or len(users) != 1 or users[0].op != "batch_norm" or node.output in outputs:
            continue
        axis = 1 if node.op == "conv" else len(network.shapes[node.output]) - 1
        if users[0].attributes["axis"] == axis:
            found[node.name] = users[0]
    return found


def _trained_constants(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    tensors: list[Tensor | None]
    if isinstance(module, DigitalModule):
        return {name: _to_array(getattr(module, slot)) for slot, name in module.learned.items()}
    if isinstance(module, MvmModule):
        tensors = [module.weight, module.bias]
    elif isinstance(module, BatchNormModule):
        tensors = [module.weight, module.bias, module.running_mean, module.running_var]
    else:
        return {}
    present = [tensor for tensor in tensors if tensor is not None]
    return {name: _to_array(tensor) for name, tensor in zip(module.constant_names, present, strict=False)}


def _to_array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().contiguous().numpy().copy()


def _affine_of(module: nn.Module) -> Affine:
    assert isinstance(module, BatchNormModule), "found as a batch_norm node"
    gamma, beta, mean, variance = (
        tensor.detach().cpu().numpy().astype(np.float64)
        for tensor in (module.weight, module.bias, module.running_mean, module.running_var)
    )
    factor = gamma / np.sqrt(variance + module.epsilon)
    return factor, beta - mean * factor


@torch.no_grad()
def _quantize_node(node: Node, module: MvmModule, affine: Affine | None) -> tuple[Node, dict[str, NDArray[np.generic]]]:
    """Return the node with its grids, and the constants it brings: integer weights and a new bias."""
    grid = module.weight_quantizer.to_grid()
    streamed = module.input_quantizer.to_grid()
    if module.weight is None:
        return replace(node, quantization=LayerQuantization(streamed, grid)), {}
    codes = module.weight_quantizer.codes(module.weight).cpu().numpy()
    weight_name = f"{node.name}.weight_integers"
    added: Constants = {weight_name: _compact(codes)}
    bias = _bias_of(module)
    if affine is not None:
        factor, shift = affine
        scales = (grid.scales.astype(np.float64) * factor).astype(np.float32)
        grid = Grid(scales, grid.zero_points, grid.qmin, grid.qmax, grid.bits)
        bias = shift if bias is None else bias * factor + shift
    inputs = [node.inputs[0], weight_name]
    if bias is not None:
        added[f"{node.name}.bias_values"] = bias.astype(np.float32)
        inputs.append(f"{node.name}.bias_values")
    return replace(node, inputs=tuple(inputs), quantization=LayerQuantization(streamed, grid)), added


def _bias_of(module: MvmModule) -> NDArray[np.float64] | None:
    """Return the corrected bias; None where there is neither a bias nor anything to correct."""
    bias = module.corrected_bias()
    if bias is None or (module.bias is None and not bias.any()):
        return None
    return bias.cpu().numpy().astype(np.float64)


def _compact(codes: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return whole numbers in the smallest signed type that holds them."""
    lowest, highest = float(codes.min(initial=0)), float(codes.max(initial=0))
    for kind in (np.int8, np.int16):
        if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max:
            return codes.astype(kind)
    return codes.astype(np.int32)
