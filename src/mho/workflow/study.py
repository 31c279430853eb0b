"""A whole study: from a configuration to a table and a page, in a directory that it can go on from.

lock            held while a study uses the folder
study.json      the configuration, as it was read
program.mho     what chips run
results.jsonl   the result of every chip, see `mho.workflow.study_log`
result.json, table.txt, table.csv, study.html   what came out
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mho.cache_folder import write_atomically
from mho.evaluation.confidence import CONFIDENCE, find_band
from mho.evaluation.samples import Inputs
from mho.evaluation.workers import ChipResult, ChipTask, SharedMaterial, evaluate_chips
from mho.ray_pool import import_ray
from mho.report.study_document import StudyPoint, StudyProgram, StudyResult, SweptParameter, Value
from mho.report.study_page import render_study
from mho.report.study_text import write_csv, write_text
from mho.version import __version__
from mho.workflow.run_directory import use_folder_alone
from mho.workflow.study_config import StudyConfig
from mho.workflow.study_log import StudyLog, chip_key
from mho.workflow.study_material import LoadedStudy, load_material
from mho.workflow.study_plan import PlannedPoint, plan_study

if TYPE_CHECKING:
    from mho.evaluation.samples import LabelledSamples
    from mho.program.program import Program

CONFIG_FILE, PROGRAM_FILE, LOG_FILE = "study.json", "program.mho", "results.jsonl"
RESULT_FILE, TEXT_FILE, CSV_FILE, PAGE_FILE = "result.json", "table.txt", "table.csv", "study.html"
_MANY_DECADES = 30
"""Largest over smallest of listed values, all above zero, from which their axis is logarithmic."""

OnChip = Callable[[int, int], None]
"""Called with the number of chips that are done, and of all."""


@dataclass(frozen=True, eq=False)
class FinishedStudy:
    """A finished study.

    Attributes:
        result: what it found.
        directory: where its files lie.
        evaluated: chips that were evaluated now; results of the others were in the directory.
    """

    result: StudyResult
    directory: Path
    evaluated: int


@dataclass(frozen=True)
class Ingredients:
    """What the results of all chips of a study depend on, beside point and seed."""

    program: str
    samples: str
    batch_size: int
    calibration: Mapping[str, Any]

    def task(self, point: PlannedPoint, seed: int) -> ChipTask:
        """Return the task of a chip."""
        hardware = point.hardware.to_json()
        conditions = point.conditions
        content = {
            "mho": __version__,
            "program": self.program,
            "samples": self.samples,
            "batch_size": self.batch_size,
            "calibration": self.calibration if point.needs_calibration else None,
            **({"recalibration": True} if point.is_recalibrated else {}),
            "array": hardware["array"],
            "converters": hardware["converters"],
            "conditions": [conditions.elapsed_s, conditions.temperature_k, conditions.reads],
            "seed": seed,
        }
        return ChipTask(
            chip_key(content),
            seed,
            point.hardware,
            conditions,
            point.is_calibrated,
            point.is_recalibrated,
            point.words,
        )


def run_study(
    config: StudyConfig,
    *,
    where: str = "study",
    directory: Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
    program: Program | None = None,
    samples: LabelledSamples | None = None,
    calibration: Inputs | None = None,
    on_chip: OnChip | None = None,
) -> FinishedStudy:
    """Evaluate all chips of a study, going on from what earlier studies found in the same directory.

    Args:
        config: what is evaluated.
        where: the study's file, for messages.
        directory: instead of the configuration's.
        processes: that evaluate chips, at least 1; changes no figure. None: this one, or all processors of a Ray
            cluster.
        ray: address of a Ray cluster that evaluates them, see `mho.ray_pool`; None: this machine.
        fresh: forget what earlier studies left in the directory.
        program: instead of the configuration's table program.
        samples: instead of the configuration's data.
        calibration: inputs, instead of the configuration's calibration.file.
        on_chip: is called after each chip.

    Raises:
        MhoError: anything wrong with what the user gave (before any chip is evaluated), another study uses the
            directory, or a process died.
    """
    if ray is not None:
        import_ray()
    loaded, points = load_points(config, where=where, program=program, samples=samples, calibration=calibration)
    exact_accuracy = loaded.measure_exactly()
    path = directory or config.directory
    with _open_directory(path, fresh=fresh) as log:
        write_atomically(path / CONFIG_FILE, _json(config.to_json()))
        program_hash = loaded.write_program(path / PROGRAM_FILE)
        tasks = list_tasks(config, loaded, points, program_hash)
        material = SharedMaterial(path / PROGRAM_FILE, loaded.samples, loaded.preparation, config.samples.batch_size)
        evaluated = _evaluate_missing(
            log, tasks, lambda missing: evaluate_chips(material, missing, processes, ray), len(loaded.samples), on_chip
        )
        counts = [[log.read(task.key) for task in row] for row in tasks]
        result = _collect(config, loaded, program_hash, points, counts, exact_accuracy)
        _write_result(path, result)
    return FinishedStudy(result, path, evaluated)


def load_points(
    config: StudyConfig,
    *,
    where: str,
    program: Program | None = None,
    samples: LabelledSamples | None = None,
    calibration: Inputs | None = None,
) -> tuple[LoadedStudy, Sequence[PlannedPoint]]:
    """Load what a study works with, and return it with the points; arguments and errors are those of `run_study`."""
    loaded = load_material(config, where=where, program=program, samples=samples, calibration=calibration)
    points = plan_study(config, loaded.program.accelerator, where=where)
    needs_calibration = any(point.needs_calibration for point in points)
    is_given = calibration is not None or config.calibration.file is not None
    loaded.check_calibration(needs_calibration, is_given, where=where)
    return loaded, points


def list_tasks(
    config: StudyConfig, loaded: LoadedStudy, points: Sequence[PlannedPoint], program_hash: str
) -> list[list[ChipTask]]:
    """Return the tasks of each point, a chip each; `program_hash` is that of the program's file."""
    settings = config.calibration.model_dump(mode="json", exclude={"file", "images"})
    settings["inputs"] = loaded.calibration_hash
    ingredients = Ingredients(program_hash, loaded.samples_hash, config.samples.batch_size, settings)
    return [[ingredients.task(point, seed) for seed in config.study.chips] for point in points]


def _evaluate_missing(
    log: StudyLog,
    tasks: Sequence[Sequence[ChipTask]],
    evaluate: Callable[[Sequence[ChipTask]], Iterator[ChipResult]],
    samples: int,
    on_chip: OnChip | None,
) -> int:
    """Evaluate the chips that have no line in the log, and return how many those are."""
    # Points of several sweeps may be one and the same: their chips are evaluated once.
    all_tasks: dict[str, ChipTask] = {}
    for row in tasks:
        for task in row:
            all_tasks.setdefault(task.key, task)
    missing = [task for key, task in all_tasks.items() if log.find(key) is None]
    done = len(all_tasks) - len(missing)
    for found in evaluate(missing):
        task = all_tasks[found.key]
        about = {
            "images": samples,
            "seed": task.seed,
            "point": task.words,
            "seconds": round(found.seconds, 3),
        }
        log.append(found.key, found.correct, about)
        done += 1
        if on_chip is not None:
            on_chip(done, len(all_tasks))
    return len(missing)


def _collect(
    config: StudyConfig,
    loaded: LoadedStudy,
    program_hash: str,
    points: Sequence[PlannedPoint],
    counts: Sequence[Sequence[int]],
    exact_accuracy: float,
) -> StudyResult:
    program = loaded.program
    return StudyResult(
        name=config.study.name,
        version=__version__,
        design=config.study.design,
        program=StudyProgram(
            name=program.name,
            source=loaded.program_source,
            sha256=program_hash,
            accelerator=program.accelerator.name,
        ),
        samples=loaded.describe_samples(),
        seeds=config.study.chips,
        base=config.base_values,
        sweeps=tuple(
            SweptParameter(key=key, values=values, scale=_scale_of(values, is_log=key in config.logarithmic))
            for key, values in config.swept.items()
        ),
        exact_accuracy=exact_accuracy,
        confidence=CONFIDENCE,
        points=tuple(
            _summarize(point, row, config.study.chips, len(loaded.samples))
            for point, row in zip(points, counts, strict=True)
        ),
    )


def _summarize(point: PlannedPoint, correct: Sequence[int], seeds: Sequence[int], samples: int) -> StudyPoint:
    band, worst = find_band(correct, samples), min(correct)
    return StudyPoint(
        sweep=point.sweep,
        values=dict(point.values),
        correct=tuple(correct),
        mean=band.mean,
        std=band.std,
        low=band.low,
        high=band.high,
        worst_seed=seeds[correct.index(worst)],
        worst=worst / samples,
    )


def _scale_of(values: Sequence[Value], *, is_log: bool) -> Literal["linear", "log", "category"]:
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) < len(values):
        return "category"
    spreads = min(numbers) > 0 and max(numbers) >= _MANY_DECADES * min(numbers)
    return "log" if is_log or spreads else "linear"


def _write_result(path: Path, result: StudyResult) -> None:
    write_atomically(path / RESULT_FILE, _json(result.model_dump(mode="json")))
    write_atomically(path / TEXT_FILE, write_text(result).encode())
    write_atomically(path / CSV_FILE, write_csv(result).encode())
    write_atomically(path / PAGE_FILE, render_study(result).encode())


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


@contextmanager
def _open_directory(path: Path, *, fresh: bool) -> Iterator[StudyLog]:
    """Open the directory of a study, made where it does not exist, for this process alone.

    Raises:
        MhoError: another study uses it.
        InputFileError: it cannot be made, or is a folder of something else.
    """
    with use_folder_alone(path, LOG_FILE, "study"):
        if fresh:
            for name in (RESULT_FILE, TEXT_FILE, CSV_FILE, PAGE_FILE, PROGRAM_FILE, CONFIG_FILE, LOG_FILE):
                (path / name).unlink(missing_ok=True)  # the log last: it marks the folder as a study's
        yield StudyLog(path / LOG_FILE)
