from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.errors import ProgramError
from mho.program.instructions import Affine, LoadInput, ShiftAdd, Span, WriteTile
from mho.program.layer_content import TileUse
from mho.simulation.tile_loops import count_matrices, list_addresses, split_loops, turns

STEPS, GROUPS, ROWS, COLS = ("step", 4), ("group", 3), ("y", 5), ("x", 2)


def make_use(loops, *, index=(), address=(), load_shift=None, add_shift=None):
    load_shift = load_shift or Affine(0)
    write = WriteTile(0, "cells", Affine(0, index), Span(0, 2), Span(0, 2))
    load = LoadInput(0, "codes", Affine(0, address), "offsets", "signs", "shifts", Span(0, 2), load_shift, 2)
    add = ShiftAdd(0, "sums", Affine(0, address), "places", "weights", Span(0, 2), add_shift or load_shift)
    return TileUse(write, load, add, loops)


@st.composite
def loop_nests(draw):
    """Draw loops with values of some other variables, and an address of both."""
    names = ["a", "b", "c", "d"]
    loops = tuple((name, draw(st.integers(1, 4))) for name in names[: draw(st.integers(0, 3))])
    values = {name: draw(st.integers(0, 5)) for name in names[len(loops) :]}
    strides = tuple((name, draw(st.integers(-9, 9))) for name in names if draw(st.booleans()))
    return loops, values, Affine(draw(st.integers(-50, 50)), strides)


@given(loop_nests())
def test_addresses_are_those_of_every_turn_innermost_loop_fastest(nest):
    loops, values, address = nest
    names = [name for name, _ in loops]
    every = [dict(zip(names, turn, strict=True)) for turn in itertools.product(*(range(count) for _, count in loops))]
    assert list(turns(loops)) == every
    assert list_addresses(address, values, loops).tolist() == [address.at({**values, **turn}) for turn in every]


def test_loops_are_steps_matrices_and_windows_in_their_order():
    use = make_use(
        (GROUPS, ROWS, STEPS, COLS),
        index=(("group", 1), ("x", 0)),
        address=(("group", 50), ("y", 10), ("x", 1)),
        load_shift=Affine(0, (("step", 2),)),
    )
    assert split_loops(use, "conv") == ((STEPS,), (GROUPS,), (ROWS, COLS))
    assert count_matrices(use) == 3
    assert count_matrices(make_use((ROWS, COLS), address=(("y", 10), ("x", 1)))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"load_shift": Affine(0, (("step", 2), ("y", 1)))},
        {"load_shift": Affine(0, (("group", 2),)), "index": (("group", 1),)},
        {"load_shift": Affine(0, (("y", 2),)), "address": (("y", 10),)},
        {"load_shift": Affine(0, (("step", 2),)), "add_shift": Affine(0, (("step", 4),))},
        {"load_shift": Affine(1, (("step", 2),))},
    ],
)
def test_steps_that_are_no_loop_of_their_own_are_refused(changes):
    with pytest.raises(ProgramError, match="steps of input slices") as caught:
        split_loops(make_use((GROUPS, ROWS, STEPS), **changes), "conv")
    assert "layer conv" in str(caught.value)
