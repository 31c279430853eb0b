"""The memory that the tensors of a network take: what reading holds, and what one sample needs, known from shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import MemoryBudgetError
from mho.input_files import check_memory, memory_budget_bytes

FLOAT_BYTES = 4
_PASSES = 16
"""How often the budget's worth of constants may be gone through: folding takes time too."""


class TensorBudget:
    """Counts the arrays that are held while a network is read, each once, whatever looks at it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.held_bytes = 0
        self._passed_bytes = 0
        self._owners: dict[int, Any] = {}

    def check(self, size_bytes: int, what: str) -> None:
        """Refuse `size_bytes` more than is held. Raises `MemoryBudgetError`."""
        check_memory(self.held_bytes + size_bytes, f"{what}, with what is held before it,", where=self.where)

    def hold(self, array: NDArray[Any], what: str) -> None:
        """Count an array that stays. Raises `MemoryBudgetError`."""
        owner: Any = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) in self._owners:
            return
        self.check(owner.nbytes, what)
        self._owners[id(owner)] = owner  # kept, so that no other array gets its id
        self.held_bytes += owner.nbytes

    def compute(self, operand_bytes: int, result_bytes: int, what: str) -> None:
        """Count what is about to be computed from constants, with a step between. Raises `MemoryBudgetError`."""
        self.check(2 * result_bytes, what)
        self._passed_bytes += operand_bytes + result_bytes
        if self._passed_bytes > _PASSES * memory_budget_bytes():
            raise MemoryBudgetError(
                f"{what}: constants are computed from constants too often",
                where=self.where,
                expected=f"at most {_PASSES} times the memory budget in all",
                hint="fold constants when the network is exported",
            )


def float_bytes(shape: Sequence[int]) -> int:
    """Return what a float32 tensor of that shape takes."""
    return FLOAT_BYTES * math.prod(shape)


def check_sample(
    nodes: Iterable[tuple[str, Sequence[str], str]],
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, NDArray[Any]],
    outputs: Iterable[str],
    where: str,
) -> None:
    """Refuse a network whose constants, and the tensors of one sample that are needed at the same time, do not fit.

    Args:
        nodes: name, operands and result of each, in execution order.
        shapes: of every tensor that is not a constant.
        constants: those that are read.
        outputs: tensors that are kept to the end.
        where: the network.

    Raises:
        MemoryBudgetError: names the node at which most is needed.
    """
    nodes, kept = list(nodes), set(outputs)
    last_use = {tensor: index for index, (_, operands, _) in enumerate(nodes) for tensor in operands}
    made = {result for _, _, result in nodes}
    live = sum(float_bytes(shape) for tensor, shape in shapes.items() if tensor not in made)
    fixed = sum(
        array.size * (array.itemsize if array.dtype.kind in "iub" else FLOAT_BYTES) for array in constants.values()
    )
    most, at = live, ""
    for index, (name, operands, result) in enumerate(nodes):
        live += float_bytes(shapes[result])
        if live > most:
            most, at = live, name
        for tensor in {*operands, result} - kept:
            if tensor in shapes and last_use.get(tensor, index) == index:
                live -= float_bytes(shapes[tensor])
    check_memory(fixed + most, f"constants, and tensors of one sample at {at or 'the inputs'},", where=where)
