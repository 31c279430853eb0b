"""Every operation by name: what the nodes of a `Network` may be. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mho.arithmetic import elementwise, integers, movement, normalizations, pooling, products, reductions
from mho.arithmetic.attributes import Attributes, Shape
from mho.arithmetic.operation import Operation

_FAMILIES = (products, elementwise, normalizations, pooling, reductions, movement, integers)

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {operation.name: operation for family in _FAMILIES for operation in family.OPERATIONS}
)
"""Every operation by name."""


def infer_shape(op: str, shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    """Return the per-sample output shape of operation `op`; see `Operation.infer_shape`. `KeyError` for an unknown."""
    return OPERATIONS[op].infer_shape(shapes, attributes)
