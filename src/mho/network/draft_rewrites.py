"""From what the reader emitted to the network that mho runs: a fixed list of rewrites of a draft.

fuse biases -> let MVM layers take in the grids around them -> drop what nobody reads -> check numbers -> name layers
"""

from __future__ import annotations

import numpy as np

from mho.arithmetic.operations import OPERATIONS
from mho.errors import InputFileError, UnsupportedOperationError
from mho.network.draft import BINARY, Draft, DraftNode
from mho.network.graph import Grid, LayerQuantization, quantizer_grid
from mho.network.naming import name_layers
from mho.network.onnx_values import dequantize
from mho.network.tensor_budget import float_bytes

_TAKES_INFINITY = ("add", "where", "maximum", "minimum", "less")


def rewrite_draft(draft: Draft, where: str) -> None:
    """Rewrite `draft` in place.

    Raises:
        InputFileError: a weight or constant is not finite.
        UnsupportedOperationError: a {-1, +1} grid that feeds something else than an MVM layer.
    """
    fuse_biases(draft)
    absorb_grids(draft)
    drop_unread(draft)
    check_numbers(draft, where)
    name_layers(draft)
    left = [node.name for node in draft.nodes if BINARY in node.attributes]
    if left:
        raise UnsupportedOperationError(
            "a {-1, +1} grid feeds something else than an MVM layer: " + ", ".join(left), where=where
        )


def fuse_biases(draft: Draft) -> None:
    """Make a constant added to a convolution's or linear layer's outputs its bias."""
    consumers = draft.consumers()
    fused: list[DraftNode] = []
    for node in [n for n in draft.nodes if n.op in ("conv", "linear") and len(n.inputs) == 2]:
        readers = consumers.get(node.output, [])
        if len(readers) != 1 or readers[0].op != "add" or node.output in draft.outputs:
            continue
        add = readers[0]
        other = [tensor for tensor in add.inputs if tensor != node.output]
        if len(other) != 1 or other[0] not in draft.constants:
            continue
        bias = draft.constants[other[0]]
        shape = draft.shapes[node.output]
        axis = len(shape) - 1 if node.op == "linear" else 1
        # Counted from the back, so that constants of lower rank fit.
        along = [1] * (len(shape) - axis)
        along[0] = shape[axis]
        if bias.ndim > len(shape) or bias.shape[-len(along) :] != tuple(along) or bias.size != shape[axis]:
            continue
        node.hints = {**node.hints, "bias": other[0]}
        node.inputs.append(draft.add_constant(f"{other[0]}.flat", bias.reshape(-1).astype(np.float32)))
        draft.shapes.pop(node.output)
        node.output = add.output
        fused.append(add)
    draft.remove_nodes(fused)


def absorb_grids(draft: Draft) -> None:
    """Make MVM layers whose operands are all quantized integer layers, and drop quantizers that only feed such."""
    grids = _grids(draft)
    for node in draft.nodes:
        if node.op in ("conv", "linear"):
            grid = grids.get(node.inputs[0])
            if node.weight_grid is not None and grid is not None:
                node.quantization = LayerQuantization(grid, node.weight_grid)
            elif node.weight_grid is not None:
                _dequantize_weight(draft, node, node.weight_grid)
        elif node.op == "matmul":
            streamed, stored = (grids.get(tensor) for tensor in node.inputs)
            if streamed is not None and stored is not None:
                node.quantization = LayerQuantization(streamed, stored)
    needless = _needless_quantizers(draft)
    behind: dict[str, str] = {}
    for node in needless:
        behind[node.output] = behind.get(node.inputs[0], node.inputs[0])
    draft.remove_nodes(needless)
    draft.replace_tensors(behind)


def _grids(draft: Draft) -> dict[str, Grid]:
    """Return the grid that each tensor lies on that has one: that of its quantizer, kept through movements."""
    grids: dict[str, Grid] = {}
    for node in draft.nodes:
        if node.op == "fake_quantize":
            grids[node.output] = quantizer_grid(node.attributes, is_binary=bool(node.attributes.get(BINARY)))
        elif OPERATIONS[node.op].moves:
            moved = [grids.get(tensor) for tensor in (node.inputs if node.op == "concat" else node.inputs[:1])]
            first = moved[0]
            if first is not None and all(grid is not None and _same_grid(grid, first) for grid in moved):
                grids[node.output] = first
    return grids


def _needless_quantizers(draft: Draft) -> list[DraftNode]:
    """Return the quantizers all of whose readers quantize by themselves, or only move numbers to layers that do."""
    consumers, outputs = draft.consumers(), set(draft.outputs)
    absorbs: dict[str, bool] = {}  # by what a node makes: whether it quantizes what it reads
    needless = []
    for node in reversed(draft.nodes):
        readers = [absorbs[reader.output] for reader in consumers.get(node.output, [])]
        moves = OPERATIONS[node.op].moves and node.op != "concat" and node.output not in outputs
        absorbs[node.output] = node.quantization is not None or (moves and bool(readers) and all(readers))
        if node.op == "fake_quantize" and node.output not in outputs and all(readers):
            needless.append(node)
    return needless[::-1]


def _same_grid(a: Grid, b: Grid) -> bool:
    return (float(a.scales), int(a.zero_points), a.qmin, a.qmax, a.bits) == (
        float(b.scales),
        int(b.zero_points),
        b.qmin,
        b.qmax,
        b.bits,
    )


def _dequantize_weight(draft: Draft, node: DraftNode, grid: Grid) -> None:
    """Read a layer whose weights alone are quantized as a float layer."""
    integers = draft.constants[node.inputs[1]]
    shape = (-1, *(1,) * (integers.ndim - 1)) if grid.scales.ndim else ()
    draft.budget.check(float_bytes(integers.shape), f"weights of {node.name!r}")
    values = dequantize(integers, grid.scales.reshape(shape), grid.zero_points.reshape(shape))
    node.inputs[1] = draft.add_constant(f"{node.inputs[1]}.values", values)
    node.weight_grid = None


def drop_unread(draft: Draft) -> None:
    """Drop nodes whose output nobody reads."""
    wanted = set(draft.outputs)
    kept = []
    for node in reversed(draft.nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            kept.append(node)
    draft.nodes = kept[::-1]


def check_numbers(draft: Draft, where: str) -> None:
    """Refuse NaN anywhere and infinity in what multiplies. Raises `InputFileError` naming every such tensor."""
    bad: list[str] = []
    consumers = draft.consumers()
    for name in dict.fromkeys(tensor for node in draft.nodes for tensor in node.inputs):
        value = draft.constants.get(name)
        if value is None or value.dtype.kind in "iub":
            continue
        if np.isfinite(value).all():
            continue
        masks = all(node.op in _TAKES_INFINITY for node in consumers[name])
        if np.isnan(value).any() or not masks:
            bad.append(f"{name!r} ({int((~np.isfinite(value)).sum())} of {value.size})")
    if bad:
        raise InputFileError(
            "weights that are NaN or infinite: " + ", ".join(bad),
            where=where,
            expected="finite numbers",
            hint="did the training diverge?",
        )
