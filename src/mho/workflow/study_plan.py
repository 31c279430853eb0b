"""From the configuration of a study to its points: hardware and conditions of each, validated before any runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from mho.array.conductances import Conditions, Device, check_conditions
from mho.array.nonidealities import REQUIREMENTS, takes_effect
from mho.errors import ConfigError, suggest
from mho.hardware.array import Array
from mho.hardware.converters import Converters
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.report.study_document import Design, Value
from mho.report.study_text import format_value
from mho.workflow.study_config import MAX_CHIPS, StudyConfig

_CONDITIONS = tuple(field.name for field in fields(Conditions))
_RECALIBRATIONS = ("none", "channels")
_MITIGATION = ("recalibration",)
_FIXED = {"converters.dac_bits": "the program was compiled for it"}


@dataclass(frozen=True)
class PlannedPoint:
    """A point of a study.

    Attributes:
        sweep: dotted key of the parameter that is swept here; None in a grid, and where nothing is swept.
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
        return self.hardware.converters.has_calibrated_adc

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
        config: of the study.
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
        with_it = [point for point in points if key in base or key in point.values]
        _check_effect(key, with_it, accelerator, where=where)
    return points


def _list_values(config: StudyConfig) -> Iterator[tuple[str | None, dict[str, Value]]]:
    swept = config.swept
    if config.study.design is Design.GRID or not swept:
        for values in itertools.product(*swept.values()):
            yield None, dict(zip(swept, values, strict=True))
    else:
        for key, listed in swept.items():
            yield from ((key, {key: value}) for value in listed)


def _check_count(config: StudyConfig, *, where: str) -> None:
    sizes = [len(values) for values in config.swept.values()]
    points = math.prod(sizes) if config.study.design is Design.GRID else sum(sizes) or 1
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
    if values:
        where += ": at " + ", ".join(f"{key} = {format_value(value)}" for key, value in values.items())
    hardware = accelerator_from_json(content, where=where)
    made = _make_conditions(conditions, where)
    is_recalibrated = _is_recalibrated(mitigation, where=where)
    point = PlannedPoint(sweep, MappingProxyType(dict(values)), hardware, made, is_recalibrated)
    _check_time(point, where=where)
    return point


def _is_recalibrated(mitigation: Mapping[str, Value], *, where: str) -> bool:
    wanted = mitigation.get("recalibration", "none")
    if wanted not in _RECALIBRATIONS:
        raise ConfigError(
            f"mitigation.recalibration is {wanted!r}", where=where, expected=" or ".join(map(repr, _RECALIBRATIONS))
        )
    return wanted != "none"


def _make_conditions(given: Mapping[str, Value], where: str) -> Conditions:
    for name, value in given.items():
        expected = "a whole number from 0" if name == "reads" else "a finite number above 0"
        kind = int if name == "reads" else (int, float)
        if not isinstance(value, kind):
            raise ConfigError(f"conditions.{name} is {value!r}", where=where, expected=expected)
    content: dict[str, Any] = dict(given)
    try:
        return Conditions(**content)
    except ConfigError as error:
        raise ConfigError(f"conditions.{error.what}", where=where, expected=error.expected) from error


def _check_time(point: PlannedPoint, *, where: str) -> None:
    """Let one cell age: tells what is wrong with the conditions."""
    try:
        check_conditions(Device.of(point.hardware), point.conditions)
    except ConfigError as error:
        raise ConfigError(f"conditions.{error.what}", where=where, expected=error.expected) from error


def _check_effect(key: str, points: Sequence[PlannedPoint], accelerator: Accelerator, *, where: str) -> None:
    """Refuse what changes nothing at any point: most often another key was forgotten."""
    section, name = key.split(".", 1)
    for point in points:
        hardware = before = point.hardware
        if section in ("array", "converters"):
            # As the program's own hardware has it: a value that takes an effect away changes results too.
            table = getattr(hardware, section).model_copy(update={name: getattr(getattr(accelerator, section), name)})
            before = hardware.model_copy(update={section: table})
        if any(takes_effect(key, one.array, one.converters, point.conditions) for one in (hardware, before)):
            return
    raise ConfigError("changes nothing at any of its points", where=f"{where}: {key}", expected=REQUIREMENTS[key].words)


def _comparable(value: Value) -> Value:
    return tuple(map(float, value)) if isinstance(value, tuple) else value
