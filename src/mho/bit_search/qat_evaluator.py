"""Measures policies by training: the same float weights each time, calibrated steps, a short training."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mho.bit_search.evaluation import Measurement, Variant
from mho.data.dataset import Split
from mho.errors import ConfigError, DataError, TrainingError
from mho.evaluation.networks import NetworkEvaluator
from mho.network.graph import Network
from mho.policy import Policy
from mho.quantization.allocator import keep_freed_memory
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.compilation import compile_if_possible
from mho.quantization.devices import Devices, place
from mho.quantization.effort import DEFAULT_EFFORT, Effort, effort_key, steps_of
from mho.quantization.qat import TrainableNetwork
from mho.quantization.reconstruction import reconstruct
from mho.quantization.training import TrainingProgress, evaluate, train
from mho.quantization.training_options import TrainingOptions
from mho.task.task import CLASSIFICATION

SEED_STRIDE = 1_000_003
"""Between the seeds of repeated measurements."""


class StoppedTrainingError(Exception):
    """Ends a training from within; never leaves the evaluator.

    Attributes:
        note: what was found.
    """

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


class ChanceLevelTest:
    """Called with every step of a training, it raises `StoppedTrainingError` halfway where it only guesses.

    Candidates start from trained weights, so a network whose mean loss over the second quarter of the steps is still
    that of a uniform guess was destroyed by its widths. The rule knows nothing of other policies, so a measurement
    depends on its policy alone.

    Args:
        classes: how many there are to guess.
    """

    def __init__(self, classes: int) -> None:
        self._limit = math.log(classes)
        self._losses: list[float] = []
        self._epoch, self._first, self._total = 0, 0, 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Count a step."""
        if progress.epoch != self._epoch:
            self._epoch, self._first, self._total = progress.epoch, progress.step - 1, 0.0
        total = progress.loss * (progress.step - self._first)  # the mean is over the epoch so far
        self._losses.append(total - self._total)
        self._total = total
        half = progress.steps // 2
        if progress.step != half or half < 2:
            return
        quarter = self._losses[half // 2 : half]
        mean = sum(quarter) / len(quarter)
        if mean >= self._limit:
            raise StoppedTrainingError(
                f"stopped after {half} of {progress.steps} steps: a loss of {mean:.3f}, and guessing has"
                f" {self._limit:.3f}"
            )


class QatEvaluator:
    """An `bit_search.evaluation.Evaluator` that calibrates, trains for a short while, and keeps the better of the two.

    Of the calibrated and the trained network, the one of lower loss on the calibration split is measured, so that a
    training that loses more than it wins back makes no policy look worse, uniform 8/8 included. The result depends on
    the policy, the seed and what is given here, on nothing that was evaluated before. Test data is not used.

    Args:
        trainable: the network with its float weights; they are put back before every evaluation and by `restore`.
        table: calibrated steps.
        train_split: what candidates are trained on; not used where `options` is None.
        calibration_split: fixed; the loss on it is the score.
        validation_split: for the accuracy.
        options: the short training; None: post-training quantization only.
        seed: of every training: all policies see the same batches.
        batch_size: samples evaluated together.
        runnable: a compiled form of `trainable`, where there is one.
        network_evaluator: evaluates the network, on chips for instance; None: its exact integers count.
        stops_hopeless: end trainings halfway that are no better than guessing (`mho.bit_search.early_stopping`).
        problem: what else a measurement depends on (the accelerator, versions), as JSON.
        devices: where networks are trained and evaluated, each process on one of them; None: on the processor.
        effort: of calibration, on the calibration split: where it fits layers, it does for each policy, before a
            training too.
    """

    def __init__(
        self,
        trainable: TrainableNetwork,
        table: CalibrationTable,
        train_split: Split,
        calibration_split: Split,
        validation_split: Split,
        options: TrainingOptions | None,
        *,
        seed: int,
        batch_size: int = 256,
        runnable: torch.nn.Module | None = None,
        network_evaluator: NetworkEvaluator | None = None,
        stops_hopeless: bool = False,
        problem: Mapping[str, Any] | None = None,
        devices: Devices | None = None,
        effort: Effort = DEFAULT_EFFORT,
    ) -> None:
        self._trainable, self._runnable = trainable, runnable if runnable is not None else trainable
        self._train, self._calibration, self._validation = train_split, calibration_split, validation_split
        self._options, self._seed, self._batch_size, self._network_evaluator = (
            options,
            seed,
            batch_size,
            network_evaluator,
        )
        self._table, self._given = table, dict(problem or {})
        self._effort: Effort = effort
        self._again, self._stops, self._devices = "", stops_hopeless, devices or Devices()
        if stops_hopeless and not train_split.task.has_classes:
            raise ConfigError(
                f"stop_hopeless for {train_split.task.kind}",
                where="evaluation",
                expected="classes, which can be guessed",
            )
        trainable.set_calibration(table)
        own = self._devices.own()
        place(trainable, own.names[0], own.precision)
        self._float_state = self._copy_state()
        self._teacher = trainable.to_network() if options is not None and options.distillation else None
        self._problem = {
            **self._given,
            "network": _hash_tensors(self._float_state),
            "steps": _hash_tensors(table.tensors()),
            "data": {
                "train": _hash_split(train_split) if options is not None else None,
                "calibration": _hash_split(calibration_split),
                "validation": _hash_split(validation_split),
            },
            "training": None if options is None else {k: str(v) for k, v in dataclasses.asdict(options).items()},
            "seed": seed,
            **own.to_json(),
            **({"stops": "hopeless"} if stops_hopeless else {}),
            **effort_key(effort),
            **({} if calibration_split.task == CLASSIFICATION else {"task": calibration_split.task.to_json()}),
            **({} if network_evaluator is None else {"network_evaluator": dict(network_evaluator.problem)}),
        }  # fmt: skip

    @property
    def fidelity(self) -> str:
        """How thoroughly policies are measured, for people too."""
        suffix = "" if self._network_evaluator is None else f", evaluated {self._network_evaluator.words}"
        if self._options is None:
            made_by = "" if self._effort == DEFAULT_EFFORT else f", {self._effort} effort"
            return f"post-training quantization{made_by}{suffix}{self._again}"
        length = f"{self._options.steps} steps" if self._options.steps is not None else f"{self._options.epochs} epochs"
        return f"calibration or {length} of training on {len(self._train)} samples{suffix}{self._again}"

    @property
    def is_on_chips(self) -> bool:
        """True where accuracies are those of another network evaluator: of chips, not of exact integers."""
        return self._network_evaluator is not None

    @property
    def problem(self) -> Mapping[str, Any]:
        """What a measurement depends on besides policy and fidelity."""
        return self._problem

    def at(self, variant: Variant) -> QatEvaluator:
        """Return an evaluator that trains for fewer steps, with another seed, or that evaluates exact integers.

        It shares the network with this one.

        Raises:
            ConfigError: candidates are not trained.
        """
        other, options = copy.copy(self), self._options
        if variant.is_exact:
            other._network_evaluator = None
        if variant.steps is None and not variant.repeat:
            return other
        if options is None:
            raise ConfigError(
                "candidates are calibrated only, so that there is nothing shorter, and nothing that a seed changes",
                where="evaluation",
                expected="a training of candidates",
            )
        if variant.steps is not None:
            other._options = dataclasses.replace(options, steps=variant.steps, epochs=None) if variant.steps else None
        if variant.repeat:
            other._seed = (self._seed + SEED_STRIDE * variant.repeat) % 2**63
            other._again = f", again with seed {variant.repeat}"
        return other

    def relative_cost(self, variant: Variant) -> float:
        """Return what a variant takes as a share of a full evaluation, in images through the network: trained ones are
        three, as gradients cost about two more."""
        return self.at(variant)._work / self._work

    @property
    def _work(self) -> int:
        evaluated = len(self._calibration) + len(self._validation)
        if self._options is None:
            return evaluated
        evaluated += len(self._calibration)
        return evaluated + 3 * self._options.total_steps(len(self._train)) * self._options.batch_size

    def seed_for(self, policy: Policy) -> int:  # noqa: ARG002 - the protocol's
        """Return the seed that evaluating `policy` uses: the same for all, so that all see the same batches.

        With common random numbers, much of the noise of a short training is in every measurement alike, and
        differences between policies are their own.
        """
        return self._seed

    def evaluate(self, policy: Policy) -> Measurement:
        """Measure a policy; a training that diverges is a failed measurement."""
        self._calibrate(policy)
        note, score = "", self._score()
        calibrated = self._copy_state()
        if self._options is not None:
            generator = torch.Generator().manual_seed(self.seed_for(policy))
            test = ChanceLevelTest(int(self._train.labels.max()) + 1) if self._stops else None
            try:
                train(self._runnable, self._train, self._options, generator, on_progress=test, teacher=self._teacher)
            except TrainingError as error:
                return Measurement(None, None, error.what)
            except StoppedTrainingError as stop:
                note = stop.note
            if score <= (trained := self._score()):
                self._trainable.load_state_tensors(calibrated)
            score = min(score, trained)
        if self._network_evaluator is not None:
            calibration, validation = self._network_evaluator.evaluate(
                self._trainable, (self._calibration, self._validation)
            )
            return Measurement.of(calibration.loss, validation.accuracy, note)
        return Measurement.of(score, evaluate(self._runnable, self._validation, self._batch_size).accuracy, note)

    def _calibrate(self, policy: Policy) -> None:
        self._set(policy)
        if steps_of(self._effort).fits_layers:
            inputs = torch.from_numpy(self._calibration.inputs(slice(None)))
            reconstruct(self._trainable, inputs, self._effort, seed=self._seed)

    def _set(self, policy: Policy) -> None:
        self.restore()
        self._trainable.set_policy(policy)

    def _copy_state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self._trainable.state_tensors().items()}

    def _score(self) -> float:
        return evaluate(self._runnable, self._calibration, self._batch_size).loss

    def recipe(self) -> QatRecipe:
        """Return what another process makes this evaluator from."""
        self.restore()
        return QatRecipe(
            network=self._trainable.network,
            weights={name: tensor.detach().cpu().numpy() for name, tensor in self._float_state.items()},
            table=self._table,
            # What is not trained on is not sent.
            train=self._train if self._options is not None else self._train.take(slice(0, 1)),
            calibration=self._calibration,
            validation=self._validation,
            options=self._options,
            seed=self._seed,
            batch_size=self._batch_size,
            network_evaluator=self._network_evaluator,
            problem=self._given,
            stops_hopeless=self._stops,
            is_compiled=self._runnable is not self._trainable,
            devices=self._devices,
            threads=torch.get_num_threads(),
            effort=self._effort,
        )

    def restore(self) -> None:
        """Put the float weights back and leave the network in float."""
        self._trainable.load_state_tensors(self._float_state)
        self._trainable.set_policy(None)


@dataclass(frozen=True, eq=False)
class QatRecipe:
    """What an evaluator is made from, as plain values that another process can make it from again.

    Attributes:
        network, weights: the float network, and all tensors of its module by name.
        table: calibrated steps.
        train, calibration, validation, options, seed, batch_size, network_evaluator, problem, stops_hopeless: of the
            evaluator.
        is_compiled: whether trainings run compiled, where a compiler is found.
        devices: of the evaluator; each process takes one.
        threads: that torch computes with; figures depend on it.
        effort: of calibration.
    """

    network: Network
    weights: Mapping[str, NDArray[Any]]
    table: CalibrationTable
    train: Split
    calibration: Split
    validation: Split
    options: TrainingOptions | None
    seed: int
    batch_size: int
    network_evaluator: NetworkEvaluator | None
    problem: Mapping[str, Any]
    stops_hopeless: bool
    is_compiled: bool
    devices: Devices
    threads: int
    effort: Effort = DEFAULT_EFFORT

    @property
    def gpus(self) -> int:
        """GPUs that each evaluator takes."""
        return int(self.devices.has_gpus)

    def make(self) -> QatEvaluator:
        """Return an evaluator that measures as the one that this comes from.

        This process gets as many threads as that one, and keeps freed memory.
        """
        torch.set_num_threads(self.threads)
        keep_freed_memory()
        module = TrainableNetwork(self.network)
        module.load_state_tensors({name: torch.from_numpy(array.copy()) for name, array in self.weights.items()})
        return QatEvaluator(
            module,
            self.table,
            self.train,
            self.calibration,
            self.validation,
            self.options,
            seed=self.seed,
            batch_size=self.batch_size,
            runnable=compile_if_possible(module)[0] if self.is_compiled else None,
            network_evaluator=self.network_evaluator,
            stops_hopeless=self.stops_hopeless,
            problem=self.problem,
            devices=self.devices,
            effort=self.effort,
        )


def _hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors, hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name].detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _hash_split(split: Split) -> str:
    """Return the SHA-256 of a split's samples, labels and normalization, hexadecimal.

    Raises:
        DataError: the split is empty.
    """
    if len(split) == 0:
        raise DataError("a split is empty", expected="one sample or more")
    digest = hashlib.sha256(f"{split.images.dtype} {split.images.shape} {split.mean} {split.std}\n".encode())
    digest.update(np.ascontiguousarray(split.images).tobytes())
    digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()
