"""Shapes that do not fit are found before anything is computed."""

from __future__ import annotations

import pytest

from mho.arithmetic.operations import infer_shape
from mho.arithmetic.shapes import ShapeError, broadcast, window_extent


def test_broadcasting_follows_numpy() -> None:
    assert broadcast((1, 3, 1), (4, 1, 5), (5,)) == (4, 3, 5)
    with pytest.raises(ShapeError, match="do not broadcast"):
        broadcast((3,), (4,))


def test_a_last_window_that_starts_in_the_padding_behind_does_not_count() -> None:
    assert window_extent(4, 1, 2, (0, 1), 1, ceil=True) == 2
    assert window_extent(5, 2, 2, (0, 0), 1, ceil=True) == 3
    assert window_extent(5, 2, 2, (0, 0), 1, ceil=False) == 2
    with pytest.raises(ShapeError, match="does not fit"):
        window_extent(2, 3, 1, (0, 0), 1, ceil=False)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes"),
    [
        ("linear", [(1, 5), (3, 4)], {}),
        ("linear", [(1, 4), (3, 4), (4,)], {}),
        ("matmul", [(2, 3, 4), (1, 4, 5)], {}),
        ("reshape", [(2, 3)], {"shape": (4, 2)}),
        ("transpose", [(2, 3)], {"perm": (0, 0)}),
        ("concat", [(1, 2), (2, 2)], {"axis": 1}),
        ("expand", [(2,)], {"shape": (3,)}),
        (
            "conv",
            [(1, 3, 8, 8), (4, 2, 3, 3)],
            {"kernel": (3, 3), "strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "groups": 1},
        ),
    ],
)
def test_operands_that_do_not_fit_are_refused(op: str, shapes: list[tuple[int, ...]], attributes: dict) -> None:
    with pytest.raises(ShapeError):
        infer_shape(op, shapes, attributes)
