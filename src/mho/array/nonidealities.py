"""Which non-idealities take effect: the one place that knows when a key of cells and converters changes results.

Every key of the tables ``array`` and ``converters`` is ideal at its default (``adc_bits`` at "ideal"). So hardware is
ideal where no key that takes effect differs from it, and a non-ideality is left out by setting its keys back. A key is
named here only where it needs others beside it (`REQUIREMENTS`) or is drawn from the seed of a chip (`_DRAWN`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.hardware.array import Array, OffCurrent, PartOf, Placement
from mho.hardware.converters import AdcRange, Converters
from mho.hardware.spec import Accelerator


@dataclass(frozen=True)
class Requirement:
    """What a key needs beside it to change any result.

    Attributes:
        is_met: tells whether it is there, for an array with converters under conditions, the key's own value among it.
        words: what is needed, for messages.
    """

    is_met: Callable[[Array, Converters, Conditions], bool]
    words: str


def takes_effect(key: str, array: Array, converters: Converters, conditions: Conditions) -> bool:
    """Tell whether a key of the tables array and converters, or of the conditions, may change results.

    Args:
        key: dotted, such as ``array.lrs_siemens``. A key without a requirement always takes effect.
        array, converters, conditions: what is described, the key's own value in it.
    """
    return key not in REQUIREMENTS or REQUIREMENTS[key].is_met(array, converters, conditions)


def list_deviations(hardware: Accelerator, conditions: Conditions) -> tuple[str, ...]:
    """Return the dotted keys of everything that is not ideal and takes effect."""
    tables = {"array": hardware.array, "converters": hardware.converters}
    return tuple(
        key
        for key, ideal in _IDEAL.items()
        if collapse_levels(getattr(tables[key.split(".")[0]], key.split(".")[1])) != ideal
        and takes_effect(key, hardware.array, hardware.converters, conditions)
    )


def is_ideal(hardware: Accelerator, conditions: Conditions) -> bool:
    """Tell whether hardware computes every program as exact integers do."""
    return not list_deviations(hardware, conditions)


def cells_deviate(hardware: Accelerator, conditions: Conditions) -> bool:
    """Tell whether sums of columns may differ from the whole numbers of ideal cells, wires and drives."""
    return any(key.startswith(("array.", "converters.dac_")) for key in list_deviations(hardware, conditions))


def chips_differ(array: Array, converters: Converters) -> bool:
    """Tell whether results may differ from chip to chip, or from read to read."""
    tables = {"array": array, "converters": converters}
    return any(
        collapse_levels(getattr(tables[section], name)) != 0 for section, name in (key.split(".") for key in _DRAWN)
    )


def idealize(accelerator: Accelerator, keys: Iterable[str]) -> Accelerator:
    """Return an accelerator with some dotted keys of the tables array and converters at their ideal values."""
    changes: dict[str, dict[str, Any]] = {"array": {}, "converters": {}}
    for key in keys:
        section, name = key.split(".")
        changes[section][name] = _IDEAL[key]
    return accelerator.model_copy(
        update={section: getattr(accelerator, section).model_copy(update=own) for section, own in changes.items()}
    )


def list_error_groups(hardware: Accelerator, conditions: Conditions) -> dict[str, tuple[str, ...]]:
    """Return the kinds of errors that hardware has, by their name for people, each with its keys that take effect.

    Without the keys of all of them (`idealize`) hardware is ideal. A key that belongs to no kind is one by itself.
    """
    left = dict.fromkeys(list_deviations(hardware, conditions))
    groups: dict[str, tuple[str, ...]] = {}
    for name, keys in _ERROR_GROUPS.items():
        if found := tuple(key for key in keys if key in left):
            groups[name] = found
            left = {key: None for key in left if key not in found}
    return groups | {key: (key,) for key in left if _acts_alone(key, hardware, conditions)}


def _acts_alone(key: str, hardware: Accelerator, conditions: Conditions) -> bool:
    """Tell whether a key, alone with the ideal values of all others, makes hardware other than ideal."""
    others = (other for other in list_deviations(hardware, conditions) if other != key)
    return not is_ideal(idealize(hardware, others), conditions)


def check_conditions_take_effect(
    conditions: Conditions, hardware: Accelerator, *, where: str = "", option: Callable[[str], str] = str
) -> None:
    """Refuse times, temperatures and reads that cells do not depend on: most often another key was forgotten.

    Args:
        conditions: as specified.
        hardware: whose cells they are.
        where: the table that specifies them.
        option: turns the name of a condition into what the user calls it.

    Raises:
        ConfigError: names the first that changes nothing, and what it needs.
    """
    for name in conditions.without_effect_on(hardware.array):
        raise ConfigError(
            f"{option(name)} changes nothing on {hardware.name}",
            where=where,
            expected=REQUIREMENTS[f"conditions.{name}"].words,
        )


def collapse_levels(value: Any) -> Any:
    """Return one number where a tuple has the same for all levels, else the value."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


_IDEAL: Mapping[str, Any] = MappingProxyType(
    {
        **{f"array.{name}": field.default for name, field in Array.model_fields.items()},
        **{
            f"converters.{name}": field.default for name, field in Converters.model_fields.items() if name != "dac_bits"
        },
        "converters.adc_bits": "ideal",
    }
)
"""Ideal value of every key that may deviate."""

_DRAWN = (
    "array.programming_error",
    "array.pulse_error",
    "array.cell_variation",
    "array.stuck_on_rate",
    "array.stuck_off_rate",
    "array.drift_exponent_std",
    "array.read_noise",
    "converters.adc_offset_lsb",
    "converters.adc_gain_error",
)
"""Standard deviations and rates of what is drawn from the seed of a chip; 0 draws nothing."""

ADC = tuple(key for key in _IDEAL if key.startswith("converters.adc_"))
ADC_ERRORS = ("converters.adc_offset_lsb", "converters.adc_gain_error")
DAC = ("converters.dac_inl_lsb",)
READ_NOISE = ("array.read_noise",)
WIRES = ("array.row_segment_ohm", "array.col_segment_ohm")
STUCK_CELLS = ("array.stuck_on_rate", "array.stuck_off_rate")


_ERROR_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "errors of writes": ("array.programming_error", "array.pulse_error"),
        "variation of cells": ("array.cell_variation",),
        "read noise": READ_NOISE,
        "stuck cells": STUCK_CELLS,
        "drift": ("array.drift_exponent", "array.drift_exponent_std"),
        "disturbance by reads": ("array.read_disturb_reads",),
        "current of the lowest level": ("array.off_current",),
        "resistance of wires": ("array.row_segment_ohm", "array.col_segment_ohm"),
        "ADCs": ADC,
        "DACs": DAC,
    }
)
"""Kinds of errors: the keys without which there is none of it."""


def _drift_shows(array: Array, converters: Converters, conditions: Conditions) -> bool:
    return array.drifts and _time_passes(array, converters, conditions)


def _noise_grows(array: Array, _: Converters, conditions: Conditions) -> bool:
    return array.has_growing_noise and conditions.effective_on(array).elapsed_s is not None


def _time_passes(array: Array, _: Converters, conditions: Conditions) -> bool:
    effective = conditions.effective_on(array)
    return effective.elapsed_s is not None or effective.temperature_k is not None


def _has_adc_differences(_: Array, converters: Converters, __: Conditions) -> bool:
    """True where ADCs of one crossbar convert differently."""
    has_ranges = not converters.has_ideal_adc and converters.adc_range is AdcRange.CALIBRATED_COLUMNS
    return converters.has_adc_errors or has_ranges


def _has_off_current(array: Array, _: Converters, __: Conditions) -> bool:
    """True where the lowest level conducts, and its current is kept."""
    return array.off_current is OffCurrent.KEPT and not isinstance(array.on_off_ratio, str)


def _depends_on_conductance(array: Array, converters: Converters, conditions: Conditions) -> bool:
    """True where cells deviate by more or less as their lowest level conducts more."""
    read_noise = array.read_noise and array.read_noise_of is PartOf.CONDUCTANCE
    of_cells = array.has_programming_error, array.cell_variation, read_noise, array.has_wires
    return (
        any(of_cells) or _drift_shows(array, converters, conditions) or _has_off_current(array, converters, conditions)
    )


_DRIFT = Requirement(
    _drift_shows,
    "drift: array.drift_exponent or array.drift_exponent_std, and conditions.elapsed_s after array.drift_reference_s",
)
_GROWTH = Requirement(_noise_grows, "array.read_noise above 0, and conditions.elapsed_s after array.drift_reference_s")
_AGE = Requirement(
    _time_passes,
    "cells that age: array.drift_exponent, array.drift_exponent_std, or array.read_noise with "
    "array.read_noise_averaging_s; and conditions.elapsed_s after array.drift_reference_s",
)
_TEMPERATURE = Requirement(
    lambda array, _, conditions: conditions.effective_on(array).temperature_k is not None,
    "drift that depends on temperature: array.drift_exponent, array.drift_activation_ev, and conditions.temperature_k "
    "above array.drift_reference_k, or below it with conditions.elapsed_s",
)
_DISTURB = Requirement(
    lambda array, _, conditions: conditions.effective_on(array).reads > 0,
    "array.read_disturb_reads and conditions.reads",
)
_WIRES = Requirement(
    lambda array, _, __: array.has_wires, "wires with a resistance: array.row_segment_ohm or array.col_segment_ohm"
)
_STUCK = Requirement(
    lambda array, _, __: array.has_stuck_cells, "stuck cells: array.stuck_on_rate or array.stuck_off_rate"
)
_PULSES = Requirement(
    lambda array, _, __: bool(array.pulse_error) and array.verify_pulses > 1,
    "array.pulse_error, and array.verify_pulses above 1",
)
_TIMES = Requirement(lambda _, __, ___: False, "a prediction of times, such as mho cost: it changes no result")
REQUIREMENTS: Mapping[str, Requirement] = MappingProxyType(
    {
        **{key: _TIMES for key in _IDEAL if "_latency_" in key},
        "conditions.elapsed_s": _AGE,
        "conditions.temperature_k": _TEMPERATURE,
        "conditions.reads": _DISTURB,
        "array.drift_exponent": _DRIFT,
        "array.drift_exponent_std": _DRIFT,
        "array.drift_reference_s": _AGE,
        "array.read_noise_averaging_s": _GROWTH,
        "array.drift_reference_k": _TEMPERATURE,
        "array.drift_activation_ev": _TEMPERATURE,
        "array.read_disturb_reads": _DISTURB,
        "array.read_disturb_towards": _DISTURB,
        "array.on_off_ratio": Requirement(
            _depends_on_conductance,
            'array.off_current = "kept", wires, drift, or errors of cells or reads that depend on conductances',
        ),
        "array.off_current": Requirement(
            _has_off_current, 'array.on_off_ratio as a number, and "kept" among the values'
        ),
        "array.lrs_siemens": _WIRES,
        "array.driven_ends": _WIRES,
        "array.programming_error_of": Requirement(
            lambda array, _, __: array.has_programming_error, "a programming_error"
        ),
        "array.pulse_error_ratio": _PULSES,
        "array.verify_tolerance": _PULSES,
        "array.verify_pulses": Requirement(lambda array, _, __: bool(array.pulse_error), "array.pulse_error above 0"),
        "array.placement": _STUCK,
        "array.fault_compensation": _STUCK,
        "array.spare_cols": Requirement(  # spare columns take what others would, or load the wires
            lambda array, _, __: (
                array.has_wires or (array.has_stuck_cells and array.placement is Placement.FAULT_AWARE)
            ),
            'array.placement = "fault-aware" and stuck cells, or wires',
        ),
        "array.read_noise_of": Requirement(lambda array, _, __: bool(array.read_noise), "array.read_noise above 0"),
        "converters.adc_range": Requirement(
            lambda _, converters, __: not converters.has_ideal_adc, "converters.adc_bits in numbers"
        ),
        "converters.column_difference": Requirement(
            lambda array, converters, _: not converters.has_ideal_adc or array.gets_around_stuck_cells,
            "converters.adc_bits in numbers, or stuck cells that placement or compensation avoids",
        ),
        "converters.columns_per_adc": Requirement(
            _has_adc_differences, "errors of ADCs, or ranges of their own (adc_range)"
        ),
        "converters.dac_inl_lsb": Requirement(
            lambda _, converters, __: not converters.has_linear_dac,
            "DACs of more than one bit, and a number other than 0",
        ),
    }
)
"""What each key needs; keys that need nothing are left out."""
