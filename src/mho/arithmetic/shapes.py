"""What shapes of operands follow: broadcasting and windows; pure integers.

A rule takes the shapes of the operands (activations without their sample axis, constants as they are) and the node's
attributes, and returns the shape of the output. A `ShapeError` says what does not fit; the reader adds the node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mho.arithmetic.attributes import Attributes, Shape, get_ints

_LARGEST = (1 << 31) - 1
"""Of what describes windows: kernels of processors count in 32 bits."""

_MAX_TAPS = 1 << 14
"""Elements of a window: they are enumerated, and take lines of code each in a program."""


class ShapeError(ValueError):
    """Operands' shapes do not fit the operation."""


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that `shapes` broadcast to by NumPy's rules. Raises `ShapeError`."""
    rank = max((len(shape) for shape in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, start=rank - len(shape)):
            if size != 1 and result[axis] not in (1, size):
                raise ShapeError(f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast")
            result[axis] = size if size != 1 else result[axis]
    return tuple(result)


def window_extent(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int, ceil: bool) -> int:
    """Return how many windows fit along one axis of a convolution or pooling.

    With `ceil` a last, partly empty window counts if it starts inside the input or its leading padding (ONNX).
    """
    if min(kernel, stride, dilation) < 1 or min(pads) < 0:
        raise ShapeError(f"a window of {kernel} with stride {stride}, dilation {dilation} and padding {list(pads)}")
    room = size + sum(pads) - dilation * (kernel - 1) - 1
    if room < 0:
        raise ShapeError(f"a window of {dilation * (kernel - 1) + 1} does not fit {size} + padding {sum(pads)}")
    extent = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (extent - 1) * stride >= size + pads[0]:
        extent -= 1
    return extent


def infer_broadcast(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Elementwise on several operands: their broadcast shape."""
    del attributes
    return broadcast(*shapes)


def window_counts(sizes: Sequence[int], attributes: Attributes, *, ceil: bool) -> Shape:
    """Return how many windows of `kernel`, `strides`, `pads` and `dilations` fit along both axes of `sizes`."""
    kernel, strides = get_ints(attributes, "kernel"), get_ints(attributes, "strides")
    pads, dilations = get_ints(attributes, "pads"), get_ints(attributes, "dilations")
    if (len(kernel), len(strides), len(pads), len(dilations)) != (2, 2, 4, 2):
        raise ShapeError(f"kernel {kernel}, strides {strides}, pads {pads}, dilations {dilations} over two axes")
    if max(*kernel, *strides, *pads, *dilations) > _LARGEST or math.prod(kernel) > _MAX_TAPS:
        raise ShapeError(f"kernel {list(kernel)}, strides {list(strides)}, pads {list(pads)}: at most {_MAX_TAPS} taps")
    return tuple(
        window_extent(sizes[i], kernel[i], strides[i], (pads[i], pads[i + 2]), dilations[i], ceil) for i in range(2)
    )
