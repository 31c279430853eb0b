"""`result.json`: every figure of a run, and the only source of what its page shows.

Its parts are in `mho.report.result_figures`, with their units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from mho.errors import MhoError
from mho.frozen_model import FrozenModel
from mho.input_files import read_json
from mho.mapping.layer_mapping import MappingModel
from mho.report.map_document import MapDocument
from mho.report.result_chips import ErrorSources, MappingChoice, ModelAgreement, TargetFigures
from mho.report.result_figures import (
    AbsentPart,
    Candidate,
    Check,
    ChipAccuracies,
    ChipFigures,
    DataFigures,
    Duration,
    FileFigures,
    LayerFigures,
    MappingFigures,
    NetworkFigures,
    StageFigures,
    TrainingFigures,
    ZeroSliceFigures,
)
from mho.report.result_networks import ClassErrors, CostSplit, DeployedSize, Sensitivities
from mho.report.result_search import OperandWorth, SearchFigures, SearchSummary
from mho.report.result_task import TaskFigures
from mho.report.schedule_document import AreaFigures
from mho.settings import parse_settings

FORMAT: Literal["mho-result"] = "mho-result"
VERSION: Literal[3] = 3
EXACT = "exact integers"
"""What accuracies are of that no array has touched: the integer reference."""


class RunResult(FrozenModel):
    """All figures of a run."""

    format: Literal["mho-result"] = FORMAT
    """What this file is."""
    version: Literal[3] = VERSION
    """Version of this format."""
    name: str
    """Name of the run."""
    sentence: str
    """The result in one sentence."""
    seed: int
    """Seed of every random number."""
    seconds: Duration
    """Working time of all stages."""
    network: NetworkFigures
    """The network."""
    data: DataFigures
    """The data."""
    candidates: tuple[Candidate, ...]
    """Float, uniform 8/8 and the found policy, in this order."""
    drop: float
    """How much is lost on test data against uniform 8/8 with ideal integers (negative: gained), in the unit of the
    task's metric: points of accuracy."""
    layers: tuple[LayerFigures, ...]
    """MVM layers in execution order."""
    map: MapDocument | None = None
    """How the network lies in crossbars under the found policy, and why."""
    search: SearchFigures
    """How the policy was found."""
    worths: tuple[OperandWorth, ...] = ()
    """What one bit more or less of each layer would cost and bring; empty where there are too few evaluations."""
    searches: tuple[SearchSummary, ...] = ()
    """The run's search, then others in its directory that measured policies alike."""
    trainings: tuple[TrainingFigures, ...]
    """Float training and quantization-aware trainings."""
    checks: tuple[Check, ...]
    """Engines compared with each other."""
    instructions: dict[str, int]
    """Instructions that the program executes for one sample, by kind."""
    mapping: MappingModel
    """How layers are laid into crossbars."""
    mappings: tuple[MappingFigures, ...]
    """Uniform 8/8 and the found policy under every mapping."""
    zero_slices: tuple[ZeroSliceFigures, ...] = ()
    """What skipping reads of zero slices would save, where that was measured."""
    tested_on: str = EXACT
    """What the test accuracies of uniform 8/8 and the found policy are of: sampled chips, or exact integers, which are
    the integer reference, where hardware computes exactly, or `unsampled`."""
    chip_accuracies: tuple[ChipAccuracies, ...] = ()
    """Accuracies of uniform 8/8 and the found policy on sampled chips; empty where hardware computes exactly, or
    `unsampled`."""
    target: TargetFigures | None = None
    """Whether the found policy keeps the allowed drop; null within a cost budget, and in results that predate it."""
    error_sources: ErrorSources | None = None
    """What costs accuracy on chips; null where the allowed drop is kept, or hardware computes exactly."""
    mapping_choice: MappingChoice | None = None
    """How the bound on the error of mappings was chosen; null where it was given, or hardware computes exactly."""
    agreement: ModelAgreement | None = None
    """How well the model that evaluated candidates orders policies as sampled chips do; null where none did."""
    unsampled: str = ""
    """Why no chips were sampled of hardware that does not compute exactly."""
    errors: tuple[ClassErrors, ...] = ()
    """How each network errs on test data, class by class; empty where there are no classes, and in results that predate
    it."""
    sensitivities: Sensitivities | None = None
    """What one bit less or more of each layer does to the found policy's network; null where `absent` says why, and in
    results that predate it."""
    splits: tuple[CostSplit, ...] = ()
    """Where time and energy go at uniform 8/8 and under the found policy; empty in results that predate it."""
    sizes: tuple[DeployedSize, ...] = ()
    """How large each network is where it is deployed; empty in results that predate it."""
    chip: tuple[ChipFigures, ...] = ()
    """Uniform 8/8 and the found policy on the machine: time, energy, writes and lifetime of the programs' schedules. In
    results that predate programs for the machine, of chips of more than one crossbar alone."""
    area: AreaFigures | None = None
    """Area of the machine; null where the accelerator specifies none, and in results that predate it."""
    absent: tuple[AbsentPart, ...] = ()
    """Optional parts that could not be had, each with its reason."""
    accelerator: dict[str, Any]
    """Description of the hardware, with sources."""
    conversion: str = ""
    """What its ADCs are, with the bits that ideal ones stand for, and what conversions take of time, in words."""
    settings: dict[str, Any]
    """Configuration of the run."""
    notes: tuple[str, ...]
    """What a reader should know (for instance that no compiler was found)."""
    versions: dict[str, str]
    """Versions of mho and of what it stands on."""
    machine: dict[str, str]
    """Where it ran."""
    stages: tuple[StageFigures, ...]
    """Stages in order."""
    files: tuple[FileFigures, ...]
    """Files that the run made."""

    @property
    def task(self) -> TaskFigures:
        """What networks were judged by."""
        return self.search.task

    def candidate(self, name: str) -> Candidate:
        """Return the candidate of that name. Raises `MhoError` for an unknown one."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        known = ", ".join(candidate.name for candidate in self.candidates)
        raise MhoError(f"there is no candidate {name!r:.80}", expected=known)


def read_result(path: str | Path) -> RunResult:
    """Read a `result.json`. Raises `InputFileError` or `ConfigError`."""
    return parse_settings(
        RunResult, read_json(path, expected="the folder of a run, or result.json in it"), where=str(path)
    )
