"""What a stage of a run is, and how one is had: taken from the run directory where it is finished, else made.

A stage is a frozen value that says what it comes from (its key) and how it is made. It sees what it declared and the
folder that it fills; nothing passes between stages but `StageResult`s.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mho.errors import InputFileError
from mho.task.task import Task
from mho.version import __version__
from mho.workflow.progress import RunProgress
from mho.workflow.run_directory import RunDirectory, StageResult, hash_json

LIBRARIES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime", "gymnasium", "stable-baselines3", "scikit-learn")
"""What results depend on beside mho itself."""

Report = Callable[[float, str], None]
"""Called by a stage with the fraction done, 0..1, and a detail for people."""

Figures = dict[str, Any]


def report_part(report: Report, start: float, share: float, what: str = "") -> Report:
    """Return what a part of a stage reports to.

    Args:
        report: of the stage.
        start, share: where the part begins in the stage's work, and how much of it it is, 0..1.
        what: comes before details.
    """

    def show(fraction: float, detail: str) -> None:
        report(start + share * fraction, ", ".join(text for text in (what, detail) if text))

    return show


class Stage(Protocol):
    """One step of a run."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        ...

    @property
    def title(self) -> str:
        """What it does, for people."""
        ...

    def ingredients(self) -> Mapping[str, Any]:
        """Everything that it comes from, as JSON: settings, digests of earlier stages and of data, seeds."""
        ...

    def make(self, folder: Path, report: Report) -> Figures:
        """Fill `folder` and return the figures. What an interrupted attempt left in `folder` may be gone on with."""
        ...

    def note(self, figures: Mapping[str, Any]) -> str:
        """Tell the outcome in a few words."""
        ...


@dataclass(frozen=True)
class StageRunner:
    """Gets stages from a run directory, with progress.

    Attributes:
        computing: of the run's material: what figures depend on beside their stages' ingredients.
    """

    directory: RunDirectory
    progress: RunProgress
    computing: Mapping[str, Any]

    def get(self, stage: Stage) -> StageResult:
        """Return the finished stage: as it lies in the run directory, or made now."""
        key = stage_key(stage, self.computing)
        found = self.directory.finished(stage.name, key)
        self.progress.begin(stage.name, stage.title)
        if found is not None:
            self.progress.end(f"{stage.note(found.figures)} (from an earlier run)", is_new=False)
            return found
        folder = self.directory.begin(stage.name, key)
        clock = self.directory.clock(stage.name)

        def report(fraction: float, detail: str) -> None:
            clock.tick()
            self.progress.update(fraction, detail)

        try:
            figures = stage.make(folder, report)
        except InputFileError as error:
            if not Path(error.where).is_relative_to(folder):
                raise
            self.progress.say(f"An interrupted attempt left a damaged file: {error.what}. The stage starts over.")
            figures = stage.make(self.directory.begin_anew(stage.name, key), report)
        result = self.directory.commit(stage.name, key, figures, clock.seconds)
        self.progress.end(stage.note(figures), is_new=True)
        return result


def stage_key(stage: Stage, computing: Mapping[str, Any]) -> str:
    """Return the hash of everything that a stage comes from; `computing` is that of the run's material."""
    return hash_json({"stage": stage.name, "from": dict(stage.ingredients()), "versions": versions(), **computing})


def versions() -> dict[str, str]:
    """Return the versions of mho and of what its results depend on."""
    found = {"mho": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        found[name] = importlib.metadata.version(name)
    return found


def tell_validation(task: Task, figures: Mapping[str, Any]) -> str:
    """Return what a stage's network has on validation data, for people."""
    name = "" if task.is_classification else f"{task.metric.words} "
    return f"{name}{task.metric.format(figures['validation']['accuracy'])} on validation data"
