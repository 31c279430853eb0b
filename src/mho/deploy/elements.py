"""How a device holds numbers: the narrowest type that fits, cells packed, equal numbers once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Element(Enum):
    """Type of the elements of a buffer or constant: number in an image, bits of one."""

    F32 = (0, 32)
    U8 = (1, 8)
    I8 = (2, 8)
    U16 = (3, 16)
    I16 = (4, 16)
    I32 = (5, 32)
    I64 = (6, 64)
    B1 = (7, 1)
    """Cells of one bit: row by row, each row to whole bytes, the first cell in the lowest bits."""
    B2 = (8, 2)
    B4 = (9, 4)

    @property
    def number(self) -> int:
        """Which one it is in an image."""
        return self.value[0]

    @property
    def bits(self) -> int:
        """How large one element is."""
        return self.value[1]

    @property
    def size_bytes(self) -> int:
        """How large one element is; not for packed cells."""
        return self.bits // 8


_INTEGERS = (
    (Element.U8, 0, 2**8 - 1),
    (Element.I8, -(2**7), 2**7 - 1),
    (Element.U16, 0, 2**16 - 1),
    (Element.I16, -(2**15), 2**15 - 1),
    (Element.I32, -(2**31), 2**31 - 1),
    (Element.I64, -(2**63), 2**63 - 1),
)
_DTYPES = {
    Element.F32: "<f4", Element.U8: "<u1", Element.I8: "<i1", Element.U16: "<u2", Element.I16: "<i2",
    Element.I32: "<i4", Element.I64: "<i8",
}  # fmt: skip


def narrowest(low: int, high: int) -> Element:
    """Return the narrowest integer type that holds low..high."""
    return next(element for element, least, most in _INTEGERS if least <= low and high <= most)


@dataclass(frozen=True, eq=False)
class DeviceConstant:
    """A constant as an image holds it.

    Attributes:
        element: type of its elements.
        count: elements.
        is_uniform: True where all are equal, and one is held.
        rows, cols: of one matrix of cells; 0 elsewhere.
        content: little-endian.
    """

    element: Element
    count: int
    is_uniform: bool
    rows: int
    cols: int
    content: bytes


def encode_numbers(array: NDArray[Any]) -> DeviceConstant:
    """Encode float32, whole numbers or truth values."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype.kind == "f":
        element, bits = Element.F32, flat.astype(np.float32).view(np.uint32)
        is_uniform = bool(flat.size > 1 and (bits == bits[0]).all())
    else:
        element = narrowest(int(flat.min(initial=0)), int(flat.max(initial=0)))
        is_uniform = bool(flat.size > 1 and (flat == flat[0]).all())
    held = flat[:1] if is_uniform else flat
    return DeviceConstant(element, flat.size, is_uniform, 0, 0, held.astype(_DTYPES[element]).tobytes())


def encode_cells(array: NDArray[Any], unit: int = 0) -> DeviceConstant:
    """Encode matrices of cells [tiles, rows, cols], packed so that columns at multiples of `unit` start at a byte."""
    largest = int(array.max(initial=0))
    packed_types = (Element.B1, Element.B2, Element.B4, Element.U8)
    element = next(one for one in packed_types if largest < 1 << one.bits and unit * one.bits % 8 == 0)
    tiles, rows, cols = array.shape
    each = 8 // element.bits
    padded = np.zeros((tiles, rows, -(-cols // each) * each), np.uint8)
    padded[:, :, :cols] = array
    parts = padded.reshape(tiles, rows, -1, each) << (np.arange(each, dtype=np.uint8) * np.uint8(element.bits % 8))
    packed = np.bitwise_or.reduce(parts, axis=-1)
    return DeviceConstant(element, array.size, False, rows, cols, packed.tobytes())
