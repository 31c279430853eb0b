"""What the rules of `mho.program.verify` share: where they are, what has been made, and how names are looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from mho.arithmetic.limits import LARGEST_INTEGER
from mho.errors import ProgramError
from mho.program.instructions import Affine, Span
from mho.program.program import Buffer, BufferKind, Program


@dataclass(frozen=True)
class Rectangle:
    """Cells of a crossbar that hold a tile."""

    top: int
    bottom: int
    left: int
    right: int

    def overlaps(self, other: Rectangle) -> bool:
        """Return whether the two have a cell in common."""
        return (
            self.top < other.bottom and other.top < self.bottom and self.left < other.right and other.left < self.right
        )


@dataclass
class Checker:
    """A program on its way through verification.

    Attributes:
        program: what is verified.
        made: buffers that hold something by now.
        where: the layer or instruction that is looked at, for errors.
        counts: turns of the enclosing loops, by variable.
        blocks: the tiles of the last write, by crossbar.
        driven: signs of the rows that are driven, by crossbar.
        checked: constants of cells that have been looked through.
    """

    program: Program
    made: set[str]
    where: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    blocks: dict[int, list[Rectangle]] = field(default_factory=dict)
    driven: dict[int, Any] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    def fail(self, what: str, expected: str = "") -> NoReturn:
        """Raise `ProgramError`."""
        raise ProgramError(what, where=self.where, expected=expected, hint="the program is damaged")

    def buffer(self, name: str, kind: BufferKind, *, is_read: bool) -> Buffer:
        """Return a buffer of a kind, which must have been made where it is read."""
        buffer = self.program.buffers.get(name)
        if buffer is None or buffer.kind is not kind:
            self.fail(f"{name!r} is no buffer of kind {kind.value}")
        if not buffer.is_tensor and len(buffer.shape) != 1:
            self.fail(f"{name!r} has shape {buffer.shape}", "one axis")
        if is_read and name not in self.made:
            self.fail(f"{name!r} is read before it is made")
        return buffer

    def tensor(self, name: str, *, is_read: bool) -> Buffer:
        """Return a buffer that holds a tensor of the digital unit, which must have been made where it is read."""
        held = self.program.buffers.get(name)
        kind = held.kind if held is not None and held.is_tensor else BufferKind.FLOAT
        return self.buffer(name, kind, is_read=is_read)

    def constant(self, name: str, rank: int, kinds: str = "iu") -> Any:
        """Return a constant that is not empty, of integers that fit int64 or of float32."""
        array = self.program.constants.get(name)
        if array is None or array.ndim != rank or array.dtype.kind not in kinds or not array.size:
            self.fail(f"{name!r} is no constant of rank {rank} and the right type")
        if array.dtype == np.uint64 or (array.dtype.kind == "f" and array.dtype != np.float32):
            self.fail(f"{name!r} is of type {array.dtype}", "int64, float32 or integers of fewer bits")
        return array

    def small(self, name: str, rank: int, most: int) -> Any:
        """Return a constant of integers of magnitude `most` at most."""
        array = self.constant(name, rank)
        if int(array.min()) < -most or int(array.max()) > most:
            self.fail(f"{name!r} holds {int(array.min())}..{int(array.max())}", f"within +-{most}")
        return array

    def check_integers(self, *integers: int) -> None:
        """Check integers that codes are made of: so small that float32 and int64 hold what engines make of them."""
        if max(map(abs, integers)) > LARGEST_INTEGER:
            self.fail(f"integers {', '.join(map(str, integers))}", f"within +-{LARGEST_INTEGER}")

    def make(self, name: str) -> None:
        """Note that a tensor is made, which may happen once."""
        self.tensor(name, is_read=False)
        if name in self.made:
            self.fail(f"{name!r} is made twice")
        self.made.add(name)

    def part(self, name: str, span: Span) -> Any:
        """Return a range of a constant with one axis."""
        array = self.constant(name, 1)
        if span.stop > array.size:
            self.fail(f"{span.start}..{span.stop} lies outside of {name!r}", f"within 0..{array.size}")
        return array[span.start : span.stop]

    def signs(self, name: str, span: Span) -> Any:
        """Return a range of a constant that holds +1 and -1."""
        signs = self.part(name, span)
        if not ((signs == 1) | (signs == -1)).all():
            self.fail("a sign that is not +1 or -1")
        return signs

    def bounds(self, address: Affine) -> tuple[int, int]:
        """Return the smallest and largest value of an address in the enclosing loops."""
        variables = [variable for variable, _ in address.strides]
        if unknown := [variable for variable in variables if variable not in self.counts]:
            self.fail(f"no loop runs over {unknown[0]!r}")
        if len(set(variables)) < len(variables):
            self.fail("an address names a variable twice")
        return address.bounds(self.counts)

    def require_within(self, address: Affine, offsets: Any, size: int, what: str) -> None:
        """Check that an address, and offsets from it if there are any, lie within a buffer of a size."""
        low, high = self.bounds(address)
        first, last = (int(np.min(offsets)), int(np.max(offsets))) if np.size(offsets) else (0, 0)
        if low + first < 0 or high + last >= size:
            self.fail(f"{what}: addresses {low + first}..{high + last}", f"within 0..{size - 1}")
