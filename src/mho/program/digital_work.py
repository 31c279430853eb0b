"""What the digital unit computes between crossbars for one sample, counted from a program's instructions alone.

Operations are counted by their kind, in float32 or on integers: multiplications, additions (comparisons and rounding
are such), and functions: table look-ups on integers; exponentials, divisions and the like, whatever these are made of.
Shifting and adding of column sums is what crossbars take, and counted by `mho.mapping.activity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from mho.arithmetic.attributes import get_int, get_ints
from mho.arithmetic.operations import OPERATIONS
from mho.display import Table, Tabular
from mho.hardware.spec import Accelerator
from mho.program.instructions import Dequantize, Digital, QuantizeInput, Requantize
from mho.program.program import BufferKind, Program, walk


@dataclass(frozen=True)
class Work:
    """Operations of one kind of numbers; they add up.

    Attributes:
        multiplications, additions, functions: how many, as the module counts them.
    """

    multiplications: int = 0
    additions: int = 0
    functions: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.functions + other.functions,
        )


@dataclass(frozen=True, repr=False)
class DigitalWork(Tabular):
    """What a program's digital unit does between crossbars for one sample.

    Attributes:
        accelerator: what operations take.
        floats, integers: operations by the name of what is computed, in execution order.
    """

    accelerator: Accelerator
    floats: tuple[tuple[str, Work], ...]
    integers: tuple[tuple[str, Work], ...]

    @property
    def float_total(self) -> Work:
        """All operations in float32."""
        return sum((work for _, work in self.floats), Work())

    @property
    def integer_total(self) -> Work:
        """All operations on integers."""
        return sum((work for _, work in self.integers), Work())

    @property
    def energy_pj(self) -> Decimal | None:
        """Energy of multiplications and additions, pJ; None where a unit energy of one that occurs is unspecified."""
        unit = self.accelerator.energy
        terms = (
            (self.float_total.multiplications, unit.float_multiply_pj),
            (self.float_total.additions, unit.float_add_pj),
            (self.integer_total.multiplications, unit.integer_multiply_pj),
            (self.integer_total.additions, unit.integer_add_pj),
        )
        if any(count and price is None for count, price in terms):
            return None
        return sum((count * price for count, price in terms if count and price is not None), Decimal(0))

    @property
    def time_us(self) -> Decimal | None:
        """Time of all operations, one after the other, us; None where an operation's is unspecified."""
        if self.accelerator.digital.is_ideal:
            return None
        both = self.float_total + self.integer_total
        count = both.multiplications + both.additions + both.functions
        return count * Decimal(self.accelerator.digital.operation_latency_us)

    def __repr__(self) -> str:
        return f"DigitalWork({self._summary})"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person reads: a line for each kind of numbers, and what it takes as far as that is specified."""
        lines = []
        for kind, work in (("float32", self.float_total), ("integers", self.integer_total)):
            if work != Work():
                counts = f"{work.multiplications:,} multiplications, {work.additions:,} additions"
                lines.append(f"{kind}: {counts}, {work.functions:,} functions")
        if self.energy_pj is not None:
            lines.append(f"energy of multiplications and additions: {float(self.energy_pj) / 1e3:,.4g} nJ")
        if self.time_us is not None:
            lines.append(f"time of all, one after the other: {float(self.time_us):,.4g} us")
        return tuple(lines)

    @property
    def _summary(self) -> str:
        return "; ".join(self.lines) or "nothing"

    def table(self) -> Table:
        """Return one row for each operation and layer."""
        rows = (
            (name, kind, work.multiplications, work.additions, work.functions)
            for kind, found in (("float32", self.floats), ("integer", self.integers))
            for name, work in found
        )
        columns = ("operation", "numbers", "multiplications", "additions", "functions")
        return Table(self._summary, columns, tuple(rows))


def count_digital_work(program: Program) -> DigitalWork:
    """Return what the digital unit of a program computes between crossbars for one sample."""
    counted = [(name, is_integer, work) for name, is_integer, work in _count(program) if work != Work()]
    floats, integers = (
        tuple((name, work) for name, is_integer, work in counted if is_integer is kind) for kind in (False, True)
    )
    return DigitalWork(program.accelerator, floats, integers)


def _count(program: Program) -> Iterator[tuple[str, bool, Work]]:
    buffers = program.buffers
    for item, times in walk(program.instructions):
        if isinstance(item, Dequantize):
            size = _size(program, item.target)
            yield f"{item.target}: dequantize", False, Work(size, size if item.bias else 0)
        elif isinstance(item, Requantize):
            size = _size(program, item.target)
            yield f"{item.target}: requantize", True, Work(size, 2 * size)
        elif isinstance(item, QuantizeInput):
            size, is_integer = _size(program, item.source), buffers[item.source].kind is BufferKind.INTEGERS
            yield f"{item.source}: quantize", is_integer, Work(0, size) if is_integer else Work(0, size, size)
        elif isinstance(item, Digital):
            is_integer = buffers[item.output].kind is BufferKind.INTEGERS
            work = _count_integers(program, item) if OPERATIONS[item.op].is_lowered else _count_plain(program, item)
            assert times == 1, "digital operations stand outside of loops"
            yield f"{item.output}: {item.op}", is_integer, work


def _size(program: Program, name: str) -> int:
    shape = program.buffers[name].shape if name in program.buffers else program.constants[name].shape
    return math.prod(shape)


def _count_plain(program: Program, item: Digital) -> Work:
    """Count an operation that floats have, too."""
    record, size = OPERATIONS[item.op], _size(program, item.output)
    read = _size(program, item.inputs[0]) if item.inputs else 0
    if record.kernels == "pooling":
        taps = size * math.prod(get_ints(item.attributes, "kernel"))
        return Work(0, taps) if record.moves else Work(size, taps)
    if record.moves or record.kernels == "movement":
        return Work()
    if record.kernels == "reductions":
        return Work(0 if record.takes_integers else size, read)
    if record.kernels == "normalizations":
        is_learned = bool(record.learned)
        return Work(3 * size, 5 * size) if is_learned else Work(size, 3 * size, size)
    if len(item.inputs) == 1:
        return Work(0, size) if record.takes_integers else Work(0, 0, size)
    if item.op == "div":
        return Work(0, 0, size)
    return Work(size) if item.op == "mul" else Work(0, size * (len(item.inputs) - 1))


def _count_integers(program: Program, item: Digital) -> Work:
    size, read = _size(program, item.output), _size(program, item.inputs[0])
    if item.op in ("int_quantize", "int_dequantize"):
        return Work(size, 0) if item.op == "int_dequantize" else Work(0, size, size)
    if item.op == "int_embed":
        return Work()
    if item.op == "int_table":
        return Work(0, size, size)
    if item.op == "int_average_pool":
        return Work(size, size * (1 + math.prod(get_ints(item.attributes, "kernel"))))
    if item.op == "int_reduce_sum":
        return Work(size, size + read)
    if item.op == "int_softmax":  # a product and a sum of powers, two look-ups and a division; then one rescaling
        return Work(2 * size, 4 * size, 3 * size)
    if item.op in ("int_layer_norm", "int_rms_norm"):
        rows = size // math.prod(program.buffers[item.output].shape[get_int(item.attributes, "axis") :])
        return Work(4 * size, (5 if item.op == "int_layer_norm" else 3) * size, 2 * rows)
    if item.op == "int_mul":
        return Work(2 * size, size)
    if item.op == "int_div":
        return Work(size, size, size)
    if item.op == "int_add":
        return Work(size * len(item.inputs), size * len(item.inputs))
    return Work(size, 2 * size)
