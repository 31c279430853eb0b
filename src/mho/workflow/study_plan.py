"""From the configuration of a study to its points: hardware and conditions of each, validated before any runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mho.accelerator.array import Array, OffCurrent, PartOf, Placement
from mho.accelerator.converters import AdcRange, Converters
from mho.accelerator.loading import accelerator_from_json
from mho.accelerator.spec import Accelerator
from mho.array.conductances import Conditions, Device, check_conditions
from mho.errors import ConfigError, suggest
from mho.report.study_document import Design, Value
from mho.report.study_text import format_value
from mho.workflow.study_config import MAX_CHIPS, StudyConfig

_CONDITIONS = ("elapsed_s", "temperature_k", "reads")
_RECALIBRATIONS = ("none", "channels")
_MITIGATION = ("recalibration",)
_FIXED = {
    "converters.dac_bits": "the program was compiled for it",
    "converters.adc_latency_us_per_bit": "it changes times, and a study tells answers",
}


@dataclass(frozen=True)
class PlannedPoint:
    """A point of a study.

    Attributes:
        sweep: dotted key of the parameter that is swept here; None in a grid.
        values: of what is swept here, by dotted key.
        hardware: cells, wires and converters.
        conditions: when and how cells are read.
        is_recalibrated: channels are corrected from data, under these conditions.
    """

    sweep: str | None
    values: Mapping[str, Value]
    hardware: Accelerator
    conditions: Conditions
    is_recalibrated: bool = False

    @property
    def is_calibrated(self) -> bool:
        """True where ADCs have ranges that come from data."""
        converters = self.hardware.converters
        return not converters.has_ideal_adc and converters.adc_range is not AdcRange.FULL_SCALE

    @property
    def needs_calibration(self) -> bool:
        """True where something comes from data."""
        return self.is_calibrated or self.is_recalibrated

    @property
    def words(self) -> str:
        """The values in a few words."""
        return ", ".join(f"{key} = {format_value(value)}" for key, value in self.values.items())


def plan_study(config: StudyConfig, accelerator: Accelerator, *, where: str) -> tuple[PlannedPoint, ...]:
    """Return all points of a study, in order.

    Args:
        config: what is asked for.
        accelerator: hardware of the program.
        where: the study's file, for messages.

    Raises:
        ConfigError: an unknown key, a value that is impossible at some point, a parameter that changes nothing at any
            of its points, or too many chips.
    """
    swept, base = config.swept, config.base_values
    for key in (*swept, *base):
        _check_key(key, where=f"{where}: {'sweeps' if key in swept else 'base'}.{key}")
    for key, values in swept.items():
        if len({_comparable(value) for value in values}) < len(values):
            raise ConfigError("a value stands there twice", where=f"{where}: sweeps.{key}", expected="each value once")
    if config.study.design is Design.GRID and (both := [key for key in swept if key in base]):
        raise ConfigError(
            "a grid gives it a value at every point, so that its base has no effect",
            where=f"{where}: base.{both[0]}",
            expected="each key in base or in sweeps",
        )
    _check_count(config, where=where)
    points = tuple(_make_point(accelerator, base, sweep, values, where=where) for sweep, values in _list_values(config))
    for key in (*swept, *base):
        _check_effect(key, [point for point in points if key in base or key in point.values], where=where)
    return points


def _list_values(config: StudyConfig) -> Iterator[tuple[str | None, dict[str, Value]]]:
    swept = config.swept
    if config.study.design is Design.GRID:
        for values in itertools.product(*swept.values()):
            yield None, dict(zip(swept, values, strict=True))
    else:
        for key, listed in swept.items():
            yield from ((key, {key: value}) for value in listed)


def _check_count(config: StudyConfig, *, where: str) -> None:
    sizes = [len(values) for values in config.swept.values()]
    points = math.prod(sizes) if config.study.design is Design.GRID else sum(sizes)
    chips = points * len(config.study.chips)
    if chips > MAX_CHIPS:
        raise ConfigError(
            f"{points:,} points of {len(config.study.chips):,} chips are {chips:,} chips to simulate",
            where=where,
            expected=f"at most {MAX_CHIPS:,}",
            hint='sweep fewer values, or set study.design to "one-at-a-time"',
        )


def _check_key(key: str, *, where: str) -> None:
    table, _, name = key.partition(".")
    if key in _FIXED:
        raise ConfigError(f"cannot be set in a study: {_FIXED[key]}", where=where)
    known = {
        "array": Array.model_fields,
        "converters": Converters.model_fields,
        "conditions": _CONDITIONS,
        "mitigation": _MITIGATION,
    }[table]
    if name not in known:
        names = [one for one in known if f"{table}.{one}" not in _FIXED]
        raise ConfigError("unknown key", where=where, hint=suggest(name, names) or f"known here: {', '.join(names)}")


def _make_point(
    accelerator: Accelerator, base: Mapping[str, Value], sweep: str | None, values: Mapping[str, Value], *, where: str
) -> PlannedPoint:
    content, conditions, mitigation = accelerator.to_json(), {}, {}
    for key, value in {**base, **values}.items():
        table, _, name = key.partition(".")
        if table == "conditions":
            conditions[name] = value
        elif table == "mitigation":
            mitigation[name] = value
        else:
            content[table][name] = list(value) if isinstance(value, tuple) else value
    place = ", ".join(f"{key} = {format_value(value)}" for key, value in values.items())
    hardware = accelerator_from_json(content, where=f"{where}: at {place}")
    made = _make_conditions(conditions, where, place)
    is_recalibrated = _is_recalibrated(mitigation, where=f"{where}: at {place}")
    point = PlannedPoint(sweep, MappingProxyType(dict(values)), hardware, made, is_recalibrated)
    _check_time(point, where=f"{where}: at {place}")
    return point


def _is_recalibrated(mitigation: Mapping[str, Value], *, where: str) -> bool:
    asked = mitigation.get("recalibration", "none")
    if asked not in _RECALIBRATIONS:
        raise ConfigError(
            f"mitigation.recalibration is {asked!r}", where=where, expected=" or ".join(map(repr, _RECALIBRATIONS))
        )
    return asked != "none"


def _make_conditions(given: Mapping[str, Value], where: str, place: str) -> Conditions:
    for name, value in given.items():
        expected = "a whole number from 0" if name == "reads" else "a finite number above 0"
        kind = int if name == "reads" else (int, float)
        if not isinstance(value, kind):
            raise ConfigError(f"conditions.{name} is {value!r}", where=f"{where}: at {place}", expected=expected)
    content: dict[str, Any] = dict(given)
    try:
        return Conditions(**content)
    except ConfigError as error:
        raise ConfigError(f"conditions.{error.what}", where=f"{where}: at {place}", expected=error.expected) from error


def _check_time(point: PlannedPoint, *, where: str) -> None:
    """Let one cell age: tells what is wrong with the conditions."""
    try:
        check_conditions(Device.of(point.hardware), point.conditions)
    except ConfigError as error:
        raise ConfigError(f"conditions.{error.what}", where=where, expected=error.expected) from error


def _check_effect(key: str, points: Sequence[PlannedPoint], *, where: str) -> None:
    """Refuse what changes nothing at any point: most often another key was forgotten."""
    if key in _EFFECTS:
        acts, expected = _EFFECTS[key]
        if not any(acts(point.hardware, point.conditions) for point in points):
            raise ConfigError("changes nothing at any of its points", where=f"{where}: {key}", expected=expected)


def _comparable(value: Value) -> Value:
    return tuple(map(float, value)) if isinstance(value, tuple) else value


def _is_disturbed(hardware: Accelerator, conditions: Conditions) -> bool:
    return conditions.noticed_by(hardware.array).reads > 0


def _is_warmer(hardware: Accelerator, conditions: Conditions) -> bool:
    return conditions.noticed_by(hardware.array).temperature_k is not None


def _runs(hardware: Accelerator, conditions: Conditions) -> bool:
    """True where time changes conductances."""
    return conditions.noticed_by(hardware.array).elapsed_s is not None or _is_warmer(hardware, conditions)


def _has_off_current(hardware: Accelerator, _: Conditions) -> bool:
    """True where the lowest level conducts, and that counts."""
    array = hardware.array
    return array.off_current is OffCurrent.KEPT and not isinstance(array.on_off_ratio, str)


def _errs_by_conductance(hardware: Accelerator, conditions: Conditions) -> bool:
    """True where cells deviate by more or less as their lowest level conducts more."""
    array = hardware.array
    read_noise = array.read_noise and array.read_noise_of is PartOf.CONDUCTANCE
    of_cells = array.has_programming_error, array.cell_variation, read_noise, array.has_wires
    return any(of_cells) or _runs(hardware, conditions) or _has_off_current(hardware, conditions)


def _has_adcs_of_their_own(hardware: Accelerator, _: Conditions) -> bool:
    converters = hardware.converters
    has_errors = bool(converters.adc_offset_lsb or converters.adc_gain_error)
    return not converters.has_ideal_adc and (has_errors or converters.adc_range is AdcRange.CALIBRATED_COLUMNS)


def _uses_spares(hardware: Accelerator, _: Conditions) -> bool:
    """True where spare columns take what others would, or load the wires."""
    array = hardware.array
    return array.has_wires or (array.has_stuck_cells and array.placement is Placement.FAULT_AWARE)


def _pulses_again(hardware: Accelerator, _: Conditions) -> bool:
    return bool(hardware.array.pulse_error) and hardware.array.verify_pulses > 1


_Acts = Callable[[Accelerator, Conditions], bool]
_DRIFT: tuple[_Acts, str] = (
    _runs,
    "drift: array.drift_exponent or array.drift_exponent_std, and conditions.elapsed_s after array.drift_reference_s",
)
_WARMTH: tuple[_Acts, str] = (
    _is_warmer,
    "drift that depends on temperature: array.drift_exponent, array.drift_activation_ev, and conditions.temperature_k "
    "other than array.drift_reference_k",
)
_DISTURB: tuple[_Acts, str] = (_is_disturbed, "array.read_disturb_reads and conditions.reads")
_WIRES: tuple[_Acts, str] = (
    lambda hardware, _: hardware.array.has_wires,
    "wires with a resistance: array.row_segment_ohm or array.col_segment_ohm",
)
_FAULTS: tuple[_Acts, str] = (
    lambda hardware, _: hardware.array.has_stuck_cells,
    "stuck cells: array.stuck_on_rate or array.stuck_off_rate",
)
_PULSES: tuple[_Acts, str] = (_pulses_again, "array.pulse_error, and array.verify_pulses above 1")
_BITS: tuple[_Acts, str] = (lambda hardware, _: not hardware.converters.has_ideal_adc, "converters.adc_bits in numbers")
_EFFECTS: Mapping[str, tuple[_Acts, str]] = MappingProxyType(
    {
        "conditions.elapsed_s": _DRIFT,
        "conditions.temperature_k": _WARMTH,
        "conditions.reads": _DISTURB,
        "array.drift_exponent": _DRIFT,
        "array.drift_exponent_std": _DRIFT,
        "array.drift_reference_s": _DRIFT,
        "array.drift_reference_k": _WARMTH,
        "array.drift_activation_ev": _WARMTH,
        "array.read_disturb_reads": _DISTURB,
        "array.read_disturb_towards": _DISTURB,
        "array.on_off_ratio": (
            _errs_by_conductance,
            'array.off_current = "kept", wires, drift, or errors of cells or reads that depend on conductances',
        ),
        "array.off_current": (_has_off_current, 'array.on_off_ratio as a number, and "kept" among the values'),
        "array.lrs_siemens": _WIRES,
        "array.driven_ends": _WIRES,
        "array.programming_error_of": (lambda hardware, _: hardware.array.has_programming_error, "a programming_error"),
        "array.pulse_error_ratio": _PULSES,
        "array.verify_tolerance": _PULSES,
        "array.verify_pulses": (lambda hardware, _: bool(hardware.array.pulse_error), "array.pulse_error above 0"),
        "array.placement": _FAULTS,
        "array.fault_compensation": _FAULTS,
        "array.spare_cols": (_uses_spares, 'array.placement = "fault-aware" and stuck cells, or wires'),
        "array.read_noise_of": (lambda hardware, _: bool(hardware.array.read_noise), "array.read_noise above 0"),
        "converters.adc_range": _BITS,
        "converters.column_difference": _BITS,
        "converters.columns_per_adc": (_has_adcs_of_their_own, "errors of ADCs, or ranges of their own (adc_range)"),
        "converters.dac_inl_lsb": (
            lambda hardware, _: hardware.converters.dac_bits > 1 and bool(hardware.converters.dac_inl_lsb),
            "DACs of more than one bit, and a figure other than 0",
        ),
    }
)
"""What must be so somewhere for a key to change anything, and in words."""
