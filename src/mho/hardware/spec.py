"""The description of a computing-in-memory accelerator: what the user states, validated when it is made, then frozen.

Only what the hardware is stands here. What follows from it for a layer (slices, tiles, time) is computed by
`mho.mapping` and `mho.cost_model`. Times are exact: whole picoseconds, written in microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    StrictInt,
    ValidationError,
    model_validator,
)

from mho.display import Table, Tabular
from mho.errors import ConfigError, suggest
from mho.formats import plural
from mho.hardware.array import Array
from mho.hardware.chip import Buffers, Chip, DigitalUnit, Interconnect, Memory
from mho.hardware.converters import MAX_LATENCY_US, MAX_LINES, ConversionTime, Converters
from mho.hardware.energy import Area, Endurance, Energy
from mho.hardware.mapping_rules import MAX_RELATIVE_ERROR as MAX_RELATIVE_ERROR
from mho.hardware.mapping_rules import PAPER_ENCODINGS as PAPER_ENCODINGS
from mho.hardware.mapping_rules import DigitalLayers, ErrorBound, MappingObjective, MappingRules
from mho.hardware.mapping_rules import Encoding as Encoding
from mho.hardware.section import Microseconds, Section, to_steps
from mho.hardware.write_verify import WriteVerify

MAX_CELL_BITS = 8

YOURS_TO_SET = "yours to set"
"""How the source of a value begins for which no source was found: an assumption that the user is to replace."""

_ALL: Literal["all"] = "all"


class Crossbar(Section):
    """One physical array of cells and the time it takes to write and to use it."""

    rows: StrictInt = Field(ge=1, le=MAX_LINES, description="Wordlines: inputs that one MVM takes.")
    cols: StrictInt = Field(ge=1, le=MAX_LINES, description="Bitlines: column sums that one MVM gives.")
    cell_bits: StrictInt = Field(
        ge=1,
        le=MAX_CELL_BITS,
        description="Bits that one cell holds (2^cell_bits conductance levels). "
        "A wider weight is spread over several cells.",
    )
    write_latency_us: Microseconds = Field(
        ge=0,
        le=MAX_LATENCY_US,
        json_schema_extra={"minimum": 0, "maximum": MAX_LATENCY_US},
        description="Time to write one whole crossbar, us: every row, with all program-and-verify steps (one pulse of "
        "every row where array.pulse_error is not 0). Charged for each tile, however few of its cells are used.",
    )
    mvm_latency_us: Microseconds = Field(
        gt=0,
        le=MAX_LATENCY_US,
        json_schema_extra={"exclusiveMinimum": 0, "maximum": MAX_LATENCY_US},
        description="Time of one MVM with one input slice, us: driving, settling and converting all columns, but for "
        "what the converters' own keys add. An input of several slices takes it several times.",
    )
    active_rows: Annotated[StrictInt, Field(ge=1, le=MAX_LINES)] | Literal["all"] = Field(
        default=_ALL,
        description='Rows that may be driven at once, or "all". A tile with more of them in use is read in several '
        "MVMs.",
    )

    @model_validator(mode="after")
    def _check_active_rows(self) -> Crossbar:
        if self.rows_at_once > self.rows:
            raise ValueError(f"active_rows is {self.active_rows}, more than the {self.rows} rows there are")
        return self

    @property
    def rows_at_once(self) -> int:
        """Rows that one MVM may drive."""
        return self.rows if isinstance(self.active_rows, str) else self.active_rows

    @property
    def write_latency_ps(self) -> int:
        """`write_latency_us` in ps; what a write takes with all its pulses is `Accelerator.write_latency_ps`."""
        return to_steps(self.write_latency_us, 6)


class Accelerator(Section, Tabular):
    """A whole accelerator, as its TOML file states it.

    Raises:
        pydantic.ValidationError: an impossible value; `mho.hardware.loading` turns it into a `ConfigError`.
    """

    name: str = Field(min_length=1, description="Name for people; the name by which a preset is loaded.")
    description: str = Field(default="", description="What it is, in a sentence.")
    crossbar: Crossbar = Field(description="The array of cells.")
    converters: Converters = Field(description="DACs and ADCs.")
    array: Array = Field(
        default_factory=Array, description="What cells and wires really are, as far as they are not ideal."
    )
    mapping: MappingRules = Field(description="How weights are laid into cells.")
    chip: Chip = Field(description="How many crossbars there are, and in how many cores.")
    interconnect: Interconnect = Field(default_factory=Interconnect, description="What connects the cores.")
    buffers: Buffers = Field(default_factory=Buffers, description="What a core keeps between layers.")
    digital: DigitalUnit = Field(default_factory=DigitalUnit, description="What digital work costs.")
    memory: Memory = Field(default_factory=Memory, description="What lies outside of the chip.")
    energy: Energy = Field(default_factory=Energy, description="Energy of each event, as far as it is specified.")
    area: Area = Field(default_factory=Area, description="Area of each component, as far as it is specified.")
    endurance: Endurance = Field(default_factory=Endurance, description="Endurance of cells, where it is specified.")
    sources: Annotated[Mapping[str, str], PlainSerializer(dict, return_type=dict[str, str])] = Field(
        default_factory=dict,
        description='Where each value comes from, by dotted key: "crossbar.rows" = "...". A text that begins with '
        '"yours to set" marks a value that no source gives.',
    )

    @model_validator(mode="after")
    def _check_levels(self) -> Accelerator:
        self.array.check_cell_bits(self.crossbar.cell_bits)
        return self

    @model_validator(mode="after")
    def _check_digital_layers(self) -> Accelerator:
        rules, names = self.mapping, ", ".join(self.mapping.always_digital)
        is_used = rules.digital_layers not in (DigitalLayers.NONE, DigitalLayers.NEVER)
        if self.digital.is_ideal and (is_used or names):
            rule = f'mapping.digital_layers is "{rules.digital_layers}"' if is_used else f"{names} is always_digital"
            raise ValueError(f"{rule}, and digital.operation_latency_us does not say what that takes")
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> Accelerator:
        if self.mapping.objective is not MappingObjective.LATENCY and not self.energy.is_specified:
            raise ValueError(
                f'mapping.objective is "{self.mapping.objective}", and the table [energy] specifies no energy'
            )
        return self

    @model_validator(mode="after")
    def _check_mesh(self) -> Accelerator:
        self.interconnect.mesh_shape(self.chip.cores)
        return self

    @model_validator(mode="after")
    def _freeze_sources(self) -> Accelerator:
        known = self.value_keys()
        unknown = [key for key in self.sources if key not in known]
        if unknown:
            hint = "".join(f" ({text})" for text in [suggest(unknown[0], known)] if text)
            raise ValueError(f"sources name unknown keys: {', '.join(map(repr, unknown))}{hint}")
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        return self

    def __hash__(self) -> int:
        sections = (getattr(self, name) for name in type(self).model_fields if name not in ("description", "sources"))
        return hash(tuple(sections))

    def __repr__(self) -> str:
        return f"Accelerator({self._summary})"

    @property
    def _summary(self) -> str:
        crossbar, adc_bits = self.crossbar, self.converters.adc_bits
        adc = f"{adc_bits}-bit ADCs" if isinstance(adc_bits, int) else f"{adc_bits} ADCs"
        size = f"{crossbar.rows} x {crossbar.cols}, {crossbar.cell_bits}-bit cells"
        return f"{self.name}: {plural(self.chip.crossbars, 'crossbar')} of {size}, {adc}"

    def table(self) -> Table:
        """Return one row a value, with where it comes from."""
        keys = (key.split(".") for key in self.value_keys())
        values = ((section, key, getattr(getattr(self, section), key)) for section, key in keys)
        rows = (
            (f"{section}.{key}", None if value is None else f"{value}", self.sources.get(f"{section}.{key}"))
            for section, key, value in values
        )
        return Table(self._summary, ("key", "value", "source"), tuple(rows))

    @property
    def mesh_shape(self) -> tuple[int, int]:
        """Rows and columns of the cores, as they lie in a mesh."""
        return self.interconnect.mesh_shape(self.chip.cores)

    @property
    def has_ideal_transfers(self) -> bool:
        """True where what cores send is there at once, and buffers keep whatever they are given."""
        return self.interconnect.is_ideal and self.buffers.are_unlimited

    @property
    def write_latency_us(self) -> Decimal:
        """Time to write one whole crossbar, us; of budgeted pulses, the mean: each row waits for its slowest cell."""
        once, pulses = self.crossbar.write_latency_us, WriteVerify.of(self.array)
        return once if pulses is None else round(once * pulses.count_for_row(self.crossbar.cols), 6)

    @property
    def write_latency_ps(self) -> int:
        """`write_latency_us` in ps."""
        return to_steps(self.write_latency_us, 6)

    @property
    def mvm_latency_us(self) -> Decimal:
        """Time of one MVM with one input slice, us, the pulses of pulse-width DACs included, conversions not."""
        return self.crossbar.mvm_latency_us + self.converters.drive_latency_us

    @property
    def mvm_latency_ps(self) -> int:
        """`mvm_latency_us` in ps."""
        return to_steps(self.mvm_latency_us, 6)

    @property
    def pulses_per_cell(self) -> Decimal:
        """Pulses that a write takes of a cell on average; 1 where they are counted in the unit figures of writes."""
        pulses = WriteVerify.of(self.array)
        return Decimal(1) if pulses is None else pulses.count_for_row(1)

    @property
    def conversion_time(self) -> ConversionTime:
        """What is specified of the time of conversions; a source of a time of 0 says that the MVM's latency has it."""
        key = "converters.adc_latency_us_per_bit"
        if self.converters.adc_latency_us_per_bit:
            return ConversionTime.SPECIFIED
        has_source = key in self.sources and key not in self.keys_to_set
        return ConversionTime.WITHIN_MVM if has_source else ConversionTime.UNSPECIFIED

    @property
    def keys_to_set(self) -> tuple[str, ...]:
        """Dotted keys of the values that no source gives, as `sources` marks them: the user's to set."""
        return tuple(key for key in self.value_keys() if self.sources.get(key, "").startswith(YOURS_TO_SET))

    @classmethod
    def value_keys(cls) -> tuple[str, ...]:
        """Dotted keys of all hardware values: those for which a source can be given."""
        keys = []
        for section, field in cls.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += [f"{section}.{key}" for key in kind.model_fields]
        return tuple(keys)  # "mapping.allowed" stands for all that it holds

    def with_adc_bits(self, bits: int | None) -> Accelerator:
        """Return the hardware as it is for sums that its ADCs convert with so many bits; None: with all of theirs.

        Raises:
            ConfigError: ADCs are ideal, or do not have so many bits.
        """
        own = self.converters.adc_bits
        if bits is None or bits == own:
            return self
        if isinstance(own, str) or not 1 <= bits <= own:
            raise ConfigError(
                f"a conversion with {bits} bits, and converters.adc_bits is {own!r}",
                where=self.name,
                expected="bits of a calibrated ADC" if isinstance(own, str) else f"1..{own}",
            )
        return self.model_copy(update={"converters": self.converters.model_copy(update={"adc_bits": bits})})

    def with_max_error(self, bound: float | ErrorBound) -> Accelerator:
        """Return the hardware with another bound on the error that mappings may cause.

        Args:
            bound: as `mapping.max_error`.

        Raises:
            ConfigError: it is none.
        """
        try:
            rules = MappingRules.model_validate({**self.mapping.model_dump(), "max_error": bound})
        except ValidationError as error:
            raise ConfigError(
                f"mapping.max_error is {bound!r}",
                where=self.name,
                expected=f'a number above 0, at most {MAX_RELATIVE_ERROR}, "auto", "none" or "least"',
            ) from error
        return self.model_copy(update={"mapping": rules})

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text, from which `loading.accelerator_from_json` makes an equal value."""
        return self.model_dump(mode="json")

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Accelerator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).model_validate, (self.to_json(),))
