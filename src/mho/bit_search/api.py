"""Searching from Python: a network, data and an accelerator in, a policy out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mho.argument_checks import check_arguments, check_fields
from mho.array.conductances import Conditions
from mho.bit_search.array_errors import find_array_errors
from mho.bit_search.budget import CostBudget, default_repeats
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.layer_features import layer_features
from mho.bit_search.log import EvaluationLog
from mho.bit_search.methods import AUTO, MethodName, MethodOptions, prunes
from mho.bit_search.objective import Objective, ObjectiveName, parse_objective
from mho.bit_search.own_method import OwnMethod
from mho.bit_search.policy_costs import make_costs
from mho.bit_search.qat_evaluator import QatEvaluator
from mho.bit_search.runner import SearchLimits, SearchResult, run_search
from mho.bit_search.screening import Screening
from mho.bit_search.search_state import OnPolicy
from mho.bit_search.space import SearchSpace
from mho.bit_search.warm_start import known_records
from mho.bit_search.workers import Workers, open_measurer
from mho.cost_model.latency_table import LatencyTable
from mho.data.dataset import Dataset
from mho.data.in_memory import dataset as make_dataset
from mho.errors import ConfigError
from mho.evaluation.accuracy import AccuracyOf, choose_evaluators, sample_chips
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import NetworkEvaluator
from mho.hardware.loading import as_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.network.graph import Network
from mho.network.input_normalization import find_normalization
from mho.network.layers import derive_layer_table
from mho.policy import MAX_BITS
from mho.quantization.calibration import calibrate
from mho.quantization.devices import Devices
from mho.quantization.effort import DEFAULT_EFFORT, Effort
from mho.quantization.qat import TrainableNetwork
from mho.quantization.shared_widths import SharedWidths, train_shared
from mho.quantization.training_options import TrainingOptions
from mho.task.task import Task

if TYPE_CHECKING:
    from mho.data.in_memory import Labelled


def make_space(
    network: Network,
    accelerator: Accelerator,
    constraints: SearchConstraints,
    *,
    mapping: MappingModel = DEFAULT_MODEL,
    prune: bool = True,
    objective: Objective = Objective.LATENCY,
    chips: SampledChips | None = None,
) -> SearchSpace:
    """Derive the space of a network on an accelerator under an objective; its weights do not matter.

    Args:
        network, accelerator, constraints, mapping, objective: of the search.
        prune: drop dominated choices.
        chips: whose accuracy counts; None: that of exact integers does.

    Raises:
        ConfigError: the accelerator does not suit the objective, or its ADCs not the bits that layers may have.
        MappingError: a layer cannot be mapped.
        PolicyError: a pin names an unknown layer.
    """
    _check_adc_bits(constraints, accelerator)
    errors = find_array_errors(network, accelerator, chips, mapping)
    if objective is not Objective.LATENCY or accelerator.chip.crossbars > 1:
        costs = make_costs(network, accelerator, objective, mapping)
        return SearchSpace.of_costs(
            network.layer_names, costs, layer_features(network), constraints, prune=prune, errors=errors
        )
    table = LatencyTable.build(
        derive_layer_table(network), accelerator, constraints.specified_adc_bits(), model=mapping
    )
    latencies = table.latency_ps[:, :MAX_BITS, :MAX_BITS]
    return SearchSpace.build(
        network.layer_names, latencies, layer_features(network), constraints,
        prune=prune, shared=table.shared, errors=errors,
    )  # fmt: skip


def _check_adc_bits(constraints: SearchConstraints, accelerator: Accelerator) -> None:
    """Check ADC bits that layers may have against the accelerator. Raises `ConfigError`."""
    searched, converters = constraints.specified_adc_bits(), accelerator.converters
    if searched and not converters.has_calibrated_adc:
        raise ConfigError(
            "ADC bits are to be searched, and no range of the ADCs follows from data",
            where=accelerator.name,
            expected="converters.adc_bits as a number, and converters.adc_range other than full-scale",
            hint="over the full scale every sum is read exactly, so that bits cost no accuracy",
        )
    if searched and searched[-1] > int(converters.adc_bits):
        raise ConfigError(
            f"ADC bits up to {searched[-1]} are to be searched",
            where=accelerator.name,
            expected=f"at most converters.adc_bits = {converters.adc_bits}",
        )


def useful_multiple(accelerator: Accelerator, mapping: MappingModel) -> int:
    """Return the multiple of weight bits that pays: the paper's mapping cannot use a partly filled cell."""
    return accelerator.crossbar.cell_bits if mapping is MappingModel.PAPER else 1


@dataclass(frozen=True)
class SearchOptions:
    """What few searches need beside the arguments of `search`.

    Attributes:
        mapping: "best", the cheapest exact mapping of each layer, or "paper", that of arXiv 2601.21737.
        cost_budget: what the best policy may cost, instead of what it may lose: a share of the cost of uniform 8/8 such
            as 0.4, or an amount such as "250 us". The most accurate policy within it is searched.
        whole_front: search policies of all costs alike; the best policy is the cheapest that keeps the allowed drop.
        constraints: what a policy may be; by default 2..8 bits, first and last layer at 8 bits (on chips that are not
            ideal, at the widths that are predicted to err least) and, under the paper's mapping, weights in multiples
            of the cell.
        method_options: options of the method: an algorithm, a saved agent, a prior of sensitivities.
        learn_from: evaluations of earlier searches on the same network, data and training, for any accelerator, or
            where their log lies: the method learns from them first, and they do not count into the budget.
        accuracy_of: whose accuracy counts: "auto", that of exact integers on ideal hardware, and on any other that on
            its chips; "exact", "statistical" or "sampled-chips" (`mho.evaluation.accuracy.AccuracyOf`). On chips,
            `allowed_drop` count from uniform 8/8 by exact integers.
        conditions: when and how chips are read; None: at once.
        recalibrate: whether scale and bias of every channel are corrected on each chip under these conditions, before
            it answers.
        network_evaluator: evaluates candidates instead, for instance on chips of other hardware than the accelerator's.
        batch: how many policies the method proposes before any of them is evaluated.
        processes: of this machine that evaluate them, or at most so many of the cluster; at most `batch`. They change
            no figure. They import the calling script: keep what it does under ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that evaluates, ``auto`` or ``local``.
        storage: URL of a database in which searches share evaluations, or "sqlite" for a file beside the log.
        screening: shorter trainings that policies of a batch go through first; the budget then counts full evaluations.
        repeats: with how many other seeds a policy is measured before it may win, and uniform 8/8 at the beginning;
            they count into the budget. Without them the best policy is often the luckiest of many. None: 4, but at most
            a tenth of the budget, where candidates are trained; else 0.
        stop_hopeless: end trainings halfway that are no better than guessing.
        shared_training: one training for all policies, before the search; candidates are then only calibrated
            (`mho.quantization.shared_widths`). Without `training`. It takes a while, and starts over after an
            interruption.
        effort: of the calibration of each candidate, as `mho.quantize` has it; "good" takes seconds to minutes each.
        devices: where candidates are trained and evaluated, such as ``mho.quantization.devices.find_devices("cuda")``;
            each process has one. None: on the processor.
    """

    mapping: MappingModel | str = DEFAULT_MODEL
    cost_budget: float | str | None = None
    whole_front: bool = False
    constraints: SearchConstraints | None = None
    method_options: MethodOptions | None = None
    learn_from: EvaluationLog | str | Path | None = None
    accuracy_of: AccuracyOf = "auto"
    conditions: Conditions | None = None
    recalibrate: bool = False
    network_evaluator: NetworkEvaluator | None = None
    batch: int = 1
    processes: int | None = None
    ray: str | None = None
    storage: str | None = None
    screening: Screening | None = None
    repeats: int | None = None
    stop_hopeless: bool = False
    effort: Effort = DEFAULT_EFFORT
    shared_training: TrainingOptions | None = None
    devices: Devices | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def limits(self, budget: int, drop: float, objective: Objective, task: Task, *, is_trained: bool) -> SearchLimits:
        """Return how long a search lasts and what it may lose. Raises `ConfigError`."""
        return SearchLimits(
            budget,
            drop,
            cost_budget=None if self.cost_budget is None else CostBudget.parse(self.cost_budget, objective),
            whole_front=self.whole_front,
            batch=self.batch,
            screening=self.screening,
            repeats=default_repeats(budget, is_trained=is_trained) if self.repeats is None else self.repeats,
            task=task,
        )


@check_arguments("dataset")
def search(
    network: Network,
    dataset: Dataset | Labelled,
    accelerator: Accelerator | str | Path,
    *,
    budget: int,
    method: MethodName | OwnMethod = AUTO,
    objective: Objective | ObjectiveName = Objective.LATENCY,
    allowed_drop: float = 1.0,
    training: TrainingOptions | None = None,
    seed: int = 0,
    log_path: str | Path | None = None,
    on_progress: OnPolicy | None = None,
    options: SearchOptions | None = None,
) -> SearchResult:
    """Search for the bit widths that make `network` fastest, or most frugal, within an allowed loss of accuracy.

    Or, as `options` say, for those that keep it most accurate within a cost; or for those of all costs.

    Candidates start from the network's float weights, are calibrated on the calibration split, trained shortly where
    `training` says so, scored by loss on the calibration split and evaluated on the validation split. Test data is not
    touched.

    Args:
        network: float, with trained weights.
        dataset: its four splits; or samples with labels, of which `mho.dataset` makes them: a pair of arrays, or a
            torch DataLoader or Dataset.
        accelerator: the hardware, or a preset's name or TOML file.
        budget: evaluations, those of uniform 8/8 and repeated ones counted in; 2 or more.
        method: "auto", which takes what the benchmarks show best, or the name of one of
            `mho.bit_search.methods.METHODS`, such as "exact" or "rl"; or an `mho.bit_search.own_method.OwnMethod` of
            your own.
        objective: what is made least on the accelerator's crossbars: "latency" of an input; "interval" between inputs;
            "energy" of an input; "energy-delay", that energy times the latency; "crossbars" that hold all tiles at
            once; "lifetime", the writes of a cell for an input.
        allowed_drop: how much of the metric on validation data may be lost against uniform 8/8, in its own unit: points
            of accuracy; dB, for instance, where the data's task is judged by a signal-to-noise ratio (`mho.dataset`).
        training: the short training of each candidate; None: post-training quantization only.
        seed: of the method and of every training.
        log_path: file of evaluations; with it, the same call goes on after an interruption.
        on_progress: called with a `SearchProgress` after every policy; where it returns True, the search ends with what
            it has found.
        options: what few searches need; None: the defaults.

    Raises:
        MhoError: anything wrong with what was given; the network is quantized.
    """
    if network.mvm_nodes and network.is_quantized:
        raise ConfigError(
            "the network is quantized", where="mho.search", expected="a float network, with trained weights"
        )
    options = options or SearchOptions()
    data, workers = make_dataset(dataset), Workers(options.processes, options.ray)
    workers.check(options.batch)
    hardware, least = as_accelerator(accelerator), parse_objective(objective)
    space = _derive_space(network, hardware, method, least, options)
    evaluator = _make_evaluator(network, data, hardware, training, seed, options, space)
    log, given = EvaluationLog(log_path, evaluator.problem), _read_given(options, evaluator, space)
    limits = options.limits(budget, allowed_drop, least, data.task, is_trained=training is not None)
    with open_measurer(workers, options.storage, space, evaluator, log, options.batch) as measurer:
        return run_search(
            method, space, evaluator, log, limits, np.random.default_rng(seed), on_progress,
            measurer=measurer, method_options=options.method_options, given=given,
        )  # fmt: skip


def _derive_space(
    network: Network, hardware: Accelerator, method: str | OwnMethod, objective: Objective, options: SearchOptions
) -> SearchSpace:
    """Return what may be proposed. Raises `ConfigError` where ADC bits are searched and nothing sees them."""
    model = MappingModel(options.mapping)
    constraints = options.constraints or SearchConstraints(weight_bits_multiple=useful_multiple(hardware, model))
    if constraints.adc_bits and options.accuracy_of == "exact" and options.network_evaluator is None:
        raise ConfigError(
            "ADC bits are to be searched, and candidates are evaluated exactly",
            where="mho.search",
            expected="accuracies of chips, which see ADCs",
        )
    return make_space(
        network, hardware, constraints,
        mapping=model, prune=prunes(method), objective=objective, chips=_sample_chips(hardware, options),
    )  # fmt: skip


def _sample_chips(hardware: Accelerator, options: SearchOptions) -> SampledChips | None:
    """Return the chips whose accuracy counts; None where that of exact integers, or of an evaluator given, does.

    Raises:
        ConfigError: channels are to be corrected, and no such chips are evaluated.
    """
    chips = None
    if options.accuracy_of != "exact" and options.network_evaluator is None:
        chips = sample_chips(hardware, options.conditions or Conditions(), hardware)
    if not options.recalibrate:
        return chips
    if chips is None:
        raise ConfigError(
            f"channels are to be corrected, and no chips of {hardware.name} that err are evaluated",
            where="mho.search: recalibrate",
            expected="accuracies on chips of hardware that is not ideal",
        )
    return replace(chips, recalibrates=True)


def _read_given(options: SearchOptions, evaluator: QatEvaluator, space: SearchSpace) -> tuple[EvaluationRecord, ...]:
    """Return the evaluations of earlier searches that the method learns from."""
    if (source := options.learn_from) is None:
        return ()
    source = source if isinstance(source, EvaluationLog) else EvaluationLog.read(source)
    return known_records(source, evaluator, space, where=str(source.path or "learn_from"))


def _make_evaluator(
    network: Network,
    dataset: Dataset,
    hardware: Accelerator,
    training: TrainingOptions | None,
    seed: int,
    options: SearchOptions,
    space: SearchSpace,
) -> QatEvaluator:
    if find_normalization(network):
        dataset = dataset.unnormalized()
    trainable, network_evaluator = TrainableNetwork(network), options.network_evaluator
    if network_evaluator is None:
        network_evaluator = choose_evaluators(
            options.accuracy_of, _sample_chips(hardware, options), hardware, dataset.calibration,
            mapping=MappingModel(options.mapping), seed=seed,
        ).candidates  # fmt: skip
    inputs = torch.from_numpy(dataset.calibration.inputs(slice(None)))
    table = calibrate(trainable, inputs)
    if (shared := options.shared_training) is not None:
        if training is not None:
            raise ConfigError("training and shared_training", where="mho.search", expected="one of them")
        widths = SharedWidths({layer.name: layer.choices for layer in space.layers})
        teacher = trainable.network if shared.distillation else None
        train_shared(
            trainable, table, widths, dataset.train, shared, torch.Generator().manual_seed(seed), teacher=teacher
        )
        table = calibrate(trainable, inputs)
    return QatEvaluator(
        trainable, table, dataset.train, dataset.calibration, dataset.validation, training, seed=seed,
        network_evaluator=network_evaluator, stops_hopeless=options.stop_hopeless,
        problem={"accelerator": hardware.to_json()}, devices=options.devices, effort=options.effort,
    )  # fmt: skip
