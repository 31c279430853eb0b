"""How the policies of a run are deployed on its machine: found once, for compiler and report alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from mho.evaluation.compilation import read_policy
from mho.evaluation.deployment import Deployment, find_deployment
from mho.mapping.layer_mapping import MappingModel
from mho.policy import Policy
from mho.scheduling.duplication import Objective
from mho.workflow.material import Material
from mho.workflow.policy_stages import QUANTIZED_FILE
from mho.workflow.run_directory import StageResult


@dataclass(frozen=True, eq=False)
class Deployments:
    """Finds deployments of quantized networks, each once: what a schedule is does not depend on who asks.

    Attributes:
        material: whose accelerator is the machine.
        objective: what options and copies are chosen for, where weights stay.
    """

    material: Material
    objective: Objective
    _known: dict[tuple[str, MappingModel], Deployment] = field(default_factory=dict)

    def find(self, stage: StageResult, model: MappingModel | None = None) -> Deployment:
        """Return how the network of a stage is deployed, under the run's mapping or another. Raises `MhoError`."""
        from mho.network.onnx_reader import read_onnx

        key = stage.digest, model or self.material.mapping
        if key not in self._known:
            network = read_onnx(stage.folder / QUANTIZED_FILE)
            adc_bits = Policy.from_json(stage.figures["policy"], where=stage.folder.name).adc_bits
            self._known[key] = find_deployment(
                network,
                read_policy(network, adc_bits),
                self.material.accelerator,
                model=key[1],
                objective=self.objective,
            )
        return self._known[key]
