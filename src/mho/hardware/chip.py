"""What stands around the crossbars of a chip: cores, digital units, buffers, what connects them, what lies outside."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StrictInt, model_validator

from mho.hardware.section import Microseconds, Nanoseconds, Section, above_zero, from_zero, to_steps

MAX_CROSSBARS = 1_000_000
MAX_BYTES = 1_000_000_000_000
"""One terabyte: no buffer is larger, and no memory gives more in a microsecond."""
MAX_BYTES_PER_CYCLE = 65536
MAX_CYCLE_NS = 1_000_000
MAX_HOP_CYCLES = 1_000_000
MAX_OPERATION_LATENCY_US = 1_000_000

_IDEAL: Literal["ideal"] = "ideal"
_UNLIMITED: Literal["unlimited"] = "unlimited"

Bytes = Annotated[StrictInt, Field(ge=1, le=MAX_BYTES)]


class Chip(Section):
    """How many crossbars there are, and in how many cores."""

    crossbars: StrictInt = Field(
        ge=1,
        le=MAX_CROSSBARS,
        description="Crossbars on the whole chip. With 1, the crossbar is used again for every tile, one after the "
        "other.",
    )
    cores: StrictInt = Field(
        default=1,
        ge=1,
        le=MAX_CROSSBARS,
        description="Cores, among which the crossbars are spread evenly: groups of crossbars with buffers and a "
        "digital unit of their own.",
    )

    @model_validator(mode="after")
    def _check_cores(self) -> Chip:
        if self.crossbars % self.cores:
            raise ValueError(f"cores is {self.cores}, which does not divide the {self.crossbars} crossbars evenly")
        return self

    @property
    def crossbars_per_core(self) -> int:
        """Crossbars of one core."""
        return self.crossbars // self.cores


class DigitalArithmetic(StrEnum):
    """What numbers a digital unit computes with between crossbars.

    Attributes:
        FLOAT32: float32; layers' inputs are quantized from it.
        INTEGER: integers of at most 64 bits alone: every tensor holds integers on a grid.
    """

    FLOAT32 = "float32"
    INTEGER = "integer"


class DigitalUnit(Section):
    """The unit that shifts, adds and corrects what the crossbars of a core count."""

    arithmetic: DigitalArithmetic = Field(
        default=DigitalArithmetic.FLOAT32,
        description='What it computes with between layers: "float32", or "integer": tensors hold integers alone, which '
        "are rescaled by 32-bit multipliers and rounding shifts, and functions are tables. Networks are then quantized "
        "with integer arithmetic.",
    )
    activation_bits: StrictInt = Field(
        default=16,
        ge=8,
        le=16,
        description="Bits that a tensor of integer arithmetic has at most, in whatever buffer it lies.",
    )
    operation_latency_us: Annotated[Microseconds, *from_zero(MAX_OPERATION_LATENCY_US)] | Literal["ideal"] = Field(
        default=_IDEAL,
        description="Time of one addition or multiply-add, us, lanes shared out (256 lanes at 1 GHz: 0.000004). "
        "Charged for shift-and-adds, sums of input vectors and products of two activations that it computes itself, "
        'after the reads. "ideal": hidden behind the crossbar, an assumption; then no product moves to the unit.',
    )

    @property
    def is_ideal(self) -> bool:
        """True where digital work takes no time."""
        return self.operation_latency_us == _IDEAL

    @property
    def operation_latency_ps(self) -> int:
        """Time of one operation, ps; 0 where it is hidden."""
        return 0 if isinstance(self.operation_latency_us, str) else to_steps(self.operation_latency_us, 6)


class InterconnectKind(StrEnum):
    """What carries bytes from core to core.

    Attributes:
        IDEAL: whatever is sent is there at once.
        BUS: one transfer at a time, from any core to any other.
        MESH: routers in rows and columns, each with links to its neighbours; a transfer takes a hop from router to
            router, first along its row, then along its column.
    """

    IDEAL = "ideal"
    BUS = "bus"
    MESH = "mesh"


class Interconnect(Section):
    """What carries bytes from core to core, and how fast."""

    kind: InterconnectKind = Field(
        default=InterconnectKind.IDEAL,
        description='"ideal": what is sent is there at once, an assumption; "bus": one transfer at a time; "mesh": '
        "routers in rows and columns.",
    )
    bytes_per_cycle: Annotated[StrictInt, Field(ge=1, le=MAX_BYTES_PER_CYCLE)] | None = Field(
        default=None, description="Bytes that the bus, or each link of the mesh, carries a cycle."
    )
    cycle_ns: Annotated[Nanoseconds, *above_zero(MAX_CYCLE_NS)] | None = Field(
        default=None, description="Cycle of its clock, ns."
    )
    hop_latency_cycles: Annotated[StrictInt, Field(ge=0, le=MAX_HOP_CYCLES)] | None = Field(
        default=None,
        description="Cycles from a router to the next before the first bytes arrive; on a bus, from the request to "
        "the first bytes.",
    )
    mesh_rows: Annotated[StrictInt, Field(ge=1, le=MAX_CROSSBARS)] | None = Field(
        default=None, description="Rows of cores of the mesh; follows from the cores where it is left out."
    )
    mesh_cols: Annotated[StrictInt, Field(ge=1, le=MAX_CROSSBARS)] | None = Field(
        default=None, description="Columns of cores of the mesh; follows from the cores where it is left out."
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Interconnect:
        speed = {name: getattr(self, name) for name in ("bytes_per_cycle", "cycle_ns", "hop_latency_cycles")}
        size = {name: getattr(self, name) for name in ("mesh_rows", "mesh_cols")}
        missing = [name for name, value in speed.items() if value is None]
        if self.is_ideal:
            given = [name for name, value in {**speed, **size}.items() if value is not None]
            if given:
                raise ValueError(f"an ideal interconnect takes no {', '.join(given)}; give a kind, or leave them out")
        elif missing:
            raise ValueError(f"a {self.kind} needs {', '.join(missing)}")
        if self.kind is InterconnectKind.BUS and any(value is not None for value in size.values()):
            raise ValueError("a bus takes no mesh_rows and mesh_cols")
        return self

    @property
    def is_ideal(self) -> bool:
        """True where what is sent is there at once."""
        return self.kind is InterconnectKind.IDEAL

    @property
    def cycle_ps(self) -> int:
        """Cycle of the clock, ps; 0 where it is ideal."""
        return 0 if self.cycle_ns is None else to_steps(self.cycle_ns, 3)

    def mesh_shape(self, cores: int) -> tuple[int, int]:
        """Return rows and columns of `cores` cores in a mesh, as square as they can be where they are not given.

        Raises:
            ValueError: the rows and columns that are given do not make so many cores.
        """
        rows, cols = self.mesh_rows, self.mesh_cols
        if rows is None and cols is None:
            rows = max(number for number in range(1, math.isqrt(cores) + 1) if cores % number == 0)
        if rows is None:
            rows = cores // (cols or 1)
        if cols is None:
            cols = cores // rows
        if rows * cols != cores:
            raise ValueError(
                f"interconnect.mesh_rows and mesh_cols give a mesh of {rows} x {cols}, but chip.cores is {cores}"
            )
        return rows, cols


class Buffers(Section):
    """What a core keeps between layers."""

    input_bytes: Bytes | Literal["unlimited"] = Field(
        default=_UNLIMITED,
        description='Bytes of input codes that one core keeps for its crossbars, or "unlimited", an assumption.',
    )
    output_bytes: Bytes | Literal["unlimited"] = Field(
        default=_UNLIMITED,
        description='Bytes of results that one core keeps until they are sent, or "unlimited", an assumption.',
    )

    @property
    def input_limit(self) -> int | None:
        """Bytes of input codes that one core keeps; None where they are unlimited."""
        return None if isinstance(self.input_bytes, str) else self.input_bytes

    @property
    def output_limit(self) -> int | None:
        """Bytes of results that one core keeps; None where they are unlimited."""
        return None if isinstance(self.output_bytes, str) else self.output_bytes

    @property
    def are_unlimited(self) -> bool:
        """True where both keep whatever they are given."""
        return self.input_limit is self.output_limit is None


class Memory(Section):
    """What lies outside of the chip: the memory from which weights come, or the link to it."""

    bytes_per_us: Annotated[StrictInt, Field(ge=1, le=MAX_BYTES)] | Literal["ideal"] = Field(
        default=_IDEAL,
        description="Bytes that come from or go to the outside in a microsecond (1 GB/s: 1000), or "
        '"ideal": what is needed is there at once, an assumption.',
    )
