"""The stage that trains one network for all policies, so that candidates of a search only need a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.policy import BitWidths
from mho.seeds import derive_seed
from mho.workflow.material import (
    compiled,
    epochs_reporter,
    finish_training,
    training_images,
    training_options,
    training_work,
)
from mho.workflow.network_stages import CALIBRATION_FILE, CALIBRATION_IMAGES, FLOAT_FILE
from mho.workflow.stage import Figures, Report
from mho.workflow.training_settings import TrainingSettings

if TYPE_CHECKING:
    from mho.workflow.prepared import Prepared


@dataclass(frozen=True)
class TrainShared:
    """Train the float network so that it suits every policy of the search, and calibrate it.

    Attributes:
        prepared: the float network and its calibration.
        choices: of each layer, the widths that the search may give it.
        training: how.
        seed: of the run.
    """

    prepared: Prepared
    choices: Mapping[str, tuple[BitWidths, ...]]
    training: TrainingSettings
    seed: int
    name: str = "shared"
    title: str = "Train one network for all policies"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, widths, training, seed."""
        material = self.prepared.material
        return {
            **self.prepared.digests,
            "widths": [[name, [str(one) for one in options]] for name, options in self.choices.items()],
            "training": self.training.model_dump(mode="json"),
            "augmentation": material.augmentation,
            "compile": material.compile,
            "seed": self.seed,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the network and its calibration, in the files that their own stages would write."""
        from mho.models.runtime import torch_generator
        from mho.quantization.calibration import calibrate
        from mho.quantization.devices import placed
        from mho.quantization.export import write_float_onnx
        from mho.quantization.joint_inputs import as_tensor
        from mho.quantization.shared_widths import SharedWidths, train_shared

        material, module = self.prepared.material, self.prepared.trainable()
        runnable, notes = compiled(module, material, training_work(self.training, material))
        options = training_options(self.training, material)
        with placed(module, material.devices.names[0], material.devices.precision):
            train_shared(
                runnable, self.prepared.table(), SharedWidths(self.choices), training_images(self.training, material),
                options, torch_generator(derive_seed(self.seed, "shared")),
                teacher=module.network if options.distillation else None,
                checkpoint=folder / "checkpoint", on_progress=epochs_reporter(report),
            )  # fmt: skip
        write_float_onnx(module.to_network(), folder / FLOAT_FILE)
        samples = material.dataset.calibration.spread(CALIBRATION_IMAGES)
        calibrate(module, as_tensor(samples.inputs(slice(None)))).save(folder / CALIBRATION_FILE)
        finish_training(folder / "checkpoint")
        return {"notes": notes, "images": training_work(self.training, material)}

    def note(self, figures: Mapping[str, Any]) -> str:
        """How much it was."""
        return f"on {figures['images']:,.0f} samples"
