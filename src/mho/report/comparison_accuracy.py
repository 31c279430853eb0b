"""How right the arrays of accelerators answer: samples with labels, run on chips with the conductances of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.cost.layer_tables import network_policy
from mho.errors import DataError
from mho.network.graph import Network
from mho.program.program import Program
from mho.quantization.policy import Policy
from mho.simulation.arrays import read_arrays

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

    inputs: Mapping[str, NDArray[Any]] | NDArray[Any]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"labels of shape {list(labels.shape)} and type {labels.dtype}",
                where=LABELS,
                expected="integers from 0, one a sample, at least one",
            )
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def share_right(self, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        """Return the share of samples whose largest output is that of their class.

        Args:
            outputs: of a network with one output, [N, classes].

        Raises:
            DataError: there are more outputs, of another shape, or other samples or classes.
        """
        found = next(iter(outputs.values()))
        if len(outputs) != 1 or found.ndim != 2 or found.shape[1] < 2:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
            raise DataError(f"outputs {shapes} are no scores of classes", expected="one output [N, classes]")
        if len(found) != len(self.labels):
            raise DataError(
                f"{len(self.labels)} labels for {len(found)} samples", where=LABELS, expected="one a sample"
            )
        if (largest := int(self.labels.max())) >= found.shape[1]:
            raise DataError(f"a label is {largest}", where=LABELS, expected=f"0..{found.shape[1] - 1}")
        return float((found.argmax(axis=1) == self.labels).mean())


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


class Examination:
    """Samples that several accelerators are asked about.

    Attributes:
        samples: with their labels.
        exact_accuracy: share that exact integers answer rightly; None before the first program.
    """

    def __init__(self, network: Network, policy: Policy, samples: LabelledSamples, seed: int) -> None:
        """Hold the network against the policy.

        Args:
            network: quantized.
            policy: its own widths.
            samples: what is asked.
            seed: of all chips.

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
        self.samples, self._seed = samples, seed
        self.exact_accuracy: float | None = None

    def measure(self, program: Program) -> float:
        """Return the share of samples that a chip answers rightly.

        Raises:
            MhoError: its arrays cannot run the program, or samples do not suit it.
        """
        from mho.simulation.analog import AnalogExecutor
        from mho.simulation.executor import Executor

        if self.exact_accuracy is None:
            self.exact_accuracy = self.samples.share_right(Executor(program).run(self.samples.inputs))
        return self.samples.share_right(AnalogExecutor(program, self._seed).run(self.samples.inputs))
