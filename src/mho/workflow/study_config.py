"""The configuration of a study: which program, which samples, which chips, and what is swept.

A user writes it in a TOML file; it is validated as a whole before anything starts. Paths in the file are relative to
the file, except the study's directory, which is relative to where the command is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from mho.array.calibration import RangeMethod
from mho.data.spec import DataSpec
from mho.errors import ConfigError
from mho.frozen_model import FrozenModel
from mho.input_files import check_content
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.report.study_document import Design, Value
from mho.settings import MAX_COUNT, Count, parse_settings, read_toml

MAX_SEEDS = 10_000
MAX_VALUES = 1000
MAX_CHIPS = 1_000_000
SIGNIFICANT_DIGITS = 4
"""To how many digits the values of a range are rounded, so that what is shown is what was used."""


class Range(FrozenModel, populate_by_name=True):
    """Values between two ends, both of them included."""

    start: float = Field(alias="from")
    """The first value."""
    stop: float = Field(alias="to")
    """The last value."""
    points: int = Field(ge=2, le=MAX_VALUES)
    """How many values."""
    spacing: Literal["linear", "log"] = "linear"
    """`linear`: equal differences; `log`: equal ratios, for which both ends are above zero."""

    @model_validator(mode="after")
    def _check_ends(self) -> Range:
        if self.start == self.stop:
            raise ValueError("from and to are the same")
        if self.spacing == "log" and min(self.start, self.stop) <= 0:
            raise ValueError('both ends must be above zero where spacing is "log"')
        return self

    @property
    def values(self) -> tuple[int | float, ...]:
        """All values, rounded to four significant digits; the ends are exact."""
        last = self.points - 1
        inner = (self._at(number / last) for number in range(1, last))
        return tuple(map(_plain_number, (self.start, *map(_round, inner), self.stop)))

    def _at(self, share: float) -> float:
        if self.spacing == "log":
            return math.exp(math.log(self.start) * (1 - share) + math.log(self.stop) * share)
        return self.start * (1 - share) + self.stop * share


Scalar = StrictInt | StrictFloat | StrictStr
SettableValue = Scalar | Annotated[tuple[StrictInt | StrictFloat, ...], Field(min_length=1)]
SweptValues = Range | Annotated[tuple[SettableValue, ...], Field(min_length=1, max_length=MAX_VALUES)]


def _freeze(table: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(table))


_Frozen = AfterValidator(_freeze)
Settings = Annotated[Mapping[str, SettableValue], _Frozen, PlainSerializer(dict, return_type=dict[str, SettableValue])]
Sweeps = Annotated[Mapping[str, SweptValues], _Frozen, PlainSerializer(dict, return_type=dict[str, SweptValues])]


class StudySettings(FrozenModel):
    """Name and place of the study, its chips and its design."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the study: letters, digits, dot, dash, underscore."""
    directory: Path | None = None
    """Where results go; studies/NAME where it is left out. Relative to where the command is given."""
    seeds: (
        Annotated[int, Field(ge=1, le=MAX_SEEDS)]
        | Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1, max_length=MAX_SEEDS)]
    )
    """How many chips are simulated at each point, of seeds 0, 1, 2, ...; or a list of seeds."""
    design: Design = Design.ONE_AT_A_TIME
    """`one-at-a-time`: each parameter is swept while the others stay at the base; `grid`: all combinations."""

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(seeds, tuple) and len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @property
    def chips(self) -> tuple[int, ...]:
        """The seeds of all chips."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


class ProgramSettings(FrozenModel):
    """What runs: a program file, or a quantized network and the accelerator that it is compiled for."""

    file: Path | None = None
    """A program of `mho compile` (.mho)."""
    network: Path | None = None
    """A quantized ONNX file, instead of `file`."""
    accelerator: str | None = Field(default=None, min_length=1)
    """A preset or a TOML file, with `network`."""
    mapping: MappingModel = DEFAULT_MODEL
    """How `network` is laid into crossbars: `best`, the cheapest exact mapping, or `paper`, that of arXiv
    2601.21737."""

    @model_validator(mode="after")
    def _check_source(self) -> ProgramSettings:
        if (self.file is None) == (self.network is None):
            raise ValueError("give either file, a program, or network, a quantized ONNX file")
        if (self.network is None) != (self.accelerator is None):
            raise ValueError("network and accelerator go together; a program file holds its accelerator")
        if self.file is not None and self.mapping is not DEFAULT_MODEL:
            raise ValueError("mapping is for network; a program file holds its mapping")
        return self


class SampleSettings(FrozenModel):
    """Which samples every chip classifies."""

    file: Path | None = None
    """An .npz file: arrays [N, ...] by the names of the inputs, and `labels`. Left out: images of the table data."""
    split: Literal["test", "validation", "calibration", "train"] = "test"
    """Which images of the table data."""
    split_seed: int = Field(default=1, ge=0, lt=2**31)
    """`run.seed` of the `mho run` whose cut of the table data this is."""
    images: Annotated[StrictInt, Field(ge=1, le=MAX_COUNT)] | Literal["all"] = "all"
    """How many, spread evenly over the split or the file."""
    batch_size: int = Field(default=16, ge=1, le=65536)
    """Images at once; more take more memory. Answers depend on it only where reads are noisy, and then in nothing
    but chance."""


class CalibrationSettings(FrozenModel):
    """How the ranges of calibrated ADCs, and corrections of channels, are found, for each chip by itself."""

    file: Path | None = None
    """An .npz file of arrays [N, ...] by the names of the inputs, where samples come from a file. Left out: calibration
    images of the table data."""
    images: Count = 64
    """How many, spread evenly."""
    method: RangeMethod = RangeMethod.MSE
    """`extremes`, `percentile` or `mse`."""
    share: float = Field(default=0.9999, gt=0, le=1)
    """For `percentile`: the share of sums that is kept."""
    when: Literal["reading", "writing"] = "reading"
    """Ranges: `reading`: under the conditions of the point; `writing`: at once after the cells were written."""


class BaseSettings(FrozenModel):
    """What differs from the accelerator at every point, by table."""

    array: Settings = Field(default_factory=dict, validate_default=True)
    """Keys of the accelerator's table array."""
    converters: Settings = Field(default_factory=dict, validate_default=True)
    """Keys of the accelerator's table converters."""
    conditions: Settings = Field(default_factory=dict, validate_default=True)
    """`elapsed_s` since the cells were written, `temperature_k`, `reads` so far."""
    mitigation: Settings = Field(default_factory=dict, validate_default=True)
    """`recalibration`: `none`, or `channels`, whose scales and biases are corrected under the conditions of the point,
    from calibration inputs."""


class SweepSettings(FrozenModel):
    """What is swept, by table: a list of values, or a range."""

    array: Sweeps = Field(default_factory=dict, validate_default=True)
    """Keys of the accelerator's table array."""
    converters: Sweeps = Field(default_factory=dict, validate_default=True)
    """Keys of the accelerator's table converters."""
    conditions: Sweeps = Field(default_factory=dict, validate_default=True)
    """`elapsed_s`, `temperature_k`, `reads`."""
    mitigation: Sweeps = Field(default_factory=dict, validate_default=True)
    """`recalibration`."""


class StudyConfig(FrozenModel):
    """The configuration of `mho study`."""

    study: StudySettings
    """Name, place, chips and design."""
    program: ProgramSettings | None = None
    """What runs. Left out only in Python, where a program is given."""
    data: DataSpec | None = None
    """Which data."""
    samples: SampleSettings = SampleSettings()
    """Which samples of it."""
    calibration: CalibrationSettings = CalibrationSettings()
    """How calibrated ADCs find their ranges."""
    base: BaseSettings = Field(default_factory=BaseSettings)
    """What differs from the accelerator at every point."""
    sweeps: SweepSettings = Field(default_factory=SweepSettings)
    """What is swept. Left out: one point, that of the base."""

    @model_validator(mode="after")
    def _check_samples(self) -> StudyConfig:
        if self.data is not None and self.samples.file is not None:
            raise ValueError("samples come either from the table data or from samples.file, not from both")
        if self.data is not None and self.calibration.file is not None:
            raise ValueError("calibration.file is for samples.file; the table data has calibration samples of its own")
        if self.study.design is Design.GRID and not self.swept:
            raise ValueError("a grid needs a key in the table sweeps, such as array.programming_error")
        return self

    @model_validator(mode="after")
    def _check_split(self) -> StudyConfig:
        settings, default = self.samples, SampleSettings()
        is_cut = (settings.split, settings.split_seed) != (default.split, default.split_seed)
        if is_cut and self.data is None:
            raise ValueError("samples.split and samples.split_seed are for the table data")
        return self

    @property
    def directory(self) -> Path:
        """Where results go."""
        return self.study.directory or Path("studies") / self.study.name

    @property
    def base_values(self) -> dict[str, Value]:
        """What differs from the accelerator at every point, by dotted key."""
        return _dotted(self.base)

    @property
    def swept(self) -> dict[str, tuple[Value, ...]]:
        """The values of what is swept, by dotted key."""
        return {key: one.values if isinstance(one, Range) else one for key, one in _dotted(self.sweeps).items()}

    @property
    def logarithmic(self) -> frozenset[str]:
        """Dotted keys of ranges with equal ratios."""
        return frozenset(
            key for key, one in _dotted(self.sweeps).items() if isinstance(one, Range) and one.spacing == "log"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text."""
        return self.model_dump(mode="json", by_alias=True)


def load_study(path: str | Path, *, directory: Path | None = None, data_root: Path | None = None) -> StudyConfig:
    """Read a study's TOML file; what is given beside it goes before what the file says.

    Raises:
        InputFileError: the file is missing or not TOML.
        ConfigError: every unknown, missing or impossible key, each with its valid range.
    """
    content = read_toml(path)
    base = Path(path).resolve().parent
    _resolve(content, base)
    if data_root is not None and "data" not in content:
        raise ConfigError("--data-root is where the data lies", where=str(path), expected="a table [data]")
    for table, key, value in (("study", "directory", directory), ("data", "root", data_root)):
        if value is not None and isinstance(content.get(table), dict):
            content[table][key] = str(value.absolute())
    return study_from_json(content, where=str(path))


def study_from_json(content: Any, *, where: str) -> StudyConfig:
    """Validate the content of a study file, or of `StudyConfig.to_json`. Raises `ConfigError`.

    Keys of the tables base and sweeps may be dotted: ``{"sweeps": {"array.read_noise": [0, 0.1]}}``.
    """
    check_content(content, where=where)
    content = _plain(content)
    if isinstance(content, dict):
        content = {
            key: _nest(table) if key in ("base", "sweeps") and isinstance(table, dict) else table
            for key, table in content.items()
        }
    return parse_settings(StudyConfig, content, where=where)


def _nest(table: dict[str, Any]) -> dict[str, Any]:
    """Put dotted keys into tables."""
    nested: dict[str, Any] = {}
    for key, value in table.items():
        section, dot, name = key.partition(".")
        if dot and isinstance(nested.setdefault(section, {}), dict):
            nested[section][name] = value
        elif isinstance(value, dict) and isinstance(nested.get(section), dict):
            nested[section].update(value)
        else:
            nested[key] = value
    return nested


def _resolve(content: dict[str, Any], base: Path) -> None:
    """Make paths of inputs absolute: relative ones are meant relative to the file."""
    places = (
        ("program", "file"),
        ("program", "network"),
        ("samples", "file"),
        ("calibration", "file"),
        ("data", "root"),
    )
    for section, key in places:
        table = content.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(base / Path(table[key]).expanduser())
    program = content.get("program")
    if isinstance(program, dict) and str(program.get("accelerator", "")).endswith(".toml"):
        program["accelerator"] = str(base / Path(program["accelerator"]).expanduser())


def _plain(value: Any) -> Any:
    """Return content with decimals as numbers, and whole ones of them as whole numbers."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_number(float(value)) if isinstance(value, Decimal) else value


def _plain_number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _round(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _dotted(section: BaseSettings | SweepSettings) -> dict[str, Any]:
    tables = {table: getattr(section, table) for table in type(section).model_fields}
    return {f"{table}.{key}": value for table, content in tables.items() for key, value in content.items()}
