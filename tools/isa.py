"""Write docs/isa.md: the instruction set and the image, from the definitions in the code.

python tools/isa.py        # writes the page anew; tests/unit/deploy/test_isa_page.py compares it
"""

# ruff: noqa: E501 - lines of a page
from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from isa_tables import DIGITAL, EXTRA, OPERANDS, RANGES, TIMES, UNARY

from mho.deploy import image_format as form
from mho.deploy.digital_words import as_words64
from mho.deploy.elements import Element
from mho.deploy.image import _Encoder
from mho.program.geometry import AccumulatorLayout, LinearGeometry
from mho.program.instructions import (
    Affine,
    ClearAccumulators,
    Dequantize,
    DigitalProduct,
    Instruction,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    Requantize,
    ShiftAdd,
    Span,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)

PAGE = Path(__file__).parents[1] / "docs/isa.md"


def write_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield from _head()
    yield from _instructions()
    yield from _digital()
    yield from _image()
    yield from _versions()


def _head() -> Iterator[str]:
    yield "# The instruction set"
    yield ""
    yield "Version 1.0. This page is made by `python tools/isa.py` from the definitions in the code, and a test holds it to them."
    yield ""
    yield (
        "A [program file](programs.md#the-file) holds instructions as JSON, each an object of its fields with its class under `kind`. "
        "A device reads the *image* that `mho deploy` makes of it: the same instructions as words of 32 bits, tables and numbers in the "
        "narrowest types. [Programs](programs.md) says what buffers, sums and crossbars are. All below is what a loader in any language "
        "needs; the C runtime has one (`mho_load.c`, `mho_check.c`)."
    )
    yield ""
    yield "## Words and operands"
    yield ""
    yield "Everything is little-endian. An instruction is a word `opcode | length << 8` (its length in words, this one included) and its operands, in the order of their fields:"
    yield ""
    yield "| type | words |"
    yield "|---|---|"
    yield "| whole number, truth value | one: two's complement, 0 or 1 |"
    yield "| float32 | one: its bits |"
    yield f"| buffer or constant | one: the number of the buffer; of a constant `{form.CONSTANT_REFERENCE:#x}` + its number; `{form.NO_REFERENCE:#x}` for none |"
    yield "| address | base, n, then n pairs of a loop's level (0: the outermost) and a stride: base + sum of stride * loop variable |"
    yield "| span | start, stop |"
    layout = ", ".join(field.name for field in dataclasses.fields(AccumulatorLayout))
    yield f"| layout | {layout} (four words) |"
    yield "| walk over operands | rank; a size an axis; for each operand a signed stride an axis. Its steps are row-major |"
    yield ""


def _instructions() -> Iterator[str]:
    yield "## Instructions"
    yield ""
    yield "Addresses and loops are those of [Programs](programs.md#instructions). Shifts to the right are arithmetic. Sums of 32 bits wrap around: totals are proven to fit. In examples `0` is buffer 0 and `#0` constant 0; loops run over y (level 0) and x (level 1)."
    yield ""
    for kind, number in form.OPCODES.items():
        yield f"### {kind.__name__}"
        yield ""
        yield f"Opcode {number}. {_paragraph(inspect.getdoc(kind) or '')}"
        yield ""
        if kind.__name__ not in ("Layer", "Loop", "Window"):
            yield "| operand | type | legal |"
            yield "|---|---|---|"
            hints = typing.get_type_hints(kind)
            for field in dataclasses.fields(kind):
                legal = RANGES.get(field.name, "") if _has_range(hints[field.name], field.name) else ""
                yield f"| `{field.name}` | {_type_name(hints[field.name], field.name)} | {legal} |"
            yield ""
        if kind.__name__ in EXTRA:
            yield from (EXTRA[kind.__name__], "")
        if kind.__name__ in TIMES:
            yield from (f"Time: {TIMES[kind.__name__]}.", "")
        yield from _example(number)


def _example(opcode: int) -> Iterator[str]:
    """Yield an example of an instruction: as a program says it, and as words."""
    item = next(one for one in EXAMPLES if form.OPCODES[type(one)] == opcode)
    words = _ExampleEncoder().encode_example(item)
    text = f"{type(item).__name__}({', '.join(_tell(item, field.name) for field in dataclasses.fields(item))})"
    yield from ("```text", *textwrap.wrap(text, 118, subsequent_indent="    "))
    yield from (
        *textwrap.wrap(" ".join(f"{word:08x}" for word in words), 118, initial_indent="= ", subsequent_indent="  "),
        "```",
        "",
    )


def _tell(item: object, name: str) -> str:
    value = getattr(item, name)
    if isinstance(value, Affine):
        value = " + ".join([str(value.base), *(f"{stride} {variable}" for variable, stride in value.strides)])
    elif isinstance(value, Span):
        value = f"{value.start}..{value.stop}"
    elif isinstance(value, tuple) and value and isinstance(value[0], Mvm):
        value = "Mvm(0)"
    elif dataclasses.is_dataclass(value):
        value = "..." if not isinstance(value, AccumulatorLayout) else f"layout {value.shape}"
    return f"{name} = {value}"


class _ExampleEncoder(_Encoder):
    """Encodes one instruction in loops over y (level 0) and x: names are numbers of buffers, "#n" of constants."""

    def __init__(self) -> None:
        self.levels, self.layer, self.depth, self.crossbars = ["y", "x"], "fc", 2, 1
        self.joined, self.blocks, self.starts = {}, 1, {}

    def reference(self, name: str) -> int:
        """Return the number that a name is."""
        if not name:
            return form.NO_REFERENCE
        return form.CONSTANT_REFERENCE | int(name[1:]) if name[0] == "#" else int(name)

    def encode_example(self, item: Instruction) -> list[int]:
        """Return its words."""
        if isinstance(item, Loop | Window | Layer):
            own = {Loop: [2], Layer: [0], Window: []}[type(item)]
            operands = [*own, *self._encode_body(item.body)]
        else:
            operands = []
            for field in dataclasses.fields(item):
                value = getattr(item, field.name)
                operands += as_words64(value) if field.name == "limit" else self._encode_value(value)
        more = {QuantizeInput: [1, 2], WriteDynamicTile: [4]}.get(type(item), [])
        return [form.OPCODES[type(item)] | (1 + len(operands) + len(more)) << 8, *operands, *more]


EXAMPLES: tuple[Instruction, ...] = (
    QuantizeInput("0", "1", 0, 0.25, 0, 0, 15, False, 0, ((0, 0), (1, 1))),
    ClearAccumulators("2"),
    SumInputs("1", Affine(0, (("y", 4),)), "#0", "2", Affine(10)),
    DigitalProduct("1", Affine(0), "#0", "#1", Affine(0), "#2", "#3", "2", Affine(0), "#4"),
    WriteTile(0, "#5", Affine(0), Span(0, 64), Span(0, 20), (0, 64)),
    WriteDynamicTile(0, "1", Affine(0), *(f"#{n}" for n in range(10)), 8, False, 4, Span(0, 32), Span(0, 16)),
    LoadInput(0, "1", Affine(0, (("y", 12), ("x", 1))), "#0", "#6", "#7", Span(0, 64), Affine(0), 1),
    Mvm(0),
    ShiftAdd(0, "2", Affine(0, (("x", 1),)), "#8", "#9", Span(0, 20), Affine(0), 64),
    Dequantize("2", "3", AccumulatorLayout(1, 1, 1, 10, 1, 1, True), "#10", "#11", "", 0, "#12", ""),
    Requantize(
        "2", "3", AccumulatorLayout(1, 1, 1, 10, 1, 1, False), "#10", "", "", 0, "#12", "#13", 20, 2**31 - 1, -128, 127
    ),
    Loop("x", 2, (Mvm(0),)),
    Window((Mvm(0),)),
    Layer("fc", LinearGeometry(1, 64, 10), (Mvm(0),)),
)
"""One of each kind."""


def _has_range(hint: object, name: str) -> bool:
    return hint is not str or name in ("row_signs", "column_signs", "column_offsets")


def _type_name(hint: object, field: str) -> str:
    names = {
        str: OPERANDS.get(field, "constant"),
        int: "whole number",
        float: "float32",
        bool: "truth value",
        Affine: "address",
    }
    if hint in names:
        return names[hint]  # type: ignore[index]
    if hint is Span:
        return "span"
    if hint is AccumulatorLayout:
        return "layout"
    return "pairs of whole numbers" if "..." in str(hint) else "two whole numbers"


def _paragraph(text: str) -> str:
    text = text.partition("\n\nAttributes:")[0]
    return (
        re.sub(r"\n(?!\n)", " ", text.replace("\n\n", "\0"))
        .replace("\0", "\n\n")
        .replace("  ", " ")
        .replace("|", "\\|")
    )


def _digital() -> Iterator[str]:
    yield "### Digital"
    yield ""
    yield (
        "An operation of the digital unit, in float32: every step is rounded to nearest even, and none are contracted. The operations of "
        "mho.arithmetic become one or more of these; `reshape` becomes none. Functions marked (*) are computed in float64 by the fixed "
        "sequences of `mho_math.c` and rounded once. *The tree* adds n numbers (or takes their maximum): they count as padded to a power "
        "of two with nothing, and the upper half is added to the lower until one is left. Of zeros, a maximum is +0 where one is."
    )
    yield ""
    yield "| opcode | operation | operands | does |"
    yield "|---|---|---|---|"
    for name, operands, does in DIGITAL:
        yield f"| {getattr(form, name)} | `{name}` | {operands} | {does} |"
    yield ""
    yield "Functions of `UNARY`; d0 is the float64 in p0 and p1, d1 that in p2 and p3:"
    yield ""
    yield from _numbered(form.UNARY_FUNCTIONS, UNARY)
    yield ""
    yield f"Functions of `BINARY`: {_list_numbers(form.BINARY_FUNCTIONS)}. `prelu` is a < 0 ? a b : a, `where` mask ? a : b, and comparisons give 1 or 0. Functions of `REDUCE`: {_list_numbers(form.REDUCE_FUNCTIONS)}."
    yield ""


def _numbered(names: Sequence[str], meanings: dict[str, str]) -> Iterator[str]:
    yield "| number | function | value |"
    yield "|---|---|---|"
    for number, name in enumerate(names):
        yield f"| {number} | `{name}` | {meanings[name].replace('|', '&#124;')} |"


def _list_numbers(names: Sequence[str]) -> str:
    return ", ".join(f"{number} `{name}`" for number, name in enumerate(names))


def _image() -> Iterator[str]:
    yield "## The image"
    yield ""
    yield "A header, four tables, code, names, and the content of constants, each at a place that the header or a table tells."
    yield ""
    yield from _table(form.HEADER_FIELDS)
    yield ""
    tables = (
        ("buffer", form.BUFFER_FIELDS), ("constant", form.CONSTANT_FIELDS), ("layer", form.LAYER_FIELDS),
        ("input or output", form.PORT_FIELDS),
    )  # fmt: skip
    for name, fields in tables:
        yield f"An entry of {name}, {form.pack_format(fields).size} bytes:"
        yield ""
        yield from _table(fields)
        yield ""
    yield "| element | number | bits |"
    yield "|---|---|---|"
    for element in Element:
        yield f"| {element.name.lower()} | {element.number} | {element.bits} |"
    yield ""
    yield (
        "`f32` and the whole numbers lie one after the other. A constant of cells (`rows` is not 0) holds count / (rows * cols) matrices, each "
        "row by row. Cells of 1, 2 and 4 bits are packed, the first in the lowest bits of a byte, and each row ends at a whole byte; a tile "
        "starts at a whole byte too. Inputs and outputs are float32 buffers, row-major; the shapes are those of the program."
    )
    yield ""
    yield (
        "Before it runs anything a loader checks the checksum, that tables, constants and buffers lie inside of image and arena, and of each "
        "instruction its length, the kinds of its operands, and the ranges above. Sums are i32 or i64, codes whole numbers, and digital "
        "operations take f32, or whole numbers where their name or their operands say so: moves, `FILL`, `minimum`, `maximum`, `where`, "
        "`reduce_max` and the maximum of `POOL` take either. RS(x, n) = floor((x + 2^(n - 1)) / 2^n), x for n = 0."
    )
    yield ""


def _table(fields: tuple[tuple[str, str, str], ...]) -> Iterator[str]:
    yield "| byte | field | type | meaning |"
    yield "|---|---|---|---|"
    at = 0
    for name, kind, meaning in fields:
        kinds = {"I": "u32", "H": "u16", "8s": "8 bytes", "32s": "32 bytes"}
        yield f"| {at} | `{name}` | {kinds[kind]} | {meaning} |"
        at += form.pack_format(((name, kind, meaning),)).size


def _versions() -> Iterator[str]:
    yield "## Versions"
    yield ""
    yield (
        "Version 1.0 of the image is frozen: what an opcode, a function or a field means does not change, and images of version 1.0 keep loading and "
        "giving the same bits (`tests/golden/deploy`). A minor version adds opcodes, functions or element types: 1.1 added `SCATTER` and `ORDER`, 1.2 `INT_RMS_NORM`, 1.3 `INT_EMBED` and `INT_DIV`. An image has the"
        " least version that has what it uses. A loader refuses an image of a "
        "later version than its own with `MHO_E_VERSION`. Program files (`.mho`) have [versions of their own](programs.md#the-file), 3 and 4, "
        "which hold the same instructions."
    )


if __name__ == "__main__":
    PAGE.write_text("\n".join(write_page()) + "\n", encoding="utf-8")
