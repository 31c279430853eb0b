"""How a run's search measures a policy: the evaluator of `mho.search`, given what the run prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mho.seeds import derive_seed
from mho.workflow.config import EvaluationSettings
from mho.workflow.material import EVALUATION_BATCH, compiled, training_images, training_options, training_work
from mho.workflow.stage import versions

if TYPE_CHECKING:
    from mho.bit_search.qat_evaluator import QatEvaluator
    from mho.workflow.policy_stages import Prepared


def make_evaluator(
    prepared: Prepared, settings: EvaluationSettings, policies: int, seed: int, *, on_arrays: bool = False
) -> tuple[QatEvaluator, list[str]]:
    """Return the evaluator of a run, and notes for the reader of the report.

    Args:
        prepared: the float network, its calibration, data and hardware.
        settings: how candidates are measured.
        policies: how many it will be asked for.
        seed: of the run.
        on_arrays: ask candidates on arrays, not exactly.
    """
    from mho.bit_search.qat_evaluator import QatEvaluator

    material, training = prepared.material, settings.training
    module = prepared.trainable()
    images = 0.0 if training is None else policies * training_work(training, material)
    runnable, notes = compiled(module, material, images)
    evaluator = QatEvaluator(
        module,
        prepared.table(),
        material.dataset.train if training is None else training_images(training, material),
        material.dataset.calibration,
        material.dataset.validation,
        None if training is None else training_options(training, material),
        seed=derive_seed(seed, "evaluation"),
        batch_size=EVALUATION_BATCH,
        runnable=runnable,
        devices=material.devices,
        stops_hopeless=settings.stop_hopeless,
        judge=prepared.array_judge(seed) if on_arrays else None,
        problem={
            **prepared.digests,
            "accelerator": material.accelerator.to_json(),
            "compile": material.compile,
            "threads": material.threads,
            "versions": versions(),
        },
    )
    return evaluator, notes
