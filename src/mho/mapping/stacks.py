"""Layers that follow each other in one crossbar, written at once: which ones, and how much of it each takes.

Consecutive layers that each lie in a single tile of weights may be stacked in one crossbar, above each other or beside
each other; the first of them writes it, and each later drives its own rows and counts its own columns. A layer in a
stack may take another mapping than by itself: one that is read a little longer but leaves space for its neighbours.
Layers of more tiles and products that are stored in crossbars end a stack; products on the digital unit do not.

Rows (and columns) are handed out in units, see `StackSpace`. All stacks and all mappings of the layers in them are
compared, by dynamic programming along the layers: the least time in which the layers so far are done and the stack that
the last of them lies in takes at most so many units. Times are relative to those of layers by themselves, so that a
stack pays where they are negative; a layer that loses a whole write in a stack never pays and does not enter.

The same steps serve one policy, whose stacks are wanted, and thousands, whose times are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Crossbar

Array = NDArray[np.int64]
Index = tuple[Array, ...]

UNITS = 16
"""Units of rows or columns that a crossbar is cut into at most: more gained nothing on the networks of the examples."""

NEVER = 1 << 60
"""Instead of a time, ps: in no way."""


class Axis(IntEnum):
    """Where the tiles of a stack follow each other: above each other, or beside each other."""

    ROWS = 0
    COLS = 1


@dataclass(frozen=True)
class StackSpace:
    """How the lines of a crossbar are handed out to the layers of a stack.

    Attributes:
        crossbar: whose rows and columns.
    """

    crossbar: Crossbar

    def lines(self, axis: Axis) -> int:
        """Return the crossbar's rows or columns."""
        return self.crossbar.rows if axis is Axis.ROWS else self.crossbar.cols

    def unit(self, axis: Axis) -> int:
        """Return the lines of one unit."""
        return -(-self.lines(axis) // UNITS)

    def count(self, axis: Axis) -> int:
        """Return how many whole units there are."""
        return self.lines(axis) // self.unit(axis)

    def size(self, axis: Axis, units: int) -> tuple[int, int]:
        """Return the rows and columns that a layer may take which is given so many units."""
        lines = units * self.unit(axis)
        return (lines, self.crossbar.cols) if axis is Axis.ROWS else (self.crossbar.rows, lines)


@dataclass(frozen=True, eq=False)
class StackTimes:
    """What layers take in a stack, at one or many policies [...].

    Attributes:
        extra_ps: int64 [..., axes, UNITS + 1], reads in a stack with at most so many units, less the whole time by
            itself; `NEVER` where that is not below a write or does not fit.
        is_transparent: bool [...]: by itself nothing lies on crossbars, and what does stays.
    """

    extra_ps: Array
    is_transparent: NDArray[np.bool_]

    @classmethod
    def never(cls, *, is_transparent: bool) -> StackTimes:
        """Return what a layer takes that enters no stack, at one policy."""
        return cls(np.full((1, len(Axis), UNITS + 1), NEVER, np.int64), np.array([is_transparent]))

    @classmethod
    def stack(cls, stack_times: Sequence[StackTimes]) -> StackTimes:
        """Join several along a new first axis."""
        return cls(
            np.stack([one.extra_ps for one in stack_times]), np.stack([one.is_transparent for one in stack_times])
        )

    @classmethod
    def interleave(cls, stack_times: Sequence[StackTimes]) -> StackTimes:
        """Join several [..., N] to [..., N * several]: the last axis of policies falls apart into N and these."""
        extra = np.stack([one.extra_ps for one in stack_times], axis=-3)
        is_transparent = np.stack([one.is_transparent for one in stack_times], axis=-1)
        *outer, last, count = is_transparent.shape
        shape = (*outer, last * count)
        return cls(extra.reshape(*shape, *extra.shape[-2:]), is_transparent.reshape(shape))

    @cached_property
    def useful_units(self) -> tuple[int, ...]:
        """Numbers of units from which some policy gains: with one unit less the layer takes longer."""
        is_less = self.extra_ps[..., 1:] < self.extra_ps[..., :-1]
        return tuple((np.flatnonzero(is_less.any(axis=tuple(range(is_less.ndim - 1)))) + 1).tolist())

    @property
    def can_share(self) -> bool:
        """True where the layer may enter a stack in some policy."""
        return bool(self.useful_units)


@dataclass(frozen=True)
class StackSlot:
    """The place of a layer in a stack.

    Attributes:
        writer: number of the first layer of the stack, which writes it.
        axis: along which tiles follow each other.
        start, units: what it takes of it.
    """

    writer: int
    axis: Axis
    start: int
    units: int


@dataclass(frozen=True, eq=False)
class _State:
    """What is known before a layer, for policies [N]; relative to the times of layers by themselves, ps.

    Attributes:
        done: int64 [N], the least time of all layers before.
        open: int64 [N, axes, UNITS + 1], the least where the last of them lies in a stack that takes at most so many
            units.
    """

    done: Array
    open: Array

    @classmethod
    def first(cls, policies: int) -> _State:
        return cls(np.zeros(policies, np.int64), np.full((policies, len(Axis), UNITS + 1), NEVER, np.int64))

    def opened(self, write_ps: int) -> Array:
        """Return the same as `open` where the next layer may also begin a stack."""
        return np.minimum(self.open, (self.done + write_ps)[:, None, None])


def saved_times_ps(layers: Sequence[StackTimes], chosen: Sequence[Index], write_ps: int, space: StackSpace) -> Array:
    """Return what the best stacks save of the sum of the layers' times, int64 [N], at least 0.

    Args:
        layers: in execution order.
        chosen: for each layer, what N policies take: indices of the first axes of its stack_times.
        write_ps: time of one write.
        space: of the crossbar.
    """
    *_, last = _walk(layers, chosen, write_ps, space)
    return -last.done


def choose_stacks(layers: Sequence[StackTimes], write_ps: int, space: StackSpace) -> list[StackSlot | None]:
    """Choose the best stacks: where each layer lies; None for layers by themselves.

    Args:
        layers: in execution order, each for a single policy: arrays have a first axis of 1.
        write_ps: time of one write.
        space: of the crossbar.
    """
    states = list(_walk(layers, [(np.zeros(1, np.int64),)] * len(layers), write_ps, space))
    slots: list[StackSlot | None] = [None] * len(layers)
    number = len(layers)
    while number:
        number -= 1
        ended = int(states[number + 1].done[0])
        if ended < int(states[number].done[0]):
            axis = next(one for one in Axis if states[number + 1].open[0, one, space.count(one)] == ended)
            stack = _trace_back(layers, states, number, axis, write_ps, space)
            start, number = 0, stack[-1][0]
            for member, units in reversed(stack):
                slots[member] = StackSlot(number, axis, start, units)
                start += units
    return slots


def _trace_back(
    layers: Sequence[StackTimes], states: list[_State], number: int, axis: Axis, write_ps: int, space: StackSpace
) -> list[tuple[int, int]]:
    """Return the layers of the stack that ends with layer `number`, the last one first, with their units."""
    stack: list[tuple[int, int]] = []
    left = space.count(axis)
    for member in range(number, -1, -1):
        time, before = int(states[member + 1].open[0, axis, left]), states[member].opened(write_ps)[0, axis]
        if layers[member].is_transparent[0] and states[member].open[0, axis, left] == time:
            continue
        extra = layers[member].extra_ps[0, axis]
        units = next(units for units in range(left + 1) if before[left - units] + extra[units] == time)
        stack.append((member, units))
        left -= units
        if states[member].open[0, axis, left] >= states[member].done[0] + write_ps:
            return stack
    raise AssertionError("a stack begins with its first layer")


def _walk(layers: Sequence[StackTimes], chosen: Sequence[Index], write_ps: int, space: StackSpace) -> Iterator[_State]:
    """Yield what is known before each layer, and after the last."""
    state = _State.first(len(chosen[0][0]))
    yield state
    for layer, index in zip(layers, chosen, strict=True):
        opened, following = state.opened(write_ps), np.full_like(state.open, NEVER)
        extra_ps, is_transparent = layer.extra_ps[index], layer.is_transparent[index]
        for units in layer.useful_units:
            times = opened[..., : UNITS + 1 - units] + extra_ps[..., units, None]
            np.minimum(following[..., units:], times, out=following[..., units:])
        if is_transparent.any():
            following = np.where(is_transparent[:, None, None], np.minimum(state.open, following), following)
        ends = [following[:, axis, space.count(axis)] for axis in Axis]
        state = _State(np.minimum.reduce([state.done, *ends]), following)
        yield state
