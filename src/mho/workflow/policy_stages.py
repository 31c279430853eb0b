"""The stages that quantize: uniform 8/8 as reference, the search, and the full training of its finalists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.cache_folder import write_atomically
from mho.errors import ConfigError
from mho.quantization.policy import UNIFORM_REFERENCE, BitWidths, Policy
from mho.search.objective import Objective
from mho.workflow.config import EvaluationSettings, SearchSettings, TrainingSettings
from mho.workflow.material import Material, finish_training, judge, train_with_progress
from mho.workflow.network_stages import CALIBRATION_FILE, FLOAT_FILE
from mho.workflow.noise import noise_ingredients
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Figures, Report, derive_seed

if TYPE_CHECKING:
    from mho.quantization.calibration import CalibrationTable
    from mho.quantization.qat import TrainableNetwork
    from mho.search.evaluation import EvaluationRecord
    from mho.search.runner import SearchResult
    from mho.search.space import SearchSpace
    from mho.workflow.array_judge import ArrayJudge

ROUGH = (
    "rough: the interconnect would be near saturation, even on the fewest crossbars; mho schedule simulates the policy."
)

QUANTIZED_FILE, POLICY_FILE, SEARCH_FILE = "quantized.onnx", "policy.json", "search.json"


@dataclass(frozen=True)
class Prepared:
    """The float network and its calibration: what every quantized network starts from."""

    material: Material
    float_network: StageResult
    calibration: StageResult

    @property
    def digests(self) -> dict[str, str]:
        """What it comes from."""
        return {
            "float": self.float_network.digest,
            "calibration": self.calibration.digest,
            "data": self.material.data_hash,
        }

    def trainable(self) -> TrainableNetwork:
        """Return a new module with the float weights and the calibrated steps."""
        from mho.network.onnx_reader import read_onnx
        from mho.quantization.qat import TrainableNetwork

        module = TrainableNetwork(read_onnx(self.float_network.folder / FLOAT_FILE))
        module.set_calibration(self.table())
        return module

    def array_judge(self, seed: int) -> ArrayJudge:
        """Return what asks networks on the arrays of the hardware."""
        from mho.workflow.array_judge import ArrayJudge

        material = self.material
        return ArrayJudge(material.accelerator, material.dataset.calibration, mapping=material.mapping, seed=seed)

    def table(self) -> CalibrationTable:
        """Return the calibrated steps."""
        from mho.quantization.calibration import CalibrationTable

        return CalibrationTable.load(self.calibration.folder / CALIBRATION_FILE)


def train_policy(
    prepared: Prepared,
    policy: Policy,
    training: TrainingSettings | None,
    seed: int,
    folder: Path,
    report: Report,
    arrays: ArrayJudge | None = None,
) -> Figures:
    """Quantize to `policy`, train (where told to), and write the quantized network and the policy into `folder`.

    Its accuracy on validation data is that of its integers, or of what `arrays` make of them.
    """
    from mho.quantization.export import write_qcdq_onnx

    module = prepared.trainable()
    module.set_policy(policy)
    points: list[dict[str, float]] = []
    notes: list[str] = []
    if training is not None:
        points, notes = train_with_progress(module, prepared.material, training, seed, folder / "checkpoint", report)
    write_qcdq_onnx(module.to_quantized_network(), folder / QUANTIZED_FILE)
    finish_training(folder / "checkpoint")
    write_atomically(folder / POLICY_FILE, (json.dumps(policy.to_json(), indent=2) + "\n").encode())
    return {
        "policy": policy.to_json(),
        "points": points,
        "notes": notes,
        "validation": judge(module, prepared.material.dataset.validation, arrays),
    }


def array_ingredients(prepared: Prepared, seed: int, *, on_arrays: bool) -> dict[str, Any]:
    """Return what a network that is judged on arrays depends on beyond its training; nothing where it is not."""
    return {"judge": dict(prepared.array_judge(seed).problem)} if on_arrays else {}


@dataclass(frozen=True)
class TrainReference:
    """Make the network at uniform 8/8, with the training that the found policy gets."""

    prepared: Prepared
    layer_names: tuple[str, ...]
    training: TrainingSettings | None
    seed: int
    on_arrays: bool = False
    name: str = "reference"
    title: str = "Make uniform 8/8"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, training, seed."""
        return {
            **self.prepared.digests,
            "augmentation": self.prepared.material.augmentation,
            "compile": self.prepared.material.compile,
            "training": None if self.training is None else self.training.model_dump(mode="json"),
            "seed": self.seed,
            **noise_ingredients(self.training, self.prepared.material),
            **array_ingredients(self.prepared, self.seed, on_arrays=self.on_arrays),
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the quantized network."""
        policy = Policy.uniform(self.layer_names, UNIFORM_REFERENCE)
        arrays = self.prepared.array_judge(self.seed) if self.on_arrays else None
        seed = derive_seed(self.seed, "qat")
        figures = train_policy(self.prepared, policy, self.training, seed, folder, report, arrays)
        if self.training is None:
            figures["notes"].append("Uniform 8/8 is calibrated without training; the found policy was trained.")
        return figures

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy."""
        return f"{100 * figures['validation']['accuracy']:.2f} % on validation data"


@dataclass(frozen=True)
class Search:
    """Search for the cheapest policy within the allowed loss of accuracy."""

    prepared: Prepared
    settings: SearchSettings
    evaluation: EvaluationSettings
    seed: int
    log_folder: Path
    name: str = "search"
    title: str = "Search bit widths"

    def ingredients(self) -> Mapping[str, Any]:
        """Network, data, hardware, settings, seed."""
        return {
            **self.prepared.digests,
            "accelerator": self.prepared.material.accelerator.to_json(),
            "mapping": str(self.prepared.material.mapping),
            "augmentation": self.prepared.material.augmentation,
            "compile": self.prepared.material.compile,
            "search": self.settings.model_dump(mode="json", exclude={"finalists"}),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "seed": self.seed,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Search, and write every record."""
        import numpy as np

        from mho.search.evaluation import problem_hash
        from mho.search.log import EvaluationLog
        from mho.search.runner import SearchOptions, SearchProgress, run_search
        from mho.workflow.evaluator import make_evaluator

        space = self.space()
        evaluator, notes = make_evaluator(
            self.prepared, self.evaluation, self.settings.budget, self.seed, on_arrays=self.settings.has_adc_bits
        )
        # The log outlives the stage: another method or budget goes on from the same evaluations.
        log = EvaluationLog(self.log_folder / f"{problem_hash(evaluator.problem)[:16]}.jsonl", evaluator.problem)

        def show(progress: SearchProgress) -> None:
            best = progress.best
            gain = "" if best is None else f", {space.reference_cost / best.cost:.2f}x so far"
            report(progress.done / progress.budget, f"policy {progress.done} of {progress.budget}{gain}")

        report(0.0, "policy 1")
        result = run_search(
            self.settings.method,
            space,
            evaluator,
            log,
            SearchOptions(self.settings.budget, self.settings.allowed_drop_points),
            np.random.default_rng(derive_seed(self.seed, "search")),
            show,
        )
        best = result.require_best()
        write_atomically(folder / SEARCH_FILE, (json.dumps(result.to_json(), indent=1) + "\n").encode())
        rough = [name for name, one in (("found policy", best), ("uniform 8/8", result.reference))
                 if space.is_rough(one.policy)]  # fmt: skip
        notes = [*notes, *(f"The cost of {name} that the search saw is {ROUGH}" for name in rough)]
        return self._figures(result, space, evaluator.fidelity) | {"notes": notes}

    def space(self) -> SearchSpace:
        """Return what the search may propose."""
        return make_space(self.prepared.float_network.folder / FLOAT_FILE, self.settings, self.prepared.material)

    def _figures(self, result: SearchResult, space: SearchSpace, fidelity: str) -> Figures:
        return {
            "fidelity": fidelity,
            "space": str(space.size),
            "target_accuracy": result.goal.target_accuracy,
            "objective": str(space.objective),
            "reference_cost": space.reference_cost,
            "order": order_finalists(result, space),
            "gain": space.reference_cost / result.require_best().cost,
            "tried": len(result.records),
        }

    def note(self, figures: Mapping[str, Any]) -> str:
        """Gain and effort."""
        words = Objective(figures["objective"]).words
        return f"{figures['gain']:.2f}x less {words} after {figures['tried']} policies"


def make_space(network_file: Path, settings: SearchSettings, material: Material) -> SearchSpace:
    """Return what a search of the network in `network_file` may propose; its weights do not matter.

    Raises:
        ConfigError: the settings leave no widths, or nothing to choose, or the accelerator does not suit the objective.
        MappingError: the accelerator cannot hold a layer.
        PolicyError: a pin names an unknown layer.
    """
    from mho.network.onnx_reader import read_onnx
    from mho.search.api import make_space as derive_space
    from mho.search.api import useful_multiple
    from mho.search.space import SearchConstraints

    accelerator, held, multiple = material.accelerator, settings.hold_first_last, settings.weight_bits_multiple
    if multiple == "auto":
        multiple = useful_multiple(accelerator, material.mapping)
    constraints = SearchConstraints(
        min_weight_bits=settings.min_weight_bits,
        max_weight_bits=settings.max_weight_bits,
        min_act_bits=settings.min_act_bits,
        max_act_bits=settings.max_act_bits,
        hold_first_last=None if held == "none" else BitWidths.parse(held),
        weight_bits_multiple=accelerator.crossbar.cell_bits if multiple == "cell" else multiple,
        pins={name: BitWidths.parse(widths) for name, widths in settings.pins.items()},
        adc_bits=settings.adc_bits,
    )
    prune = settings.method != "rl-paper" if settings.prune is None else settings.prune
    space = derive_space(
        read_onnx(network_file),
        accelerator,
        constraints,
        mapping=material.mapping,
        prune=prune,
        objective=Objective(settings.objective),
    )
    if settings.method == "rl" and space.size == 1:
        raise ConfigError(
            "nothing to choose: no layer has a second choice that could cost less",
            where="search",
            hint="widen the ranges, take pins or hold_first_last away, or name an accelerator with smaller crossbars",
        )
    return space


def order_finalists(result: SearchResult, space: SearchSpace) -> list[int]:
    """Return indices into a search's records: the winner, then dearer ones on the Pareto front, each more accurate.

    Only policies of the space: uniform 8/8, which every search measures, may break its limits.
    """
    best = result.require_best()
    order = [_place(result, best)]
    for record in result.front:
        if record.cost > best.cost and record.policy != best.policy and space.contains(record.policy):
            order.append(_place(result, record))
    return order


def _place(result: SearchResult, wanted: EvaluationRecord) -> int:
    return next(k for k, record in enumerate(result.records) if record.policy == wanted.policy)


@dataclass(frozen=True)
class TrainFinalists:
    """Train the best policies fully, cheapest first, until one keeps the allowed drop on validation data."""

    prepared: Prepared
    search: StageResult
    reference: StageResult
    training: TrainingSettings
    allowed_drop_points: float
    finalists: int
    seed: int
    on_arrays: bool = False
    name: str = "found"
    title: str = "Train the found policy"

    def ingredients(self) -> Mapping[str, Any]:
        """Policies, network, data, training, seed."""
        return {
            **self.prepared.digests,
            "augmentation": self.prepared.material.augmentation,
            "compile": self.prepared.material.compile,
            # What it takes from the search, not the search's digest: that holds how long evaluations took.
            "policies": [[index, self._policy(index).to_json()] for index in self._order],
            "reference": self.reference.digest,
            "training": self.training.model_dump(mode="json"),
            **noise_ingredients(self.training, self.prepared.material),
            "allowed_drop_points": self.allowed_drop_points,
            "finalists": self.finalists,
            "seed": self.seed,
            **array_ingredients(self.prepared, self.seed, on_arrays=self.on_arrays),
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the quantized network of the winner."""
        tried: list[tuple[int, Figures]] = []
        for number, index in enumerate(self._order):
            tried.append((index, self._train(index, number, folder / f"finalist-{number}", report)))
            if self._is_accurate(tried[-1][1]):
                break
        notes = []
        winner = len(tried) - 1
        if not self._is_accurate(tried[winner][1]):
            winner = max(range(len(tried)), key=lambda k: (tried[k][1]["validation"]["accuracy"], -k))
            notes.append(
                f"None of the {len(tried)} finalists kept the allowed drop on validation data after full training; "
                "the most accurate one was taken."
            )
        for file in (QUANTIZED_FILE, POLICY_FILE):
            write_atomically(folder / file, (folder / f"finalist-{winner}" / file).read_bytes())
        index, figures = tried[winner]
        return {**figures, "notes": figures["notes"] + notes, "index": index, "finalists": [k for k, _ in tried]}

    def _train(self, index: int, number: int, place: Path, report: Report) -> Figures:
        """Train one finalist, or take what an interrupted attempt finished."""
        done = place / "figures.json"
        if done.is_file():
            return json.loads(done.read_text(encoding="utf-8"))

        def show(share: float, text: str) -> None:
            report(share, f"finalist {number + 1}: {text}")

        arrays = self.prepared.array_judge(self.seed) if self.on_arrays else None
        seed = derive_seed(self.seed, "qat")
        figures = train_policy(self.prepared, self._policy(index), self.training, seed, place, show, arrays)
        write_atomically(done, json.dumps(figures).encode())
        return figures

    @property
    def _order(self) -> list[int]:
        return list(self.search.figures["order"][: self.finalists])

    def _policy(self, index: int) -> Policy:
        source = self.search.folder / SEARCH_FILE
        record = json.loads(source.read_text(encoding="utf-8"))["records"][index]
        return Policy.from_json(record["policy"], where=str(source))

    def _is_accurate(self, figures: Figures) -> bool:
        least = self.reference.figures["validation"]["accuracy"] - self.allowed_drop_points / 100 - 1e-12
        return figures["validation"]["accuracy"] >= least

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy."""
        return f"{100 * figures['validation']['accuracy']:.2f} % on validation data"
