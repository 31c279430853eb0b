"""Evaluates quantized networks: in floats, which equals their exact integers, or on sampled chips that are not ideal.

`ChipEvaluator` compiles a network for the machine that is described, samples chips, and finds the ranges of calibrated
ADCs on each of them from calibration samples, as `mho calibrate-adcs` does. Which evaluator a run or a search uses is
chosen in `mho.evaluation.accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mho.data.dataset import Split
from mho.errors import TrainingError
from mho.evaluation.chip import ChipPreparation
from mho.evaluation.chips import SampledChips, run_chips
from mho.evaluation.classes import Predictions
from mho.hardware.loading import override
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.seeds import derive_seed
from mho.task.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from mho.program.program import Program
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.training import Evaluation

CALIBRATION_SAMPLES = 100
"""Samples that ranges follow from, spread over the calibration split; all where it has fewer."""
BATCH, FLOAT_BATCH = 100, 500
"""Samples at once on arrays, and in floats."""


class NetworkEvaluator(Protocol):
    """Evaluates quantized networks in another way than by their exact integers."""

    @property
    def words(self) -> str:
        """How, for people, such as "on 3 sampled chips of fefet"."""
        ...

    @property
    def problem(self) -> Mapping[str, Any]:
        """What its results depend on besides network, policy and samples, as JSON."""
        ...

    def evaluate(
        self,
        trainable: TrainableNetwork,
        splits: Sequence[Split],
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[Evaluation, ...]:
        """Return loss and accuracy of a network on splits.

        Args:
            trainable: the network, set to a policy and calibrated or trained for it.
            splits: samples with labels.
            on_progress: is given the share that is done, 0..1.

        Returns:
            One evaluation for each split.
        """
        ...


class ChipEvaluator:
    """Evaluates networks on sampled chips; a `NetworkEvaluator`.

    All networks are evaluated on the same chips.

    Args:
        chips: which, and how they are read; their seeds follow from `seed`, and are not those of `mho simulate`.
        accelerator: that programs are compiled for.
        calibration: what ranges of calibrated ADCs follow from.
        mapping: how layers are laid into crossbars.
        seed: of the run.
    """

    def __init__(
        self, chips: SampledChips, accelerator: Accelerator, calibration: Split, *, mapping: MappingModel, seed: int
    ) -> None:
        self._chips, self._accelerator, self._mapping = chips, accelerator, mapping
        self._seeds = [derive_seed(seed, f"judged chip {number}") for number in range(chips.count)]
        self._seen = samples_for_ranges(calibration)

    @property
    def words(self) -> str:
        """Which chips, for people."""
        return f"on {self._chips.words}"

    @property
    def problem(self) -> Mapping[str, Any]:
        """Chips and mapping; calibration samples follow from the calibration split."""
        return {
            "hardware": self._chips.hardware.to_json(),
            "conditions": asdict(self._chips.conditions),
            **({"recalibrates": True} if self._chips.recalibrates else {}),
            "accelerator": self._accelerator.to_json(),
            "mapping": str(self._mapping),
            **({"program": "schedule"} if self._accelerator.chip.crossbars > 1 else {}),
            "seeds": self._seeds,
            "images": len(self._seen),
        }

    def evaluate(
        self,
        trainable: TrainableNetwork,
        splits: Sequence[Split],
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[Evaluation, ...]:
        """Return the mean over chips of the accuracy on each of the splits; the network's policy gives bits of ADCs.

        Counts are those of all chips together.

        Raises:
            MhoError: the network cannot be compiled for the accelerator, or chips cannot run it.
        """
        program = compile_trained(trainable, self._accelerator, self._mapping)
        found = []
        for number, split in enumerate(splits):

            def show(seed: int, number: int = number) -> None:
                if on_progress is not None:
                    on_progress((number + self._seeds.index(seed) / len(self._seeds)) / len(splits))

            scores = score_chips(program, self._chips, self._seeds, split, self._seen, batch_size=BATCH, on_chip=show)
            found.append(pool_chips(scores))
        return tuple(found)


def pool_chips(scores: Sequence[Evaluation]) -> Evaluation:
    """Return the mean loss and accuracy over chips that answer the same samples; counts are those of all of them."""
    from mho.quantization.training import Evaluation

    count, loss = sum(score.count for score in scores), sum(score.loss for score in scores) / len(scores)
    right = [score.correct for score in scores if score.correct is not None]
    if len(right) == len(scores):
        share = sum(right) / count
        return Evaluation(loss, share, count, sum(right), math.sqrt(share * (1 - share) / count))
    error = sum(score.standard_error for score in scores) / len(scores)  # all answer the same samples
    return Evaluation(loss, sum(score.accuracy for score in scores) / len(scores), count, None, error)


def score_chips(
    program: Program,
    chips: SampledChips,
    seeds: Sequence[int],
    split: Split,
    seen: NDArray[np.float32],
    *,
    batch_size: int | None = None,
    on_chip: Callable[[int], None] | None = None,
) -> list[Evaluation]:
    """Return how accurate a program is on the chip of each seed.

    Args:
        program: that they run.
        chips: their hardware, and when they are read.
        seeds: of the chips.
        split: samples with labels.
        seen: inputs that ranges of calibrated ADCs follow from.
        batch_size, on_chip: as for `mho.evaluation.chips.run_chips`.

    Raises:
        MhoError: chips cannot run the program.
    """
    results = run_chips(
        program,
        seeds,
        split.inputs(slice(None)),
        hardware=chips.hardware,
        conditions=chips.conditions,
        preparation=ChipPreparation(seen, recalibrates=chips.recalibrates),
        batch_size=batch_size,
        on_chip=on_chip,
    )
    return [score_outputs(outputs, split.labels, split.task) for outputs in results]


def evaluate_network(
    trainable: TrainableNetwork,
    split: Split,
    evaluator: NetworkEvaluator | None = None,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return how accurate a network is on a split, as JSON: in floats, which equals exact integers, or on chips.

    Args:
        trainable, split: which.
        evaluator: of chips; None: exact integers are meant.
        on_progress: is given the share that is done, 0..1, on chips.

    Raises:
        TrainingError: its loss is not finite.
        MhoError: as `evaluator`.
    """
    from mho.quantization.training import evaluate

    if evaluator is None:
        return _checked(evaluate(trainable, split, FLOAT_BATCH))
    (found,) = evaluator.evaluate(trainable, (split,), on_progress=on_progress)
    return _checked(found)


def evaluate_with_predictions(trainable: TrainableNetwork, split: Split) -> tuple[dict[str, Any], Predictions]:
    """Return how accurate a network is on a split, in floats, as JSON, and what it predicts for each sample.

    Raises:
        TrainingError: its loss is not finite.
    """
    from mho.quantization.training import evaluate

    parts: list[Predictions] = []

    def keep(logits: Tensor, labels: Tensor) -> None:
        parts.append(Predictions.of(logits.cpu().numpy(), labels.cpu().numpy()))

    figures = _checked(evaluate(trainable, split, FLOAT_BATCH, on_batch=keep))
    classes, losses = (
        np.concatenate(one) for one in zip(*((part.classes, part.losses) for part in parts), strict=True)
    )
    return figures, Predictions(classes, losses)


def _checked(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON. Raises `TrainingError` where its loss is not finite."""
    if not math.isfinite(found.loss):
        raise TrainingError(
            f"the loss is {found.loss} after training", where="training", hint="lower its learning_rate"
        )
    return {
        "correct": found.correct,
        "count": int(found.count),
        "accuracy": found.accuracy,
        "loss": float(found.loss),
        "standard_error": found.standard_error,
    }


def score_outputs(outputs: Mapping[str, NDArray[np.float32]], targets: NDArray[Any], task: Task) -> Evaluation:
    """Return what a task's metric and loss tell of the only output [N, ...]."""
    from mho.quantization.training import Evaluation
    from mho.task.losses import sample_losses

    (found,) = outputs.values()
    losses = sample_losses(task, found, targets)
    return Evaluation.of(float(losses.mean()), task.measure(found, targets), len(targets))


def compile_trained(trainable: TrainableNetwork, hardware: Accelerator, mapping: MappingModel) -> Program:
    """Return the machine's own program of a network as it is trained: what its crossbars allow, as runs have it.

    The network's policy gives bits of ADCs.

    Its digital unit computes in float32: tensors between layers get integers when a network is finished.

    Raises:
        MhoError: the network cannot be compiled for the hardware.
    """
    from mho.evaluation.compilation import compile_for_machine

    adc_bits = {} if trainable.policy is None else trainable.policy.adc_bits
    in_float = override(hardware, arithmetic="float32")
    return compile_for_machine(trainable.to_quantized_network(), in_float, model=mapping, adc_bits=adc_bits)


def samples_for_ranges(calibration: Split) -> NDArray[np.float32]:
    """Return the inputs [n, ...] that ranges of ADCs follow from: `CALIBRATION_SAMPLES`, spread over the split."""
    return calibration.spread(min(CALIBRATION_SAMPLES, len(calibration))).inputs(slice(None))
