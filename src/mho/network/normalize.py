"""From what the reader emitted to the network that mho runs: a fixed list of rewrites of a draft.

fuse biases -> let MVM layers take in the grids around them -> drop what nobody reads -> check numbers -> name layers
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mho.errors import InputFileError, UnsupportedOperationError
from mho.network.draft import BINARY, Draft, DraftNode
from mho.network.graph import Grid, LayerQuantization
from mho.network.naming import name_layers
from mho.network.onnx_values import bits_of_range

MOVEMENT = frozenset({"reshape", "transpose", "slice", "gather", "expand", "max_pool", "concat", "resize_nearest"})
"""Operations that only move or pick numbers: a quantized tensor stays on its grid through them."""


def normalize(draft: Draft, where: str) -> None:
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
        _take_output(draft, node, add)


def _take_output(draft: Draft, node: DraftNode, removed: DraftNode) -> None:
    """Let `node` make the tensor that `removed`, its only reader, made."""
    draft.shapes.pop(node.output)
    node.output = removed.output
    draft.remove_nodes([removed])


def absorb_grids(draft: Draft) -> None:
    """Make MVM layers whose operands are all quantized integer layers, and drop quantizers that only feed such."""
    producers = draft.producers()
    for node in draft.nodes:
        if node.op in ("conv", "linear"):
            grid = _grid_behind(draft, node.inputs[0], producers)
            if node.weight_grid is not None and grid is not None:
                node.quantization = LayerQuantization(grid, node.weight_grid)
            elif node.weight_grid is not None:
                _dequantize_weight(draft, node, node.weight_grid)
        elif node.op == "matmul":
            streamed, stored = (_grid_behind(draft, tensor, producers) for tensor in node.inputs)
            if streamed is not None and stored is not None:
                node.quantization = LayerQuantization(streamed, stored)
    consumers = draft.consumers()
    for node in [n for n in draft.nodes if n.op == "fake_quantize" and n.output not in draft.outputs]:
        if all(_is_absorbed(draft, reader, consumers) for reader in consumers.get(node.output, [])):
            draft.replace_tensor(node.output, node.inputs[0])
            draft.remove_nodes([node])


def _grid_behind(draft: Draft, tensor: str, producers: Mapping[str, DraftNode]) -> Grid | None:
    """Return the grid that `tensor` lies on, looking back through movements."""
    producer = producers.get(tensor)
    if producer is None:
        return None
    if producer.op == "fake_quantize":
        return _grid_of(producer)
    if producer.op not in MOVEMENT:
        return None
    moved = [t for t in producer.inputs if producer.op == "concat"] or producer.inputs[:1]
    grids = [_grid_behind(draft, t, producers) for t in moved]
    first = grids[0]
    same = first is not None and all(grid is not None and _same_grid(grid, first) for grid in grids)
    return first if same else None


def _grid_of(node: DraftNode) -> Grid:
    values = node.attributes
    low, high, zero_point = (int(values[key]) for key in ("qmin", "qmax", "zero_point"))  # type: ignore[arg-type]
    bits = 1 if values.get(BINARY) else bits_of_range(low, high)
    return Grid(np.float32(values["scale"]), np.int64(zero_point), low, high, bits)  # type: ignore[arg-type]


def _same_grid(a: Grid, b: Grid) -> bool:
    return (float(a.scales), int(a.zero_points), a.qmin, a.qmax, a.bits) == (
        float(b.scales),
        int(b.zero_points),
        b.qmin,
        b.qmax,
        b.bits,
    )


def _is_absorbed(draft: Draft, reader: DraftNode, consumers: Mapping[str, list[DraftNode]]) -> bool:
    """True where `reader` quantizes what it reads itself, or only moves it to layers that do."""
    if reader.quantization is not None:
        return True
    if reader.op not in MOVEMENT or reader.op == "concat" or reader.output in draft.outputs:
        return False
    readers = consumers.get(reader.output, [])
    return bool(readers) and all(_is_absorbed(draft, next_, consumers) for next_ in readers)


def _dequantize_weight(draft: Draft, node: DraftNode, grid: Grid) -> None:
    """Read a layer whose weights alone are quantized as a float layer."""
    integers = draft.constants[node.inputs[1]]
    shape = (-1, *(1,) * (integers.ndim - 1)) if grid.scales.ndim else ()
    centred = (integers.astype(np.int64) - grid.zero_points.reshape(shape)).astype(np.float32)
    values = (centred * grid.scales.reshape(shape)).astype(np.float32)
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
    for name in dict.fromkeys(tensor for node in draft.nodes for tensor in node.inputs):
        value = draft.constants.get(name)
        if value is None or value.dtype.kind in "iub":
            continue
        if np.isfinite(value).all():
            continue
        masks = all(node.op in ("add", "where") for node in draft.nodes if name in node.inputs)
        if np.isnan(value).any() or not masks:
            bad.append(f"{name!r} ({int((~np.isfinite(value)).sum())} of {value.size})")
    if bad:
        raise InputFileError(
            "weights that are NaN or infinite: " + ", ".join(bad),
            where=where,
            expected="finite numbers",
            hint="did the training diverge?",
        )
