"""What a study would do, and roughly how long it would take: all is checked, and nothing is changed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mho.evaluation.samples import LabelledSamples
from mho.evaluation.workers import ChipTask, SharedMaterial, evaluate_chip
from mho.ray_pool import import_ray
from mho.workflow.dry_run import DryRun, Step
from mho.workflow.study import LOG_FILE, PROGRAM_FILE, list_tasks, load_points
from mho.workflow.study_config import StudyConfig
from mho.workflow.study_log import StudyLog
from mho.workflow.study_material import LoadedStudy

BASIS = "time of some chips, measured here"
_MOST_CHIPS, _MEASURED_S = 8, 4.0
"""How many chips are measured at most, and after how many seconds no further one is."""
_WHOLE_CHIP_S = 5.0
"""Chips below it, as estimated from a batch, s, are measured with all samples."""


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
        seconds = _measure(loaded, program_file, missing, config.samples.batch_size) if missing else 0.0
    facts = {
        "program": f"{loaded.program.name}: {loaded.program_source}",
        "samples": f"{loaded.samples_source}: {len(loaded.samples):,}, integer-reference accuracy {exact_accuracy:.2%}",
        "points": f"{len(points)}, {len(config.study.chips)} chips each",
        "chips": f"{len(tasks):,}, of which {len(tasks) - len(missing):,} are evaluated already",
        "directory": str(config.directory),
    }
    return DryRun(facts, (Step("chips", seconds * len(missing) / (processes or 1), not missing),), BASIS)


def _measure(loaded: LoadedStudy, program_file: Path, tasks: Sequence[ChipTask], batch_size: int) -> float:
    """Return the mean time of a chip, s: of some from all points, for a few seconds."""
    samples = loaded.samples

    def run(task: ChipTask, count: int) -> float:
        inputs = samples.inputs
        some = (
            {name: array[:count] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[:count]
        )
        part = LabelledSamples(some, samples.labels[:count])
        material = SharedMaterial(program_file, part, loaded.preparation, batch_size)
        return evaluate_chip(material, loaded.program, task).seconds

    def estimate(task: ChipTask) -> float:
        small = run(task, few)
        if small * len(samples) / few < _WHOLE_CHIP_S:
            return run(task, len(samples))
        a_batch = max(run(task, min(2 * few, len(samples))) - small, 0.0)  # without what a chip takes once
        return small + a_batch * (len(samples) - few) / few

    few, start, times = min(batch_size, len(samples)), time.monotonic(), []
    run(tasks[0], few)  # the first chip waits for what is loaded and compiled once
    for task in tasks[:: -(-len(tasks) // _MOST_CHIPS)]:
        times.append(estimate(task))
        if time.monotonic() - start > _MEASURED_S:
            break
    return sum(times) / len(times)
