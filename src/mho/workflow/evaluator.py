"""How a run's search measures a policy: from the same float network each time, calibrated steps, a short training.

A measurement depends on the policy and on what `problem` names, on nothing that was evaluated before, so a search can
be interrupted and its log shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mho.errors import TrainingError
from mho.quantization.policy import Policy
from mho.workflow.config import EvaluationSettings
from mho.workflow.material import EVALUATION_BATCH, compiled, training_images, training_options
from mho.workflow.stage import derive_seed, versions

if TYPE_CHECKING:
    from mho.search.evaluation import Measurement
    from mho.workflow.policy_stages import Prepared


class TrainingEvaluator:
    """Measures policies by short quantization-aware training, or without any.

    Args:
        prepared: the float network, its calibration, data and hardware.
        settings: how candidates are measured.
        seed: of the run.
    """

    def __init__(self, prepared: Prepared, settings: EvaluationSettings, seed: int) -> None:
        self._prepared, self._settings, self._seed = prepared, settings, seed
        self._module = prepared.trainable()
        self._state = {name: tensor.clone() for name, tensor in self._module.state_tensors().items()}
        self._runnable, self.notes = compiled(self._module, prepared.material)

    @property
    def fidelity(self) -> str:
        """How thoroughly policies are measured, for people too."""
        training = self._settings.training
        if training is None:
            return "post-training quantization"
        length = f"{training.steps} steps" if training.steps is not None else f"{training.epochs} epochs"
        count = len(training_images(training, self._prepared.material))
        return f"{length} of training on {count} images"

    @property
    def problem(self) -> Mapping[str, Any]:
        """What a measurement depends on besides policy and fidelity."""
        material = self._prepared.material
        return {
            **self._prepared.digests,
            "accelerator": material.accelerator.to_json(),
            "augmentation": material.augmentation,
            "compile": material.compile,
            "evaluation": self._settings.model_dump(mode="json"),
            "seed": self._seed,
            "versions": versions(),
        }

    def seed_for(self, policy: Policy) -> int:
        """Return the seed that evaluating `policy` uses."""
        from mho.search.evaluation import derive_seed as derive_policy_seed

        return derive_policy_seed(derive_seed(self._seed, "evaluation"), policy)

    def evaluate(self, policy: Policy) -> Measurement:
        """Measure a policy on calibration (loss) and validation data (accuracy)."""
        from mho.models.runtime import torch_generator
        from mho.quantization.training import evaluate, train
        from mho.search.evaluation import Measurement

        material, training = self._prepared.material, self._settings.training
        self._module.load_state_tensors(self._state)
        self._module.set_policy(policy)
        if training is not None:
            options = training_options(training, material)
            generator = torch_generator(self.seed_for(policy))
            try:
                train(self._runnable, training_images(training, material), options, generator)
            except TrainingError as error:
                return Measurement(None, None, str(error))
        score = evaluate(self._runnable, material.dataset.calibration, EVALUATION_BATCH).loss
        accuracy = evaluate(self._runnable, material.dataset.validation, EVALUATION_BATCH).accuracy
        return Measurement.of(score, accuracy)
