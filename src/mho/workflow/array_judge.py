"""What arrays make of a network: compiled, its ADCs calibrated, and asked on a chip, as a search of ADC bits needs it.

Cells are ideal, so that what is lost is lost by converters alone; ADCs and DACs are those of the accelerator, with the
bits that each layer has. Ranges follow from calibration images, as `mho calibrate` finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.data.dataset import Split
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.mapping.model import DEFAULT_MODEL, MappingModel
from mho.seeds import derive_seed
from mho.workflow.checks import judge_logits

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.training import Evaluation
    from mho.simulation.adc_ranges import AdcRanges

CALIBRATION_IMAGES = 100
"""Images that ranges follow from, spread over the calibration split; all where it has fewer."""
BATCH = 100


class ArrayJudge:
    """Asks quantized networks on arrays (see the module); an `mho.bit_search.qat_evaluator.NetworkJudge`.

    Args:
        accelerator: with calibrated ADCs.
        calibration: what ranges follow from.
        mapping: how layers are laid into crossbars.
        seed: of the run; errors of ADCs follow from it, the same for all networks.
    """

    words = "on arrays with calibrated ADCs"

    def __init__(
        self, accelerator: Accelerator, calibration: Split, *, mapping: MappingModel = DEFAULT_MODEL, seed: int = 0
    ) -> None:
        self.hardware = with_ideal_cells(accelerator)
        self._mapping, self._seed = mapping, derive_seed(seed, "arrays")
        self._seen = images_for_ranges(calibration)

    told = "arrays with ideal cells, whose ADCs convert with the bits of each layer in ranges from calibration images"
    """What accuracies are of, for a note."""

    @property
    def problem(self) -> Mapping[str, Any]:
        """Hardware, mapping and seed; calibration images follow from the calibration split."""
        return {
            "hardware": self.hardware.to_json(),
            "mapping": str(self._mapping),
            "seed": self._seed,
            "images": len(self._seen),
        }

    def judge(self, trainable: TrainableNetwork, splits: Sequence[Split]) -> tuple[Evaluation, ...]:
        """Return what arrays get right of each of the splits; the network's policy tells bits of ADCs.

        Raises:
            MhoError: the network cannot be compiled for the accelerator.
        """
        return self.ask(compile_trained(trainable, self.hardware, self._mapping), splits)[0]

    def ask(self, program: Program, splits: Sequence[Split]) -> tuple[tuple[Evaluation, ...], AdcRanges]:
        """Return what the arrays of a program get right of each of the splits, and the ranges of its ADCs.

        Args:
            program: for the accelerator.
            splits: what is asked.
        """
        from mho.quantization.training import Evaluation
        from mho.simulation.adc_ranges import calibrate_adcs
        from mho.simulation.analog import AnalogExecutor

        ranges = calibrate_adcs(program, self._seed, self._seen, hardware=self.hardware, batch_size=BATCH)
        chip = AnalogExecutor(program, self._seed, hardware=self.hardware, ranges=ranges.layers)
        found = []
        for split in splits:
            told = judge_logits(_run(chip, split), split.labels)
            found.append(Evaluation(told["loss"], told["accuracy"], told["count"], told["correct"]))
        return tuple(found), ranges

    def ask_file(self, path: Path, splits: Sequence[Split]) -> tuple[tuple[Evaluation, ...], AdcRanges]:
        """Return the same of a program file."""
        from mho.program.container import read_program

        return self.ask(read_program(path), splits)


def compile_trained(trainable: TrainableNetwork, hardware: Accelerator, mapping: MappingModel) -> Program:
    """Return the program of a network as it is trained; its policy tells bits of ADCs.

    Raises:
        MhoError: the network cannot be compiled for the hardware.
    """
    from mho.program.lowering import compile_network

    adc_bits = {} if trainable.policy is None else trainable.policy.adc_bits
    return compile_network(trainable.to_quantized_network(), hardware, model=mapping, adc_bits=adc_bits)


def images_for_ranges(calibration: Split) -> NDArray[np.float32]:
    """Return the inputs [n, ...] that ranges of ADCs follow from: `CALIBRATION_IMAGES`, spread over the split."""
    return calibration.spread(min(CALIBRATION_IMAGES, len(calibration))).inputs(slice(None))


def with_ideal_cells(accelerator: Accelerator) -> Accelerator:
    """Return the accelerator with cells and wires that are ideal, its converters as they are."""
    content = {key: value for key, value in accelerator.to_json().items() if key not in ("array", "sources")}
    return accelerator_from_json(content, where=accelerator.name)


def _run(chip: Any, split: Split) -> NDArray[np.float32]:
    (logits,) = chip.run(split.inputs(slice(None)), BATCH).values()
    return logits
