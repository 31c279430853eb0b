"""The sections of a run's page, in order. A new one is a line here and its template ``templates/run/NAME.html.j2``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mho.report.result import RunResult


def _always(_: RunResult) -> bool:
    return True


def _has_splits(result: RunResult) -> bool:
    return any(one.time_us or one.energy_pj is not None for one in result.splits)


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: its id on the page, and the name of its template.
        title: its heading, and what the table of contents calls it.
        is_shown: tells whether a result has something to show there.
    """

    name: str
    title: str
    is_shown: Callable[[RunResult], bool] = _always

    @property
    def template(self) -> str:
        """File of its content."""
        return f"run/{self.name}.html.j2"


SECTIONS = (
    Section("notes", "Notes", lambda result: bool(result.notes)),
    Section("absent", "Left out", lambda result: bool(result.absent)),
    Section("choice", "Why this policy"),
    Section("policies", "Float, uniform 8/8 and the found policy"),
    Section("chips", "Accuracy on chips", lambda result: bool(result.chip_accuracies)),
    Section("classes", "Errors by class", lambda result: bool(result.errors)),
    Section("bits", "Bits and latency by layer"),
    Section("search", "Search"),
    Section("sensitivities", "Sensitivity of layers, measured", lambda result: result.sensitivities is not None),
    Section("training", "Training", lambda result: any(training.points for training in result.trainings)),
    Section("layers", "Layers"),
    Section("split", "Where time and energy go", _has_splits),
    Section("size", "Deployed size", lambda result: bool(result.sizes)),
    Section("chip", "On the machine: time, energy, writes, lifetime", lambda result: bool(result.chip)),
    Section("mapping", "Mapping", lambda result: result.map is not None),
    Section("exactness", "Bit-exactness"),
    Section("provenance", "Where it came from"),
)


def sections_of(result: RunResult) -> tuple[Section, ...]:
    """Return the sections that the page of a result has."""
    return tuple(section for section in SECTIONS if section.is_shown(result))
