"""Estimates the accuracy of networks on non-ideal chips from a statistical model, without writing or simulating chips.

Every layer is one product of weights that have the moments of their cells, with noise and the errors of converters as
moments of each output (`mho.quantization.statistical_noise`). Each part of the samples runs on a virtual chip of its
own, so that their mean is one over many chips, at the cost of few. Virtual chips have the same random numbers under all
policies, and an accuracy depends on the network, its policy and the seed, not on what was evaluated before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mho.array.conductances import Device, check_conditions
from mho.data.dataset import Split
from mho.errors import UnsupportedOperationError
from mho.evaluation.chips import SampledChips
from mho.evaluation.machine_arrays import MachineArrays
from mho.evaluation.networks import score_outputs
from mho.hardware.array import Compensation, Placement
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.seeds import derive_seed

if TYPE_CHECKING:
    from mho.quantization.normal_numbers import NumberTables
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.statistical_layers import StatisticalLayers
    from mho.quantization.statistical_noise import StatisticalNoise
    from mho.quantization.training import Evaluation

MEASURED_SAMPLES = 256
"""Calibration samples, at most, whose activations errors of converters are measured on."""
VIRTUAL_CHIPS = 12
"""How many there are; each has its part of the samples."""
CORRECTION_SAMPLES = 16
"""Of these, how many tell the correction of channels on every virtual chip, where channels are corrected."""


def why_unsupported(hardware: Accelerator) -> str | None:
    """Return what of the hardware the statistical model leaves out, and sampled chips have; None: nothing.

    Args:
        hardware: cells, wires and converters.
    """
    array = hardware.array
    if not array.has_stuck_cells:
        return None
    if array.placement is Placement.FAULT_AWARE:
        return f'array.placement = "{array.placement}": lines are chosen by the stuck cells of each chip'
    if array.fault_compensation is Compensation.DIGITS:
        return f'array.fault_compensation = "{array.fault_compensation}": digits depend on the stuck cells of each chip'
    return None


class StatisticalEvaluator:
    """Estimates the mean accuracy of networks over chips; a `mho.evaluation.networks.NetworkEvaluator`.

    Args:
        chips: their hardware, and when they are read; their number does not count.
        accelerator: the machine that layers are mapped onto, see `mho.evaluation.machine_arrays`.
        calibration: samples that errors of converters are measured on.
        mapping: how layers are laid into crossbars.
        seed: of the run.

    Raises:
        UnsupportedOperationError: the model leaves out something that the hardware has (`why_unsupported`).
        ConfigError: conditions do not fit the hardware.
    """

    def __init__(
        self, chips: SampledChips, accelerator: Accelerator, calibration: Split, *, mapping: MappingModel, seed: int
    ) -> None:
        reason = why_unsupported(chips.hardware)
        if reason is not None:
            raise UnsupportedOperationError(
                f"the statistical model has no {reason}", where=chips.hardware.name, hint="simulate sampled chips"
            )
        check_conditions(Device.of(chips.hardware), chips.conditions)
        self._chips, self._accelerator, self._mapping = chips, accelerator, mapping
        self._seed = derive_seed(seed, "virtual chips")
        self._seen = calibration.spread(min(MEASURED_SAMPLES, len(calibration)))
        self._layers: StatisticalLayers | None = None
        self._tables: NumberTables | None = None

    @property
    def words(self) -> str:
        """How, for people."""
        return f"by the statistical model of {self._chips.words.partition(' of ')[2]}"

    @property
    def problem(self) -> Mapping[str, Any]:
        """Chips and mapping; calibration samples follow from the calibration split."""
        return {
            "method": "statistical",
            "hardware": self._chips.hardware.to_json(),
            "conditions": asdict(self._chips.conditions),
            "accelerator": self._accelerator.to_json(),
            "mapping": str(self._mapping),
            **({"program": "plan"} if self._accelerator.chip.crossbars > 1 else {}),
            "seed": self._seed,
            "chips": VIRTUAL_CHIPS,
            **({"correction_samples": CORRECTION_SAMPLES} if self._chips.recalibrates else {}),
            "images": len(self._seen),
        }

    def evaluate(
        self,
        trainable: TrainableNetwork,
        splits: Sequence[Split],
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[Evaluation, ...]:
        """Return the estimated accuracy and loss on each of the splits; the network's policy gives bits of ADCs.

        Args:
            trainable, splits: as for any evaluator.
            on_progress: is given the share that is done, 0..1.

        Raises:
            MhoError: the network cannot be mapped, or is in float.
        """
        from mho.quantization.statistical_layers import StatisticalLayers

        if self._layers is None:
            self._layers = StatisticalLayers(
                self._chips.hardware,
                self._chips.conditions,
                self._seen,
                MachineArrays(self._accelerator, self._mapping).find,
                self._seed,
            )
        layers = self._layers.find(trainable)
        found = []
        for split in splits:
            found.append(self._evaluate(trainable, layers, split))
            if on_progress is not None:
                on_progress(len(found) / len(splits))
        return tuple(found)

    def _evaluate(
        self, trainable: TrainableNetwork, layers: Mapping[str, StatisticalNoise], split: Split
    ) -> Evaluation:
        from mho.quantization.training import evaluate
        from mho.quantization.virtual_chips import VirtualSample, run_on_chips

        if not layers:
            return evaluate(trainable, split)
        order = np.random.default_rng(self._seed).permutation(len(split))
        shuffled = split.take(order)
        seen = self._seen.spread(CORRECTION_SAMPLES) if self._chips.recalibrates else None
        sample = VirtualSample(self._find_tables(trainable), self._seed, VIRTUAL_CHIPS, seen)
        logits = run_on_chips(trainable, layers, shuffled, sample)
        return score_outputs({"logits": logits}, shuffled.labels, shuffled.task)

    def _find_tables(self, trainable: TrainableNetwork) -> NumberTables:
        """Return the random numbers of all policies, on the device of a network."""
        from mho.quantization.devices import device_of
        from mho.quantization.normal_numbers import NumberTables

        device = device_of(trainable)
        if self._tables is None or self._tables.device != device:
            self._tables = NumberTables(device, self._seed)
        return self._tables
