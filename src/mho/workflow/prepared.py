"""What every search and every quantized network of a run starts from: the float network and its calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mho.evaluation.accuracy import Evaluators, choose_evaluators
from mho.evaluation.networks import FLOAT_BATCH
from mho.hardware.chip import DigitalArithmetic
from mho.hardware.spec import Accelerator
from mho.policy import Policy
from mho.quantization.effort import DEFAULT_EFFORT, Effort, effort_key, steps_of
from mho.seeds import derive_seed
from mho.workflow.config import EvaluationSettings
from mho.workflow.material import Material, compiled, training_images, training_options, training_work
from mho.workflow.network_stages import CALIBRATION_FILE, CALIBRATION_IMAGES, FLOAT_FILE
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Report, versions

if TYPE_CHECKING:
    from mho.bit_search.qat_evaluator import QatEvaluator
    from mho.network.graph import Network
    from mho.quantization.calibration_table import CalibrationTable
    from mho.quantization.qat import TrainableNetwork


@dataclass(frozen=True)
class Prepared:
    """The float network and its calibration, with data and hardware of the run.

    Attributes:
        effort: that calibration puts into finished networks.
        shared: the network that was trained for all policies, with its calibration, where candidates start from one.
    """

    material: Material
    float_network: StageResult
    calibration: StageResult
    effort: Effort = DEFAULT_EFFORT
    shared: StageResult | None = None

    @property
    def finishing_ingredients(self) -> dict[str, Any]:
        """What finished networks depend on through effort and arithmetic; nothing for the default and float32."""
        digital = self.material.accelerator.digital
        arithmetic = {"arithmetic": [digital.arithmetic.value, digital.activation_bits]} if self._is_integer else {}
        return effort_key(self.effort) | arithmetic

    @property
    def _is_integer(self) -> bool:
        return self.material.accelerator.digital.arithmetic is DigitalArithmetic.INTEGER

    @property
    def digests(self) -> dict[str, str]:
        """What it comes from."""
        return {
            "float": self.float_network.digest,
            "calibration": self.calibration.digest,
            "data": self.material.data_hash,
        }

    def on(self, accelerator: Accelerator) -> Prepared:
        """Return the same for other hardware, of which the run's chips are too where they were of the run's own."""
        return replace(self, material=self.material.on(accelerator))

    def trainable(self) -> TrainableNetwork:
        """Return a new module with the float weights and the calibrated steps."""
        from mho.network.onnx_reader import read_onnx
        from mho.quantization.qat import TrainableNetwork

        module = TrainableNetwork(read_onnx(self.float_network.folder / FLOAT_FILE))
        module.set_calibration(self.table())
        return module

    def calibrated(self, policy: Policy, seed: int, report: Report) -> TrainableNetwork:
        """Return a new module that is quantized to `policy` with the run's effort."""
        module = self.trainable()
        module.set_policy(policy)
        if steps_of(self.effort).fits_layers:
            from mho.quantization.joint_inputs import as_tensor
            from mho.quantization.reconstruction import reconstruct

            samples = self.material.dataset.calibration.spread(CALIBRATION_IMAGES)
            reconstruct(
                module, as_tensor(samples.inputs(slice(None))), self.effort, seed=derive_seed(seed, "calibration"),
                on_progress=lambda now: report(now.fraction, f"fitting, {now.detail}"),
            )  # fmt: skip
        return module

    def finish(self, module: TrainableNetwork) -> Network:
        """Return a module's network in integers, and where the digital unit has no floats, all other tensors too."""
        quantized = module.to_quantized_network()
        if not self._is_integer:
            return quantized
        from mho.quantization.digital_grids import assign_digital_grids

        inputs = self.material.dataset.calibration.spread(CALIBRATION_IMAGES).inputs(slice(None))
        return assign_digital_grids(quantized, inputs, bits=self.material.accelerator.digital.activation_bits)

    def table(self) -> CalibrationTable:
        """Return the calibrated steps."""
        from mho.quantization.calibration_table import CalibrationTable

        return CalibrationTable.load(self.calibration.folder / CALIBRATION_FILE)

    def evaluators(self, settings: EvaluationSettings, seed: int) -> Evaluators:
        """Return what evaluates candidates of the search and fully trained networks.

        Args:
            settings: whose accuracy counts.
            seed: of the run.
        """
        material = self.material
        return choose_evaluators(
            settings.accuracy_of,
            material.chips,
            material.accelerator,
            material.dataset.calibration,
            mapping=material.mapping,
            seed=seed,
        )

    def make_evaluator(self, settings: EvaluationSettings, policies: int, seed: int) -> tuple[QatEvaluator, list[str]]:
        """Return what measures the candidates of a search, and notes for the reader of the report.

        Args:
            settings: how candidates are measured.
            policies: how many will be measured.
            seed: of the run.
        """
        from mho.bit_search.qat_evaluator import QatEvaluator

        if self.shared is not None:
            start = replace(self, float_network=self.shared, calibration=self.shared, shared=None)
            return start.make_evaluator(settings, policies, seed)
        material, training = self.material, settings.training
        module = self.trainable()
        images = 0.0 if training is None else policies * training_work(training, material)
        runnable, notes = compiled(module, material, images)
        evaluators = self.evaluators(settings, seed)
        notes += [evaluators.note] if evaluators.note else []
        evaluator = QatEvaluator(
            module,
            self.table(),
            material.dataset.train if training is None else training_images(training, material),
            material.dataset.calibration,
            material.dataset.validation,
            None if training is None else training_options(training, material),
            seed=derive_seed(seed, "evaluation"),
            batch_size=FLOAT_BATCH,
            runnable=runnable,
            devices=material.devices,
            stops_hopeless=settings.stop_hopeless,
            effort=settings.effort,
            network_evaluator=evaluators.candidates,
            problem={
                **self.digests,
                "accelerator": material.accelerator.to_json(),
                "compile": material.compile,
                "threads": material.threads,
                "versions": versions(),
            },
        )
        return evaluator, notes
