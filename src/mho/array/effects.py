"""Which figures of arrays and converters act: what must be so beside one for it to change any answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mho.array.conductances import Conditions
from mho.hardware.array import Array, OffCurrent, PartOf, Placement
from mho.hardware.converters import AdcRange, Converters

Acts = Callable[[Array, Converters, Conditions], bool]
"""Tells whether a key may change answers of an array with converters under conditions."""


def acts(key: str, array: Array, converters: Converters, conditions: Conditions) -> bool:
    """Tell whether a key of an accelerator's tables array and converters, or of conditions, may change answers.

    Args:
        key: dotted, such as ``array.lrs_siemens``. A key that needs nothing beside it always acts.
        array, converters, conditions: what there is, the key's own value in it.
    """
    return key not in NEEDS or NEEDS[key][0](array, converters, conditions)


def chips_differ(array: Array, converters: Converters) -> bool:
    """Tell whether one chip may answer other than another, or one read other than the next."""
    of_cells = array.has_programming_error, array.cell_variation, array.has_stuck_cells, array.drift_exponent_std
    return any((*of_cells, array.read_noise, converters.adc_offset_lsb, converters.adc_gain_error))


def _is_disturbed(array: Array, _: Converters, conditions: Conditions) -> bool:
    return conditions.noticed_by(array).reads > 0


def _is_warmer(array: Array, _: Converters, conditions: Conditions) -> bool:
    return conditions.noticed_by(array).temperature_k is not None


def _runs(array: Array, _: Converters, conditions: Conditions) -> bool:
    """True where time changes conductances."""
    noticed = conditions.noticed_by(array)
    return noticed.elapsed_s is not None or noticed.temperature_k is not None


def _has_adcs_of_their_own(_: Array, converters: Converters, __: Conditions) -> bool:
    has_errors = bool(converters.adc_offset_lsb or converters.adc_gain_error)
    return not converters.has_ideal_adc and (has_errors or converters.adc_range is AdcRange.CALIBRATED_COLUMNS)


def _uses_spares(array: Array, _: Converters, __: Conditions) -> bool:
    """True where spare columns take what others would, or load the wires."""
    return array.has_wires or (array.has_stuck_cells and array.placement is Placement.FAULT_AWARE)


def _has_off_current(array: Array, _: Converters, __: Conditions) -> bool:
    """True where the lowest level conducts, and that counts."""
    return array.off_current is OffCurrent.KEPT and not isinstance(array.on_off_ratio, str)


def _errs_by_conductance(array: Array, converters: Converters, conditions: Conditions) -> bool:
    """True where cells deviate by more or less as their lowest level conducts more."""
    read_noise = array.read_noise and array.read_noise_of is PartOf.CONDUCTANCE
    of_cells = array.has_programming_error, array.cell_variation, read_noise, array.has_wires
    return any(of_cells) or _runs(array, converters, conditions) or _has_off_current(array, converters, conditions)


_DRIFT: tuple[Acts, str] = (
    _runs,
    "drift: array.drift_exponent or array.drift_exponent_std, and conditions.elapsed_s after array.drift_reference_s",
)
_WARMTH: tuple[Acts, str] = (
    _is_warmer,
    "drift that depends on temperature: array.drift_exponent, array.drift_activation_ev, and conditions.temperature_k "
    "above array.drift_reference_k, or below it with conditions.elapsed_s",
)
_DISTURB: tuple[Acts, str] = (_is_disturbed, "array.read_disturb_reads and conditions.reads")
_WIRES: tuple[Acts, str] = (
    lambda array, _, __: array.has_wires,
    "wires with a resistance: array.row_segment_ohm or array.col_segment_ohm",
)
_FAULTS: tuple[Acts, str] = (
    lambda array, _, __: array.has_stuck_cells,
    "stuck cells: array.stuck_on_rate or array.stuck_off_rate",
)
_PULSES: tuple[Acts, str] = (
    lambda array, _, __: bool(array.pulse_error) and array.verify_pulses > 1,
    "array.pulse_error, and array.verify_pulses above 1",
)
_BITS: tuple[Acts, str] = (lambda _, converters, __: not converters.has_ideal_adc, "converters.adc_bits in numbers")
NEEDS: Mapping[str, tuple[Acts, str]] = MappingProxyType(
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
        "array.programming_error_of": (lambda array, _, __: array.has_programming_error, "a programming_error"),
        "array.pulse_error_ratio": _PULSES,
        "array.verify_tolerance": _PULSES,
        "array.verify_pulses": (lambda array, _, __: bool(array.pulse_error), "array.pulse_error above 0"),
        "array.placement": _FAULTS,
        "array.fault_compensation": _FAULTS,
        "array.spare_cols": (_uses_spares, 'array.placement = "fault-aware" and stuck cells, or wires'),
        "array.read_noise_of": (lambda array, _, __: bool(array.read_noise), "array.read_noise above 0"),
        "converters.adc_range": _BITS,
        "converters.column_difference": (
            lambda array, converters, _: not converters.has_ideal_adc or array.gets_around_stuck_cells,
            "converters.adc_bits in numbers, or stuck cells that are got around",
        ),
        "converters.columns_per_adc": (_has_adcs_of_their_own, "errors of ADCs, or ranges of their own (adc_range)"),
        "converters.dac_inl_lsb": (
            lambda _, converters, __: converters.dac_bits > 1 and bool(converters.dac_inl_lsb),
            "DACs of more than one bit, and a figure other than 0",
        ),
    }
)
"""What must be so for a key to change anything, and in words. Keys that need nothing are left out."""
