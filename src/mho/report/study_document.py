"""The result of `mho study` as a JSON document, with a published schema."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer

from mho.display import Cell, Drawable, Table
from mho.formats import format_share, plural
from mho.frozen_model import FrozenModel

Value = int | float | str | tuple[int | float, ...]
"""What a parameter may be: a number, a word such as "ideal", or one number a level."""


class Design(StrEnum):
    """Which points a study has.

    Attributes:
        ONE_AT_A_TIME: each parameter is swept while the others stay at the base.
        GRID: all combinations.
    """

    ONE_AT_A_TIME = "one-at-a-time"
    GRID = "grid"


Values = Annotated[
    Mapping[str, Value],
    AfterValidator(lambda table: MappingProxyType(dict(table))),
    PlainSerializer(dict, return_type=dict[str, Value]),
]
Share = Annotated[float, Field(ge=0, le=1)]


class StudyProgram(FrozenModel):
    """What ran."""

    name: str
    """Name of the program."""
    source: str
    """Where it came from."""
    sha256: str
    """Of the program as a file."""
    accelerator: str
    """Hardware that it was compiled for."""


class StudySamples(FrozenModel):
    """What every chip classified."""

    source: str
    """Where samples came from."""
    count: int = Field(ge=1)
    """How many."""
    sha256: str
    """Of inputs, labels and calibration inputs."""


class SweptParameter(FrozenModel):
    """A parameter that is swept."""

    key: str
    """Dotted: `array.`, `converters.`, `conditions.` or `mitigation.` and a name."""
    values: tuple[Value, ...]
    """In the order of the study."""
    scale: Literal["linear", "log", "category"]
    """How they lie on an axis; `category`: some are no numbers."""


class StudyPoint(FrozenModel):
    """Values of all that is swept, and the results of chips there."""

    sweep: str | None
    """Dotted key of the parameter that is swept here; null in a grid, and where nothing is swept."""
    values: Values
    """Of what is swept here, by dotted key."""
    correct: tuple[int, ...]
    """Samples that each chip classified correctly, in the order of seeds."""
    mean: Share
    """Mean accuracy of the chips."""
    std: float | None = Field(ge=0)
    """Standard deviation of the accuracy of a chip (with n - 1); null for one chip."""
    low: Share | None
    """Lower end of the band of the mean; null for one chip."""
    high: Share | None
    """Upper end of the band of the mean; null for one chip."""
    worst_seed: int
    """The chip with the fewest right answers, the first of several."""
    worst: Share
    """Its accuracy."""


class StudyResult(FrozenModel, Drawable):
    """What a study found. The same study gives the same document, whatever ran it."""

    name: str
    """Name of the study."""
    version: str
    """Of mho."""
    design: Design
    """Whether parameters were swept one at a time, or all together."""
    program: StudyProgram
    """What ran."""
    samples: StudySamples
    """What every chip classified."""
    seeds: tuple[int, ...]
    """Of the chips."""
    base: Values
    """What differs from the accelerator at every point, by dotted key."""
    sweeps: tuple[SweptParameter, ...]
    """What was swept."""
    exact_accuracy: Share
    """Accuracy of the integer reference, which ideal arrays have."""
    band: Literal["student-t"] = "student-t"
    """How bands are made: mean -+ t s / sqrt(n) of the chips' accuracies, Student's t with n - 1 degrees of freedom,
    cut to 0..1. Bands tell how chips differ, not how other samples would."""
    confidence: float = Field(gt=0, lt=1)
    """Of the bands."""
    points: tuple[StudyPoint, ...]
    """In the order of the study."""

    def __repr__(self) -> str:
        return f"StudyResult({self._summary})"

    @property
    def _summary(self) -> str:
        worst = min(point.worst for point in self.points)
        keys = " of " + ", ".join(one.key for one in self.sweeps) if self.sweeps else ""
        return (
            f"{self.name}: {plural(len(self.points), 'point')}{keys} on {plural(len(self.seeds), 'chip')}, exact "
            f"accuracy {format_share(self.exact_accuracy)}, worst chip {format_share(worst)}"
        )

    def table(self) -> Table:
        """Return one row a point; accuracies in 0..1."""
        keys = [one.key for one in self.sweeps]
        return Table(
            self._summary,
            ("sweep", *keys, "mean", "std", "low", "high", "worst", "worst_seed"),
            tuple(
                (
                    point.sweep, *(_cell(point.values.get(key)) for key in keys), point.mean, point.std, point.low,
                    point.high, point.worst, point.worst_seed,
                )
                for point in self.points
            ),
        )  # fmt: skip

    def points_of(self, key: str | None) -> tuple[StudyPoint, ...]:
        """Return the points at which the parameter `key` is swept; None: those of a grid, or the one without sweeps."""
        return tuple(point for point in self.points if point.sweep == key)


def _cell(value: Value | None) -> Cell:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
