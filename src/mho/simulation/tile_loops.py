"""Which turns of a tile's loops are steps of input slices, which meet another matrix, and which are windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mho.errors import ProgramError
from mho.program.instructions import Affine, WriteTile
from mho.program.layer_content import Loops, TileUse, Write

Integers = NDArray[np.int64]


def count_matrices(use: TileUse) -> int:
    """Return in how many turns of its loops a tile holds another matrix."""
    variables = _variables(_matrix(use.write))
    return math.prod(count for variable, count in use.loops if variable in variables)


def _matrix(write: Write) -> Affine:
    """Return what distinguishes the matrices of a write: their number, or where their codes lie."""
    return write.index if isinstance(write, WriteTile) else write.address


def split_loops(use: TileUse, layer: str) -> tuple[Loops, Loops, Loops]:
    """Return the loops over steps, matrices and windows.

    Raises:
        ProgramError: a loop is two of them, or there are several over steps.
    """
    in_shift = _variables(use.load.shift) | _variables(use.add.shift)
    in_index = _variables(_matrix(use.write))
    in_address = _variables(use.load.address) | _variables(use.add.address)
    steps = tuple(loop for loop in use.loops if loop[0] in in_shift)
    if len(steps) > 1 or in_shift & (in_index | in_address) or use.load.shift != use.add.shift or use.load.shift.base:
        raise ProgramError("steps of input slices are not a loop of their own", where=f"layer {layer}")
    matrices = tuple(loop for loop in use.loops if loop[0] in in_index)
    return steps, matrices, tuple(loop for loop in use.loops if loop[0] not in in_shift | in_index)


def _variables(address: Affine) -> set[str]:
    return {variable for variable, stride in address.strides if stride}


def turns(loops: Loops) -> Iterator[dict[str, int]]:
    """Yield the values of the variables in every turn, outermost loop slowest."""
    names = [variable for variable, _ in loops]
    for values in itertools.product(*(range(count) for _, count in loops)):
        yield dict(zip(names, values, strict=True))


def list_addresses(address: Affine, values: Mapping[str, int], loops: Loops) -> Integers:
    """Return an address in every turn of `loops`, int64 [turns], for given values of other variables."""
    strides = dict(address.strides)
    fixed = replace(address, strides=tuple(pair for pair in address.strides if pair[0] in values))
    total = np.full(1, fixed.at(values), dtype=np.int64)
    for variable, count in loops:
        total = (total[:, None] + np.arange(count, dtype=np.int64) * strides.get(variable, 0)).reshape(-1)
    return total
