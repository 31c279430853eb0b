"""What a study would do, and roughly how long it would take: all is checked, and nothing is changed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mho.evaluation.samples import LabelledSamples
from mho.evaluation.workers import ChipTask, SharedMaterial, evaluate_chip
from mho.ray_pool import import_ray
from mho.workflow.dry_run import DryRun, Step
from mho.workflow.study import LOG_FILE, PROGRAM_FILE, list_tasks, load_points
from mho.workflow.study_config import StudyConfig
from mho.workflow.study_log import StudyLog
from mho.workflow.study_material import LoadedStudy

BASIS = "time of a part of the samples on one chip, measured here"


def check_study(
    config: StudyConfig, *, where: str, processes: int | None = None, ray: str | None = None, fresh: bool = False
) -> DryRun:
    """Check a study, and say what it would do: arguments and errors are those of `mho.workflow.study.run_study`."""
    if ray is not None:
        import_ray()
    loaded, points = load_points(config, where=where)
    exact_accuracy = loaded.measure_exactly()
    with tempfile.TemporaryDirectory(prefix="mho-check-") as scratch:
        program_file, log_file = Path(scratch) / PROGRAM_FILE, config.directory / LOG_FILE
        tasks = {
            task.key: task
            for row in list_tasks(config, loaded, points, loaded.write_program(program_file))
            for task in row
        }
        if log_file.is_file() and not fresh:
            log = StudyLog(Path(shutil.copy(log_file, scratch)))  # opening one may mend its end
            missing = [task for key, task in tasks.items() if log.find(key) is None]
        else:
            missing = list(tasks.values())
        seconds = _measure(loaded, program_file, missing[0], config.samples.batch_size) if missing else 0.0
    facts = {
        "program": f"{loaded.program.name}: {loaded.program_source}",
        "samples": f"{loaded.samples_source}: {len(loaded.samples):,}, integer-reference accuracy {exact_accuracy:.2%}",
        "points": f"{len(points)}, {len(config.study.chips)} chips each",
        "chips": f"{len(tasks):,}, of which {len(tasks) - len(missing):,} are evaluated already",
        "directory": str(config.directory),
    }
    return DryRun(facts, (Step("chips", seconds * len(missing) / (processes or 1), not missing),), BASIS)


def _measure(loaded: LoadedStudy, program_file: Path, task: ChipTask, batch_size: int) -> float:
    """Return the time that a chip takes, s."""
    count = min(batch_size, len(loaded.samples))
    inputs = loaded.samples.inputs
    some = {name: array[:count] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[:count]
    samples = LabelledSamples(some, loaded.samples.labels[:count])
    material = SharedMaterial(program_file, samples, loaded.preparation, batch_size)
    result = evaluate_chip(material, loaded.program, task)
    return result.seconds * len(loaded.samples) / count
