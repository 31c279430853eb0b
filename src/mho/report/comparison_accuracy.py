"""How right the arrays of accelerators answer: samples with labels, asked of chips of several seeds, fresh and aged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Conditions
from mho.array.nonidealities import chips_differ
from mho.array_files import read_arrays
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, DataError
from mho.network.graph import Network
from mho.policy import Policy
from mho.program.program import Program
from mho.report.comparison_document import ChipAccuracy

Inputs = Mapping[str, NDArray[Any]] | NDArray[Any]

LABELS = "labels"
"""Name of the labels in a file of samples."""


@dataclass(frozen=True, eq=False)
class LabelledSamples:
    """Samples and what they show.

    Attributes:
        inputs: arrays [N, ...] by the names of the network's inputs, or the only one.
        labels: the class of each sample, integers [N], from 0.

    Raises:
        DataError: labels are no integers from 0, [N], or there is none.
    """

    inputs: Inputs
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"labels of shape {list(labels.shape)} and type {labels.dtype}",
                where=LABELS,
                expected="integers from 0, one a sample, at least one",
            )
        # Unsigned labels from 2^63 on stay as they are: int64 would make them negative, and `check` refuses them.
        fits = int(labels.max()) <= np.iinfo(np.int64).max
        object.__setattr__(self, "labels", labels.astype(np.int64) if fits else labels)

    def __len__(self) -> int:
        return len(self.labels)

    def share_right(self, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        """Return the share of samples whose largest output is that of their class.

        Args:
            outputs: of a network with one output, [N, classes].

        Raises:
            DataError: there are more outputs, of another shape, or other samples or classes.
        """
        self.check({name: array.shape for name, array in outputs.items()})
        found = next(iter(outputs.values()))
        return float((found.argmax(axis=1) == self.labels).mean())

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Hold labels against the shapes of outputs [N, ...], by name.

        Raises:
            DataError: as `share_right`.
        """
        shape = next(iter(shapes.values()))
        if len(shapes) != 1 or len(shape) != 2 or shape[1] < 2:
            told = ", ".join(f"{name} {list(one)}" for name, one in shapes.items())
            raise DataError(f"outputs {told} are no scores of classes", expected="one output [N, classes]")
        if shape[0] != len(self.labels):
            raise DataError(f"{len(self.labels)} labels for {shape[0]} samples", where=LABELS, expected="one a sample")
        if (largest := int(self.labels.max())) >= shape[1]:
            raise DataError(f"a label is {largest}", where=LABELS, expected=f"0..{shape[1] - 1}")


def read_samples(path: str | Path) -> LabelledSamples:
    """Read samples and their labels from an .npz file: arrays by the names of inputs, and ``labels``.

    Raises:
        InputFileError: the file cannot be read.
        DataError: it holds no labels or no inputs.
    """
    arrays = read_arrays(path)
    if LABELS not in arrays or len(arrays) < 2:
        raise DataError(
            f"holds {', '.join(arrays) or 'nothing'}",
            where=str(path),
            expected=f"arrays [N, ...] by the names of the inputs, and {LABELS!r}, integers [N]",
        )
    labels = arrays.pop(LABELS)
    return LabelledSamples(arrays, labels)


def read_inputs(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read samples from an .npz file, arrays by the names of inputs; labels beside them are left out.

    Raises:
        InputFileError: the file cannot be read.
        DataError: it holds no inputs.
    """
    arrays = {name: array for name, array in read_arrays(path).items() if name != LABELS}
    if not arrays:
        raise DataError("holds no inputs", where=str(path), expected="arrays [N, ...] by the names of the inputs")
    return arrays


@dataclass(frozen=True, eq=False)
class Asking:
    """Which chips are asked, and when.

    Attributes:
        samples: with their labels.
        seed: of the first chip; others have the seeds after it.
        chips: of every accelerator, at least 1.
        elapsed_s: chips are asked again so long after the write; None: only at once.
        calibration: inputs on which calibrated ADCs find their ranges, when they are asked; None: there are none.
        recalibrates: whether channels are corrected on them too, when they are asked.

    Raises:
        ConfigError: there is no chip, the time is none, or channels are to be corrected on nothing.
    """

    samples: LabelledSamples
    seed: int = 0
    chips: int = 1
    elapsed_s: float | None = None
    calibration: Inputs | None = None
    recalibrates: bool = False

    def __post_init__(self) -> None:
        if self.chips < 1:
            raise ConfigError(f"chips is {self.chips}", expected="at least 1")
        if self.recalibrates and self.calibration is None:
            raise ConfigError("recalibration needs inputs", expected="calibration inputs beside the samples")
        Conditions(self.elapsed_s)

    @property
    def seeds(self) -> range:
        """Of all chips."""
        return range(self.seed, self.seed + self.chips)

    @property
    def calibration_samples(self) -> int | None:
        """How many there are for calibration; None for none."""
        if self.calibration is None:
            return None
        return len(next(iter(self.calibration.values())) if isinstance(self.calibration, Mapping) else self.calibration)


class Examination:
    """Samples that several accelerators are asked about.

    Attributes:
        asking: which chips, when.
        exact_accuracy: share that exact integers answer rightly; None before the first program.
    """

    def __init__(self, network: Network, policy: Policy, asking: Asking) -> None:
        """Hold the network against the policy.

        Args:
            network: quantized.
            policy: its own widths.
            asking: which chips are asked what.

        Raises:
            DataError: the network is not quantized, or at other widths.
        """
        own = network_policy(network)
        if own is None:
            raise DataError(
                "accuracies need integers, and the network is not quantized",
                where=network.name,
                expected="a quantized network, such as a QCDQ ONNX file",
                hint="mho quantize makes one",
            )
        if own.with_adc_bits(policy.adc_bits) != policy:
            raise DataError(
                "accuracies are those of the network's own integers, and other widths are asked for",
                where=network.name,
                expected="no other widths than the network's own",
            )
        self.asking = asking
        self.exact_accuracy: float | None = None

    def measure(self, program: Program) -> ChipAccuracy:
        """Return how right chips of all seeds answer at once.

        Raises:
            MhoError: its arrays cannot run the program, or samples do not suit it.
        """
        from mho.simulation.executor import Executor

        samples = self.asking.samples
        if self.exact_accuracy is None:
            self.exact_accuracy = samples.share_right(Executor(program).run(samples.inputs))
        return self._ask(program, Conditions())

    def measure_later(self, program: Program, fresh: ChipAccuracy) -> ChipAccuracy | None:
        """Return how right they answer later; None where that is not asked.

        Args:
            program: as for `measure`.
            fresh: what it found; where cells do not depend on the time, the same chips would give the same answers.

        Raises:
            MhoError: the time is before that from when on drift is told.
        """
        if self.asking.elapsed_s is None:
            return None
        later = Conditions(self.asking.elapsed_s)
        return fresh if later.effective_on(program.accelerator.array) == Conditions() else self._ask(program, later)

    def _ask(self, program: Program, conditions: Conditions) -> ChipAccuracy:
        from mho.simulation.chip_trial import ChipCare, ask_chip

        asking, samples = self.asking, self.asking.samples
        care = None
        if asking.calibration is not None:
            care = ChipCare(asking.calibration, recalibrates=asking.recalibrates)
        elif program.accelerator.converters.has_calibrated_adc:
            raise ConfigError(
                f"converters.adc_range is {program.accelerator.converters.adc_range.value!r}",
                where=program.accelerator.name,
                expected="calibration inputs, on which ADCs find their ranges",
            )
        right: list[int] = []
        hardware = program.accelerator
        for seed in asking.seeds:
            if right and not chips_differ(hardware.array, hardware.converters):
                right.append(right[0])
                continue
            outputs = ask_chip(program, seed, samples.inputs, conditions=conditions, care=care)
            right.append(round(samples.share_right(outputs) * len(samples)))
        return ChipAccuracy.of(right, len(samples))
