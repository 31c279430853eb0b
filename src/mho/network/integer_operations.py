"""How each digital operation is computed on integers: of operation `x` by `lower_x`.

What has no function of its own moves numbers, or is a function of one number and becomes a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_float, get_int, get_ints
from mho.arithmetic.fixed_point import FixedPoint, to_fixed_point
from mho.arithmetic.integers import FINE_POWERS, TABLE_BITS
from mho.arithmetic.limits import LARGEST_INTEGER
from mho.arithmetic.operations import OPERATIONS
from mho.network.digital_grids import MOST_ROWS, CentredGrid, passes_grid
from mho.network.graph import Attribute, Node

if TYPE_CHECKING:
    from mho.network.integer_lowering import Lowering
    from mho.network.rms_norms import RmsNorm

_ONE = 1 << 30
_NORMAL = 1 << 20


def _emit(
    lowering: Lowering, node: Node, op: str, inputs: tuple[str, ...], attributes: Mapping[str, Attribute],
    grid: CentredGrid | None = None,
) -> None:  # fmt: skip
    """Add the integer operation that stands for a node, on the grid of its result."""
    grid = grid or lowering.planned[node.output]
    output = lowering.name_result(node.output)
    lowering.add(
        Node(lowering.name_node(node.name), op, inputs, output, attributes), lowering.source.shapes[node.output], grid
    )
    lowering.bind(node.output, output, grid)


def _result(grid: CentredGrid, shift: int) -> dict[str, Attribute]:
    return {"shift": shift, "low": grid.low, "high": grid.high}


def _fixed(lowering: Lowering, node: Node, factors: Any, largest: Any, offsets: Any = 0.0) -> FixedPoint:
    fixed = to_fixed_point(factors, largest, offsets)
    if fixed is None:
        what = f"factors of up to {np.abs(factors).max():.3g} are beyond 32-bit multipliers"
        raise lowering.unsupported(node.name, what)
    return fixed


def _split(lowering: Lowering, node: Node) -> tuple[list[str], list[NDArray[np.float64]]]:
    """Return the operands that are tensors, and those that are constants."""
    tensors = [name for name in node.inputs if not lowering.is_constant(name)]
    constants = [lowering.source.constants[name].astype(np.float64) for name in node.inputs if name not in tensors]
    return tensors, constants


def _affine(lowering: Lowering, node: Node, factors: Any, offsets: Any) -> None:
    """One tensor times constants plus constants, real numbers that broadcast to it."""
    (name,), _ = _split(lowering, node)
    held, own = lowering.find(name)
    grid, output = lowering.planned[node.output], lowering.name_result(node.output)
    shape = lowering.source.shapes[node.output]
    if lowering.shapes[held] != shape:  # the constant is larger
        label = lowering.name_node(f"{node.name}.expand")
        held = lowering.add(Node(label, "expand", (held,), f"{output}.operand", {"shape": shape}), shape, own)
    scaled, moved = np.asarray(factors) * (own.scale / grid.scale), np.asarray(offsets) / grid.scale
    # An offset beyond it, such as a mask's infinity, gives the end of the range whatever it is added to.
    decisive = float(np.abs(scaled).max(initial=0)) * own.reach + grid.high - grid.low + 1
    moved = moved.clip(-decisive, decisive)
    lowering.bind(node.output, lowering.scale(node.name, held, own, scaled, moved, grid, output), grid)


def _sum(lowering: Lowering, node: Node) -> None:
    tensors, constants = _split(lowering, node)
    sign = -1 if node.op == "sub" else 1
    if constants:
        first_is_constant = lowering.is_constant(node.inputs[0])
        _affine(lowering, node, sign if first_is_constant else 1, constants[0] * (1 if first_is_constant else sign))
        return
    held = [lowering.find(name) for name in tensors]
    grid = lowering.planned[node.output]
    factors = [sign**number * own.scale / grid.scale for number, (_, own) in enumerate(held)]
    fixed = _fixed(lowering, node, factors, [len(held) * own.reach for _, own in held])
    multipliers = tuple(int(one) for one in fixed.multipliers)
    attributes: dict[str, Attribute] = {"multipliers": multipliers, **_result(grid, fixed.shift)}
    _emit(lowering, node, "int_add", tuple(name for name, _ in held), attributes)


def _product(lowering: Lowering, node: Node) -> None:
    tensors, constants = _split(lowering, node)
    if constants:
        _affine(lowering, node, constants[0], 0.0)
        return
    (first, one), (second, other) = (lowering.find(name) for name in tensors)
    grid = lowering.planned[node.output]
    fixed = _fixed(lowering, node, one.scale * other.scale / grid.scale, one.reach * other.reach)
    attributes: dict[str, Attribute] = {"multiplier": int(fixed.multipliers), **_result(grid, fixed.shift)}
    _emit(lowering, node, "int_mul", (first, second), attributes)


def _quotient(lowering: Lowering, node: Node) -> None:
    numerator, denominator = node.inputs
    if lowering.is_constant(denominator):
        divisors = lowering.source.constants[denominator].astype(np.float64)
        if not divisors.all():
            raise lowering.unsupported(node.name, "a division by a constant that holds 0")
        _affine(lowering, node, 1 / divisors, 0.0)
        return
    first, one = _numerator(lowering, numerator)
    second, other = lowering.find(denominator)
    grid = lowering.planned[node.output]
    # Twice the numerator and the shifted denominator each stay within 2^61.
    fixed = _fixed(lowering, node, one.scale / (other.scale * grid.scale), 2 * one.reach, other.reach)
    attributes: dict[str, Attribute] = {"multiplier": int(fixed.multipliers), **_result(grid, fixed.shift)}
    _emit(lowering, node, "int_div", (first, second), attributes)


def _numerator(lowering: Lowering, name: str) -> tuple[str, CentredGrid]:
    """Return the integers of a numerator; of a constant, up to 2^20."""
    if not lowering.is_constant(name):
        return lowering.find(name)
    largest = float(np.abs(lowering.source.constants[name]).max(initial=0)) or 1.0
    grid = CentredGrid(largest / LARGEST_INTEGER, -LARGEST_INTEGER, LARGEST_INTEGER)
    return _constant_on(lowering, name, grid), grid


def _batch_norm(lowering: Lowering, node: Node) -> None:
    scale, bias, mean, variance = (lowering.source.constants[name].astype(np.float64) for name in node.inputs[1:])
    factor = scale / np.sqrt(variance + get_float(node.attributes, "epsilon"))
    shape = [-1] + [1] * (len(lowering.source.shapes[node.output]) - 1 - get_int(node.attributes, "axis"))
    _affine(lowering, node, factor.reshape(shape), (bias - mean * factor).reshape(shape))


def _layer_norm(lowering: Lowering, node: Node) -> None:
    axis, epsilon = get_int(node.attributes, "axis"), get_float(node.attributes, "epsilon")
    _normalize(lowering, node, "int_layer_norm", node.inputs[0], axis, epsilon, node.inputs[1:])


def lower_rms_norm(lowering: Lowering, node: Node, norm: RmsNorm) -> None:
    """Lower a normalization that ends in a node: as a layer's, but without the mean."""
    parameters = (norm.scale,) if norm.scale else ()
    _normalize(lowering, node, "int_rms_norm", norm.source, norm.axis, norm.epsilon, parameters)


def _normalize(
    lowering: Lowering, node: Node, op: str, source: str, axis: int, real_epsilon: float, parameters: Sequence[str]
) -> None:
    """Normalize over the axes from `axis` on; parameters are a scale and a bias, as far as there are any."""
    held, own = lowering.find(source)
    grid = lowering.planned[node.output]
    shape = lowering.shapes[held][axis:]
    count = math.prod(shape)
    constants = [lowering.source.constants[name].astype(np.float64) for name in parameters]
    given: list[Any] = [*constants, *(1.0, 0.0)[len(constants) :]]
    scale, bias = (np.broadcast_to(one, shape) for one in given)
    epsilon = round(real_epsilon * count**2 / own.scale**2)
    if 2 * count * own.reach >= 1 << 31 or epsilon > 1 << 61:
        raise lowering.unsupported(node.name, f"{count:,} numbers of up to {own.reach:,} are beyond 64-bit sums")
    largest = (math.isqrt(count) + 1) * _NORMAL
    fixed = _fixed(lowering, node, scale / (_NORMAL * grid.scale), largest, bias / grid.scale)
    output = lowering.name_result(node.output)
    multiplier = lowering.constant(f"{output}.multiplier", fixed.multipliers)
    offset = lowering.constant(f"{output}.offset", fixed.offsets)
    attributes: dict[str, Attribute] = {"axis": axis, "epsilon": epsilon, **_result(grid, fixed.shift)}
    _emit(lowering, node, op, (held, multiplier, offset), attributes)


def _softmax(lowering: Lowering, node: Node) -> None:
    held, own = lowering.find(node.inputs[0])
    grid, output = lowering.planned[node.output], lowering.name_result(node.output)
    blocks = (own.high - own.low) // FINE_POWERS + 1
    tables = (own.scale * np.arange(FINE_POWERS), own.scale * FINE_POWERS * np.arange(blocks))
    names = tuple(
        lowering.constant(f"{output}.{label}", np.rint(_ONE * np.exp(-table)).astype(np.int32))
        for label, table in zip(("fine", "coarse"), tables, strict=True)
    )
    fixed = _fixed(lowering, node, 1 / (_ONE * grid.scale), _ONE)
    attributes: dict[str, Attribute] = {"axis": get_int(node.attributes, "axis"), "multiplier": int(fixed.multipliers)}
    _emit(lowering, node, "int_softmax", (held, *names), attributes | _result(grid, fixed.shift))


def _average_pool(lowering: Lowering, node: Node) -> None:
    from mho.arithmetic.kernels.pooling import count_taps

    held, own = lowering.find(node.inputs[0])
    grid, output = lowering.planned[node.output], lowering.name_result(node.output)
    height, width = lowering.shapes[held][-2:]
    counts = count_taps((height, width), node.attributes)
    if (counts == counts[0, 0]).all():
        counts = counts[:1, :1]
    taps = math.prod(get_ints(node.attributes, "kernel"))
    fixed = _fixed(lowering, node, own.scale / (grid.scale * counts), taps * own.reach)
    multiplier = lowering.constant(f"{output}.multiplier", fixed.multipliers)
    _emit(lowering, node, "int_average_pool", (held, multiplier), {**node.attributes, **_result(grid, fixed.shift)})


def _embedding(lowering: Lowering, node: Node) -> None:
    """A table of the integers that a quantizer of float32 makes of its rows."""
    held, own = lowering.find(node.inputs[0])
    grid, table = lowering.planned[node.output], lowering.source.constants[node.inputs[1]]
    if own.scale != 1:
        raise lowering.unsupported(node.name, f"indices of an embedding on a grid of scale {own.scale:g}")
    if len(table) > MOST_ROWS:
        raise lowering.unsupported(node.name, f"a table of {len(table):,} rows, which are more than {MOST_ROWS:,}")
    rounded = np.rint(table.astype(np.float32) / np.float32(grid.scale)).clip(grid.low, grid.high)
    name = lowering.constant(f"{lowering.name_result(node.output)}.table", rounded.astype(np.int32))
    _emit(lowering, node, "int_embed", (held, name), {})


def _reduction(lowering: Lowering, node: Node) -> None:
    held, own = lowering.find(node.inputs[0])
    grid, axes = lowering.planned[node.output], get_ints(node.attributes, "axes")
    count = math.prod(lowering.shapes[held][axis] for axis in axes)
    factor = own.scale / grid.scale / (count if node.op == "reduce_mean" else 1)
    fixed = _fixed(lowering, node, factor, count * own.reach)
    attributes = {**node.attributes, "multiplier": int(fixed.multipliers), **_result(grid, fixed.shift)}
    _emit(lowering, node, "int_reduce_sum", (held,), attributes)


def _on_one_grid(lowering: Lowering, node: Node) -> None:
    """An operation that moves or compares numbers: its operands lie on the grid of its result."""
    takes_all = node.op in ("concat", "minimum", "maximum", "where")
    operands = node.inputs[: 2 if node.op == "where" else None] if takes_all else node.inputs[:1]
    grid = lowering.planned.get(node.output)
    if grid is None:
        found = [lowering.find(name)[1] for name in operands if not lowering.is_constant(name)]
        grid = found[0]
        if any(other != grid for other in found):
            raise lowering.unsupported(node.name, f"{node.op} of tensors on several grids, and none for its result")
    taken = tuple(
        lowering.take(name, grid) if not lowering.is_constant(name) else _constant_on(lowering, name, grid)
        for name in operands
    )
    rest = node.inputs[len(operands) :]
    if not all(lowering.is_constant(name) for name in rest):
        raise lowering.unsupported(node.name, f"{node.op} by a tensor that is computed")
    for name in rest:
        lowering.constants[name] = lowering.source.constants[name]
    attributes = dict(node.attributes)
    if node.op == "pad":
        attributes["value"] = float(_to_integers(np.float64(get_float(attributes, "value")), grid))
    _emit(lowering, node, node.op, (*taken, *rest), attributes, grid)


def _constant_on(lowering: Lowering, name: str, grid: CentredGrid) -> str:
    values = lowering.source.constants[name].astype(np.float64)
    return lowering.constant(f"{name}.integers", _to_integers(values, grid).astype(np.int32))


def _to_integers(values: Any, grid: CentredGrid) -> Any:
    return np.rint(np.clip(values / grid.scale, grid.low, grid.high)) + 0.0


def lower_other(lowering: Lowering, node: Node) -> None:
    """Lower what only moves numbers, or a function of one number: a table over at most 2^`TABLE_BITS` integers.

    Raises:
        UnsupportedOperationError: the operation is another one, and has no integer form; or it gives no number.
    """
    from mho.arithmetic.kernels.integers import evaluate_function

    record = OPERATIONS[node.op]
    if passes_grid(node):
        _on_one_grid(lowering, node)
        return
    if not record.is_elementwise or len(node.inputs) != 1:
        raise lowering.unsupported(node.name, f"operation {node.op} has no integer form")
    held, own = _narrow(lowering, *lowering.find(node.inputs[0]))
    grid, output = lowering.planned[node.output], lowering.name_result(node.output)
    values = (np.arange(own.low, own.high + 1) * own.scale).astype(np.float32)
    results = evaluate_function(record, node.attributes, values)
    if np.isnan(results).any():
        reach = f"{own.low * own.scale:.3g} to {own.high * own.scale:.3g}"
        raise lowering.unsupported(node.name, f"{node.op} is not a number for some of {reach}")
    table = lowering.constant(f"{output}.table", _to_integers(results, grid).astype(np.int32))
    _emit(lowering, node, "int_table", (held, table), {"first": own.low})


def _narrow(lowering: Lowering, held: str, own: CentredGrid) -> tuple[str, CentredGrid]:
    """Return integers of at most `TABLE_BITS` bits: every 2^k-th step of a wider grid."""
    bits = 0
    while (own.high >> bits) - (own.low >> bits) >= 1 << TABLE_BITS:
        bits += 1
    if not bits:
        return held, own
    grid = CentredGrid(own.scale * 2**bits, own.low >> bits, own.high >> bits)
    return lowering.rescale(held, own, grid), grid


lower_add = lower_sub = _sum
lower_mul = _product
lower_div = _quotient
lower_batch_norm = _batch_norm
lower_layer_norm = _layer_norm
lower_softmax = _softmax
lower_embed = _embedding
lower_average_pool = _average_pool
lower_reduce_mean = lower_reduce_sum = _reduction


def lower_neg(lowering: Lowering, node: Node) -> None:
    """Lower the change of a sign."""
    _affine(lowering, node, -1.0, 0.0)
