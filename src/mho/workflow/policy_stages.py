"""The stages that quantize and train in full: uniform 8/8 as reference, and the finalists of the search."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.cache_folder import write_atomically
from mho.errors import InputFileError
from mho.evaluation.networks import NetworkEvaluator, evaluate_network
from mho.input_files import read_json
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.quantization.effort import steps_of
from mho.seeds import derive_seed
from mho.task.metrics import Metric
from mho.workflow.material import finish_training, train_with_progress
from mho.workflow.noise import noise_ingredients
from mho.workflow.prepared import Prepared
from mho.workflow.run_directory import StageResult, hash_files, hash_json
from mho.workflow.stage import Figures, Report, report_part, tell_validation
from mho.workflow.training_settings import TrainingSettings

if TYPE_CHECKING:
    from mho.data.dataset import Split
    from mho.quantization.qat import TrainableNetwork
    from mho.workflow.bit_raises import LastBudget

FAILED = "failed"
"""Figure of a search that an error ended: what it says."""
QUANTIZED_FILE, POLICY_FILE, SEARCH_FILE = "quantized.onnx", "policy.json", "search.json"
CALIBRATED, TRAINED, AVERAGED = "calibration", "training", "average"
"""How a quantized network was made; the last is the mean of the weights of both others."""

BEST = "the better of calibration and training on validation data, or of calibration and the average of both"
"""What both stages keep."""


def quantize_policy(
    prepared: Prepared,
    policy: Policy,
    training: TrainingSettings | None,
    seed: int,
    folder: Path,
    report: Report,
    evaluator: NetworkEvaluator | None = None,
    *,
    measures_layers: bool = False,
) -> Figures:
    """Quantize to `policy` by calibration, and by training too where it is given, and keep the better one.

    Training starts from the calibrated network. Where it ends no better, the average of both networks' weights is tried
    instead: part of what was learned, near what was good before. The network that is more accurate on validation data
    (of those within a standard error, the one of lower loss) and the policy are written into `folder`. The accuracy is
    that of the network's integers, or on the chips of `evaluator`; then the figures have that of its integers too.
    Where `measures_layers`, they have the sensitivities of its layers, on the calibration split.
    """
    from mho.quantization.export import write_qcdq_onnx
    from mho.quantization.weight_average import average_with, copy_state

    validation = prepared.material.dataset.validation
    fitting, calibrating, learning, judging, probing = _divide(
        report, evaluator, is_trained=training is not None, is_fitted=steps_of(prepared.effort).fits_layers
    )
    best = prepared.calibrated(policy, seed, fitting)
    made_by, found = CALIBRATED, {CALIBRATED: _evaluate(best, validation, evaluator, calibrating)}
    exact = {} if evaluator is None else {CALIBRATED: evaluate_network(best, validation)}
    points: list[dict[str, float]] = []
    notes: list[str] = []
    if training is not None:
        start, module = copy_state(best), prepared.trainable()
        module.set_policy(policy)
        module.load_state_tensors(start)
        points, notes = train_with_progress(module, prepared.material, training, seed, folder / "checkpoint", learning)
        for way, part in ((TRAINED, 0.0), (AVERAGED, 0.5)):
            if way == AVERAGED:
                average_with(module, start)
            found[way] = _evaluate(module, validation, evaluator, report_part(judging, part, 0.5))
            exact |= {} if evaluator is None else {way: evaluate_network(module, validation)}
            if _is_better(found[way], found[CALIBRATED]):
                best, made_by = module, way
                break
        if made_by != TRAINED:
            notes.append(_describe_lost_training(found, made_by, validation.task.metric))
    write_qcdq_onnx(prepared.finish(best), folder / QUANTIZED_FILE)
    finish_training(folder / "checkpoint")
    write_atomically(folder / POLICY_FILE, (json.dumps(policy.to_json(), indent=2) + "\n").encode())
    return {
        **(_measure_layers(prepared, best, probing) if measures_layers else {}),
        "policy": policy.to_json(),
        "points": points,
        "notes": notes,
        "made_by": made_by,
        "validation_by": found,
        "validation": found[made_by],
        **({"exact_validation_by": exact} if exact else {}),
    }


def _divide(
    report: Report, evaluator: NetworkEvaluator | None, *, is_trained: bool, is_fitted: bool
) -> tuple[Report, ...]:
    """Return what the parts report to: fitting, evaluating what is calibrated, training, evaluating what is trained,
    probing.

    Their shares of the work are typical ones; chips take long, and exact integers next to nothing.
    """
    on_chips = 0.0 if evaluator is None else 0.15
    fitting = 0.1 if is_fitted else 0.0
    shares = (
        fitting,
        on_chips,
        0.9 - fitting - 2 * on_chips if is_trained else 0.0,
        on_chips if is_trained else 0.0,
        0.1,
    )
    starts = itertools.accumulate(shares, initial=0.0)
    return tuple(report_part(report, start, share) for start, share in zip(starts, shares, strict=False))


def _evaluate(
    network: TrainableNetwork, split: Split, evaluator: NetworkEvaluator | None, report: Report
) -> dict[str, Any]:
    """Return how accurate a network is, and report how far that is."""
    words = "on exact integers" if evaluator is None else evaluator.words
    report(0.0, f"evaluating {words}")
    return evaluate_network(network, split, evaluator, on_progress=lambda share: report(share, f"evaluating {words}"))


def _measure_layers(prepared: Prepared, best: TrainableNetwork, report: Report) -> Figures:
    from mho.quantization.layer_sensitivity import measure_sensitivities

    found = measure_sensitivities(
        best, prepared.table(), prepared.material.dataset.calibration,
        on_progress=lambda share: report(share, "sensitivities of layers"),
    )  # fmt: skip
    return {"sensitivities": found.to_json()}


def _is_better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare by accuracy, or by loss where the accuracies differ by no more than the standard error of one."""
    gain = one["accuracy"] - other["accuracy"]
    if abs(gain) > other["standard_error"]:
        return bool(gain > 0)
    return bool(one["loss"] < other["loss"])


def _describe_lost_training(found: Mapping[str, Mapping[str, Any]], made_by: str, metric: Metric) -> str:
    shown = {way: f"{metric.format(one['accuracy'])}, loss {one['loss']:.4f}" for way, one in found.items()}
    kept = {
        CALIBRATED: "so the calibrated network is used",
        AVERAGED: f"and the average of the weights of both is used ({shown[AVERAGED]})",
    }
    return (
        f"Training in [qat] ends at {shown[TRAINED]} on validation data, no better than calibration alone "
        f"({shown[CALIBRATED]}), {kept[made_by]}; a lower learning_rate may help."
    )


def exact_accuracy(figures: Mapping[str, Any]) -> float:
    """Return the accuracy of a stage's network on validation data by exact integers, 0..1: what ideal chips answer.

    Where chips decide which network is kept, that of the best of all: training for chips may spoil it.
    """
    by = figures.get("exact_validation_by", {"": figures["validation"]})
    return float(max(one["accuracy"] for one in by.values()))


def misses_target(figures: Mapping[str, Any]) -> bool:
    """Tell whether the network that was found loses more on validation data than is allowed."""
    wanted = figures.get("target_accuracy")
    return wanted is not None and figures["validation"]["accuracy"] < wanted - 1e-12


def evaluator_ingredients(evaluator: NetworkEvaluator | None) -> dict[str, Any]:
    """Return what accuracies depend on beyond networks and samples: chips; nothing where exact integers count."""
    return {} if evaluator is None else {"network_evaluator": dict(evaluator.problem)}


def _finishing_ingredients(
    prepared: Prepared, training: TrainingSettings | None, seed: int, evaluator: NetworkEvaluator | None
) -> dict[str, Any]:
    """Return what a network that is made in full depends on besides its policy."""
    material = prepared.material
    return {
        "keeps": BEST,
        **prepared.digests,
        **prepared.finishing_ingredients,
        "augmentation": material.augmentation,
        "compile": material.compile,
        "training": None if training is None else training.model_dump(mode="json"),
        "seed": seed,
        **noise_ingredients(training, material.accelerator, material.mapping, material.chips),
        **evaluator_ingredients(evaluator),
    }


@dataclass(frozen=True)
class TrainReference:
    """Make the network at uniform 8/8 as the found policy's is made: the better of calibration and training.

    Attributes:
        training: None: calibration alone.
    """

    prepared: Prepared
    layer_names: tuple[str, ...]
    training: TrainingSettings | None
    seed: int
    evaluator: NetworkEvaluator | None = None
    name: str = "reference"
    title: str = "Make uniform 8/8"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, training, seed."""
        return _finishing_ingredients(self.prepared, self.training, self.seed, self.evaluator)

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the quantized network."""
        policy = Policy.uniform(self.layer_names, UNIFORM_REFERENCE)
        seed = derive_seed(self.seed, "qat")
        figures = quantize_policy(self.prepared, policy, self.training, seed, folder, report, self.evaluator)
        if self.training is None:
            figures["notes"].append(
                'Uniform 8/8 is calibrated only (reference = "ptq"); the found policy may be trained.'
            )
        return figures

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy."""
        return tell_validation(self.prepared.material.dataset.task, figures)


@dataclass(frozen=True)
class TrainFinalists:
    """Train the best policies fully, cheapest first, until one keeps the allowed drop on validation data.

    The drop counts from uniform 8/8 by exact integers, whatever evaluates the finalists.

    Attributes:
        allowed_drop: None: within a cost budget all are trained, and the most accurate one is taken.
        last_budget: for more bits of the one that is taken, which is then trained once more and replaced where that is
            better.
    """

    prepared: Prepared
    search: StageResult
    reference: StageResult
    training: TrainingSettings
    allowed_drop: float | None
    finalists: int
    seed: int
    evaluator: NetworkEvaluator | None = None
    last_budget: LastBudget | None = None
    name: str = "found"
    title: str = "Train the found policy"

    def ingredients(self) -> Mapping[str, Any]:
        """Policies, network, data, training, seed."""
        return {
            **_finishing_ingredients(self.prepared, self.training, self.seed, self.evaluator),
            # What it takes from the search, not the search's digest: that holds how long evaluations took.
            "policies": [[index, self._policy(index).to_json()] for index in self._order],
            "reference": self.reference.digest,
            "allowed_drop": self.allowed_drop,
            "finalists": self.finalists,
            "measures": ["sensitivities"],
            **({} if self.last_budget is None else {"last_budget": self.last_budget.share}),
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the quantized network of the best finalist."""
        tried: list[tuple[int, Figures]] = []
        parts = len(self._order) + (self.last_budget is not None)
        for number, index in enumerate(self._order):
            show = report_part(
                report, number / parts, 1 / parts, f"finalist {number + 1} of at most {len(self._order)}"
            )
            tried.append((index, self._train(self._policy(index), folder / f"finalist-{number}", show)))
            if self._is_accurate(tried[-1][1]):
                break
        notes = []
        best = len(tried) - 1
        if not self._is_accurate(tried[best][1]):
            best = max(range(len(tried)), key=lambda k: (tried[k][1]["validation"]["accuracy"], -k))
        if self.allowed_drop is not None and not self._is_accurate(tried[best][1]):
            notes.append(
                f"None of the {len(tried)} finalists kept the allowed drop on validation data after full training; "
                "the most accurate one was taken."
            )
        (index, figures), place = tried[best], folder / f"finalist-{best}"
        if self.last_budget is not None:
            show = report_part(report, 1 - 1 / parts, 1 / parts, "more bits")
            figures, place, note = self._spend(figures, place, folder / "raised", show)
            notes.append(note)
        for file in (QUANTIZED_FILE, POLICY_FILE):
            write_atomically(folder / file, (place / file).read_bytes())
        return {
            **figures,
            "notes": figures["notes"] + notes,
            "index": index,
            "finalists": [k for k, _ in tried],
            "target_accuracy": None if self.allowed_drop is None else self._target,
        }

    def _spend(self, figures: Figures, place: Path, other: Path, report: Report) -> tuple[Figures, Path, str]:
        """Return figures and folder of the better of a trained policy and one with more bits; and what was done."""
        assert self.last_budget is not None, "it is spent where there is one"
        policy = Policy.from_json(figures["policy"], where=str(place))
        raised = self.last_budget.spend(policy, figures["sensitivities"])
        if raised is None:
            return figures, place, "search.last_budget: no bit more wins anything within it."
        changes = ", ".join(
            f"{name} {policy[name]} to {raised[name]}" for name in policy.layers if raised[name] != policy[name]
        )
        trained = self._train(raised, other, report)
        metric = self.prepared.material.dataset.task.metric
        shown = " and ".join(metric.format(one["validation"]["accuracy"]) for one in (figures, trained))
        note = f"search.last_budget raised {changes}; on validation data before and after: {shown}"
        if not _is_better(trained["validation"], figures["validation"]):
            return figures, place, f"{note}. That is no better, and not kept."
        return trained, other, f"{note}."

    def _train(self, policy: Policy, place: Path, report: Report) -> Figures:
        """Train a policy, or take what an interrupted attempt finished."""
        done = place / "figures.json"
        if done.is_file():
            content = read_json(done, expected="figures of a training")
            files = {name: value for name, value in hash_files(place).items() if name != done.name}
            if not isinstance(content, dict) or content.get("digest") != hash_json([content.get("figures"), files]):
                raise InputFileError("a finished training does not match its digest", where=str(done))
            return content["figures"]

        seed = derive_seed(self.seed, "qat")
        figures = quantize_policy(
            self.prepared, policy, self.training, seed, place, report, self.evaluator, measures_layers=True
        )
        content = {"figures": figures, "digest": hash_json([figures, hash_files(place)])}
        write_atomically(done, json.dumps(content, allow_nan=False).encode())
        return figures

    @property
    def _order(self) -> list[int]:
        return list(self.search.figures["order"][: self.finalists])

    def _policy(self, index: int) -> Policy:
        source = self.search.folder / SEARCH_FILE
        record = read_json(source, expected="a search")["records"][index]
        return Policy.from_json(record["policy"], where=str(source))

    @property
    def _target(self) -> float:
        """Smallest accuracy on validation data that keeps the allowed drop, 0..1."""
        metric = self.prepared.material.dataset.task.metric
        return max(metric.worst, exact_accuracy(self.reference.figures) - metric.allowed(self.allowed_drop or 0.0))

    def _is_accurate(self, figures: Figures) -> bool:
        if self.allowed_drop is None:
            return False
        return figures["validation"]["accuracy"] >= self._target - 1e-12

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy."""
        return tell_validation(self.prepared.material.dataset.task, figures)
