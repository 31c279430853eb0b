"""Kernels, strides, paddings and dilations of convolutions and poolings, from ONNX's attributes to explicit numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mho.network.draft import Unsupported
from mho.network.graph import Attribute
from mho.network.onnx_graph import GraphReader
from mho.network.onnx_values import OnnxNode


def read_windows(node: OnnxNode, sizes: Sequence[int], kernel: Sequence[int]) -> dict[str, Attribute]:
    """Return `kernel`, `strides`, `pads` (top, left, bottom, right) and `dilations` over two axes.

    Over one axis a second of kernel 1 is put before it (height 1). Raises `Unsupported` for more than two.
    """
    rank = len(sizes)
    if rank not in (1, 2) or len(kernel) != rank:
        raise Unsupported(f"over {rank} axes with a kernel of {list(kernel)}; mho has one and two")
    strides = node.integers("strides") or (1,) * rank
    dilations = node.integers("dilations") or (1,) * rank
    if (len(strides), len(dilations)) != (rank, rank) or min(*kernel, *strides, *dilations) < 1:
        raise Unsupported(f"a kernel of {list(kernel)}, strides {list(strides)} and dilations {list(dilations)}")
    pads = read_pads(node, sizes, kernel, strides, dilations)
    if rank == 1:
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        pads = (0, pads[0], 0, pads[1])
    return {"kernel": tuple(kernel), "strides": tuple(strides), "pads": pads, "dilations": tuple(dilations)}


def read_pads(
    node: OnnxNode, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """Return what goes before each axis, then what goes after each. Raises `Unsupported`."""
    if len(sizes) != len(kernel):
        raise Unsupported(f"over {len(sizes)} axes with a kernel of {list(kernel)}")
    pads = _pads(node, sizes, kernel, strides, dilations)
    if len(pads) != 2 * len(sizes) or min(pads) < 0:
        raise Unsupported(f"padding {list(pads)} of {len(sizes)} axes")
    return pads


def _pads(
    node: OnnxNode, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return node.integers("pads") or (0,) * (2 * len(sizes))
    if mode == "VALID":
        return (0,) * (2 * len(sizes))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {mode}")
    before, after = [], []
    for size, length, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = (-(-size // stride) - 1) * stride + dilation * (length - 1) + 1 - size
        if total < -1:  # ONNX Runtime crops the input there, others start at its first element
            raise Unsupported(f"auto_pad {mode} with a stride of {stride} beyond its kernel")
        total = max(0, total)
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return (*before, *after)


def lift_to_two_axes(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    """Return [B, C, L] as [B, C, 1, L]; [B, C, H, W] as it is."""
    shape = reader.shape(tensor)
    if len(shape) != 3:
        return tensor
    return reader.emit(node, "reshape", [tensor], {"shape": (*shape[:2], 1, shape[2])}, step="to_2d").output


def emit_windowed(
    reader: GraphReader, node: OnnxNode, op: str, inputs: list[str], attributes: dict[str, Attribute], *, rank: int
) -> None:
    """Emit a convolution or pooling on [B, C, H, W] and bind its result, dropped to [B, C, L] where `rank` is 1."""
    if rank == 2:
        reader.bind_result(node, reader.emit(node, op, inputs, attributes))
        return
    made = reader.emit(node, op, inputs, attributes, step="in_2d")
    batch, channels, _, length = reader.shape(made.output)
    reader.bind_result(node, reader.emit(node, "reshape", [made.output], {"shape": (batch, channels, length)}))
    if made.is_mvm:
        made.hints = {**made.hints, "node": node.name}
