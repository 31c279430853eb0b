"""What chips make of a network that was trained for them: compiled, calibrated where ADCs need that, and asked.

A network whose training met arrays answers best on arrays: exact integers may be far worse, as errors of cells are no
longer what it leans on. So runs with noise-aware training judge their networks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.data.dataset import Split
from mho.hardware.spec import Accelerator
from mho.mapping.model import MappingModel
from mho.seeds import derive_seed
from mho.workflow.array_judge import BATCH, compile_trained, images_for_ranges
from mho.workflow.chips import Chips

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.training import Evaluation

CHIPS = 3
"""Chips that networks are judged on: one may be luckier than another."""


class ChipJudge:
    """Asks quantized networks on chips; an `mho.bit_search.qat_evaluator.NetworkJudge`.

    Args:
        chips: which, and how they are read; their seeds follow from `seed`, and are not those of `chips`.
        accelerator: that programs are compiled for.
        calibration: what ranges of calibrated ADCs follow from.
        mapping: how layers are laid into crossbars.
        seed: of the run.
    """

    def __init__(
        self, chips: Chips, accelerator: Accelerator, calibration: Split, *, mapping: MappingModel, seed: int
    ) -> None:
        self._chips, self._accelerator, self._mapping = chips, accelerator, mapping
        self._seeds = [derive_seed(seed, f"judged chip {number}") for number in range(chips.count)]
        self._seen = images_for_ranges(calibration)

    @property
    def words(self) -> str:
        """Which chips, for people."""
        return f"on {self._chips.words}"

    @property
    def problem(self) -> Mapping[str, Any]:
        """Chips and mapping; calibration images follow from the calibration split."""
        return {
            "hardware": self._chips.hardware.to_json(),
            "conditions": asdict(self._chips.conditions),
            "accelerator": self._accelerator.to_json(),
            "mapping": str(self._mapping),
            "seeds": self._seeds,
            "images": len(self._seen),
        }

    @property
    def told(self) -> str:
        """What accuracies are of, for a note."""
        return f"{self._chips.words}, for whose cells, wires and converters they were trained"

    def judge(self, trainable: TrainableNetwork, splits: Sequence[Split]) -> tuple[Evaluation, ...]:
        """Return what chips get right of each of the splits on average; the network's policy tells bits of ADCs.

        Raises:
            MhoError: the network cannot be compiled for the accelerator, or chips cannot run it.
        """
        program = compile_trained(trainable, self._accelerator, self._mapping)
        return tuple(self._ask(program, split) for split in splits)

    def ask_file(self, path: Path, splits: Sequence[Split]) -> tuple[tuple[Evaluation, ...], None]:
        """Return the same of a program file; there are no ranges that all chips share."""
        from mho.program.container import read_program

        program = read_program(path)
        return tuple(self._ask(program, split) for split in splits), None

    def _ask(self, program: Program, split: Split) -> Evaluation:
        from mho.quantization.training import Evaluation

        inputs = split.inputs(slice(None))
        told = [
            self._chips.judge(program, seed, inputs, split.labels, self._seen, batch_size=BATCH) for seed in self._seeds
        ]
        loss, correct = (sum(one[key] for one in told) / len(told) for key in ("loss", "correct"))
        return Evaluation(loss, correct / len(split), len(split), round(correct))
