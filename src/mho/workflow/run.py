"""A whole run: from a configuration to a report, stage by stage, in a run directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from mho.cache_folder import write_atomically
from mho.display import Drawable, Table
from mho.errors import MhoError
from mho.hardware.loading import load_accelerator, override
from mho.quantization.devices import find_devices
from mho.report.page import render_page
from mho.report.result import RunResult
from mho.scheduling.duplication import Objective
from mho.workflow.agreement_stage import CompareEvaluators
from mho.workflow.bit_raises import LastBudget
from mho.workflow.config import RunConfig
from mho.workflow.deployments import Deployments
from mho.workflow.error_sources import FindErrorSources
from mho.workflow.mapping_stage import ChooseMapping, is_bound_open
from mho.workflow.material import Material, hash_dataset, load_for_run, training_work
from mho.workflow.network_stages import FLOAT_FILE, NETWORK_FILE, BuildNetwork, Calibrate, TrainFloat
from mho.workflow.noise import check_noise
from mho.workflow.policy_stages import TrainFinalists, TrainReference, misses_target
from mho.workflow.prepared import Prepared
from mho.workflow.program_stages import Compile, Simulate
from mho.workflow.progress import ProgressFactory, RunProgress
from mho.workflow.report_stage import collect_result
from mho.workflow.reported_run import ReportedRun, collect_extras
from mho.workflow.run_directory import RunDirectory, StageResult, open_run_directory
from mho.workflow.sampled_chips import count_samples, read_chips
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_failure import FailedSearch
from mho.workflow.search_stage import Search, make_options, make_space, read_screening
from mho.workflow.shared_stage import TrainShared
from mho.workflow.stage import Stage, StageRunner

RESULT_FILE, PAGE_FILE, CONFIG_FILE = "result.json", "report.html", "config.json"
EVALUATIONS = "evaluations"
"""Folder of evaluation logs, one a problem."""

PREPARATION = ("network", "float", "calibration", "shared")
"""Stages that every search starts from; the last where candidates start from one training."""

SEARCH_STAGES = (*PREPARATION, "search")
"""Stages of a search alone."""

QAT_WORK, SIMULATION_WORK = 1.9, 2.0
"""What an image costs in quantization-aware training and in the executor, in images of float training."""

ARRAY_WORK = 100.0
"""Cost of evaluating a candidate on arrays, over evaluating it in floats."""


@dataclass(frozen=True, eq=False)
class FinishedRun(Drawable):
    """A finished run.

    Attributes:
        result: its figures.
        page: the report, an HTML file.
        result_file: the figures as JSON.
    """

    result: RunResult
    page: Path
    result_file: Path

    def __repr__(self) -> str:
        return f"FinishedRun({self.result.sentence} Page: {self.page})"

    def table(self) -> Table:
        """Return one row a network: float, uniform 8/8, and with the found policy; accuracies in 0..1."""
        return Table(
            self.result.sentence,
            (
                "network", "validation_accuracy", "test_accuracy", "latency_ms", "speedup", "tiles", "mvms",
                "mean_weight_bits", "mean_act_bits",
            ),
            tuple(
                (
                    one.label, one.validation.accuracy, one.test.accuracy,
                    None if one.latency_us is None else one.latency_us / 1e3, one.speedup, one.tiles, one.mvms,
                    one.weight_bits, one.act_bits,
                )
                for one in self.result.candidates
            ),
        )  # fmt: skip


def run(
    config: RunConfig,
    *,
    directory: Path | None = None,
    fresh: bool = False,
    make_progress: ProgressFactory | None = None,
    execution: SearchExecution | None = None,
) -> FinishedRun:
    """Run all stages of a configuration, going on from what earlier runs finished in the same directory.

    Args:
        config: what to do.
        directory: instead of the configuration's.
        fresh: forget what earlier runs left in the directory.
        make_progress: what shows progress; None shows nothing.
        execution: who evaluates the policies of the search.

    Raises:
        MhoError: anything wrong with what the user gave, or another run uses the directory.
    """
    from mho.models.runtime import use_threads

    execution = execution or SearchExecution()
    check_search(config, execution)
    use_threads(config.run.threads)
    material = load_material(config)
    path = directory or config.directory
    with open_run_directory(path, fresh=fresh) as opened:
        write_atomically(path / CONFIG_FILE, (json.dumps(config.to_json(), indent=2) + "\n").encode())
        work = estimate_work(config, material)
        progress = make_progress(work) if make_progress else RunProgress()
        chain = Chain(StageRunner(opened, progress, material.computing))
        machine = run_stages(config, material, opened, chain, execution)
        reported = ReportedRun(config, machine.material, chain.results, chain.titles, path, machine)
        extras = collect_extras(reported)
        result = collect_result(reported, extras)
        content = json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path / RESULT_FILE, (content + "\n").encode())
        page = render_page(result, extras.pictures, extras.timeline)
        write_atomically(path / PAGE_FILE, page.encode())
    return FinishedRun(result, path / PAGE_FILE, path / RESULT_FILE)


def check_search(config: RunConfig, execution: SearchExecution) -> None:
    """Check that the settings of a search fit together, before anything is trained. Raises `MhoError`."""
    execution.check(config.search)
    config.search.start.check_files()
    repeats = config.evaluation.repeats_within(config.search.budget)
    make_options(config.search, repeats, config.task.task(), read_screening(config.evaluation))


def load_material(config: RunConfig) -> Material:
    """Load data and hardware. Raises `MhoError`."""
    settings = config.accelerator
    accelerator = override(
        load_accelerator(settings.name),
        cell_bits=settings.cell_bits,
        encoding=settings.encoding,
        crossbars=settings.crossbars,
        max_error=settings.max_error,
        mapping_objective=settings.mapping_objective,
        always_digital=settings.always_digital,
        never_digital=settings.never_digital,
        arithmetic=settings.arithmetic,
    )
    dataset = load_for_run(config)
    return Material(
        dataset.unnormalized(),
        hash_dataset(dataset),
        accelerator,
        settings.mapping,
        config.data.augmentation,
        config.run.compile,
        config.run.threads,
        find_devices(config.run.devices, config.run.precision),
        dataset.train.normalization,
        config.data.mean is not None,
        read_chips(config.simulation, config.qat.specified_noise, accelerator),
    )


def estimate_work(config: RunConfig, material: Material, stages: Sequence[str] | None = None) -> dict[str, float]:
    """Estimate the work of each stage before any of it is done, in samples trained on in float.

    Args:
        config: what to do.
        material: data and hardware.
        stages: names of those that matter; None: all of a run. Stages that the configuration lacks are left out.
    """
    candidate = config.evaluation.training
    measured = (len(material.dataset.calibration) + len(material.dataset.validation)) / 3
    chips = material.chips
    if chips is not None and config.evaluation.accuracy_of != "exact":
        measured *= ARRAY_WORK
    trained = 0.0 if candidate is None else QAT_WORK * training_work(candidate, material)
    shared = config.evaluation.shared_training
    qat = QAT_WORK * training_work(config.qat, material)
    images = config.simulation.executor_images
    tested = len(material.dataset.test) if images == "all" else images
    on_chips = 0 if chips is None else chips.count * min(tested, count_samples(config.simulation, chips, 0))
    work = {
        "network": 500.0,
        "float": 0.0 if config.float_training is None else training_work(config.float_training, material),
        "calibration": 1000.0,
        **({} if shared is None else {"shared": QAT_WORK * training_work(shared, material)}),
        "reference": qat if config.reference == "best" else 0.0,
        "search": config.search.budget * (measured + trained),
        "found": qat,
        "program": 1000.0,
        "simulation": 2 * (SIMULATION_WORK * tested + ARRAY_WORK * on_chips / 3),
    }
    return work if stages is None else {name: work[name] for name in stages if name in work}


class GetsStages(Protocol):
    """What gets a stage: `StageRunner`, or what only looks for it."""

    def get(self, stage: Stage) -> StageResult:
        """Return the finished stage."""
        ...


class Chain:
    """Runs stages one after the other and keeps their results in order."""

    def __init__(self, runner: GetsStages) -> None:
        self._runner = runner
        self.results: dict[str, StageResult] = {}
        self.titles: dict[str, str] = {}

    def get(self, stage: Stage) -> StageResult:
        """Return a stage, and keep it."""
        result = self._runner.get(stage)
        self.results[stage.name], self.titles[stage.name] = result, stage.title
        return result


def prepare(config: RunConfig, material: Material, get: Callable[[Stage], StageResult]) -> tuple[StageResult, Prepared]:
    """Get the stages that every search starts from: the network as read, its float weights and its calibration."""
    seed = config.run.seed
    network = get(BuildNetwork(material, config.network, seed))
    # Here, so that impossible limits or hardware are reported before hours of training, not after.
    is_open = is_bound_open(material, config.evaluation)
    loosest = material.on(material.accelerator.with_max_error("none")) if is_open else material
    make_space(network.folder / NETWORK_FILE, config.search, loosest, config.evaluation)
    check_noise(network.folder / NETWORK_FILE, config.qat, material.accelerator, material.mapping)
    float_network = get(TrainFloat(material, network, config.float_training, seed, config.network.has_weights))
    prepared = Prepared(material, float_network, get(Calibrate(material, float_network)), config.calibration.effort)
    if is_open:
        choice = ChooseMapping(prepared, tuple(network.figures["layers"]), config.evaluation, config.search, seed)
        prepared = choice.apply(get(choice).figures)
    if (training := config.evaluation.shared_training) is not None:
        space = make_space(network.folder / NETWORK_FILE, config.search, prepared.material, config.evaluation)
        choices = {layer.name: layer.choices for layer in space.layers}
        prepared = replace(prepared, shared=get(TrainShared(prepared, choices, training, seed)))
    return network, prepared


def _search(chain: Chain, search: Search, reference: StageResult) -> StageResult:
    """Return the search; where it fails, what it evaluated before, so that nothing of the run is thrown away."""
    try:
        return chain.get(search)
    except MhoError as error:
        return chain.get(FailedSearch(search, reference, str(error)))


def _last_budget(config: RunConfig, prepared: Prepared) -> LastBudget | None:
    if not config.search.last_budget:
        return None
    network_file = prepared.float_network.folder / FLOAT_FILE
    space = make_space(network_file, config.search, prepared.material, config.evaluation)
    return LastBudget(config.search.last_budget, space)


def run_stages(
    config: RunConfig,
    material: Material,
    directory: RunDirectory,
    chain: Chain,
    execution: SearchExecution,
) -> Deployments:
    """Get all stages of a run, one after the other; arguments are those of `run`. Return how its policies run."""
    seed = config.run.seed
    network, prepared = prepare(config, material, chain.get)
    material, float_network = prepared.material, prepared.float_network
    training = config.qat if config.reference == "best" else None
    evaluators = prepared.evaluators(config.evaluation, seed)
    evaluator = evaluators.finalists
    reference = chain.get(TrainReference(prepared, tuple(network.figures["layers"]), training, seed, evaluator))
    logs = directory.path / EVALUATIONS
    search = _search(
        chain, Search(prepared, config.search, config.evaluation, seed, logs, execution=execution), reference
    )
    found = chain.get(
        TrainFinalists(
            prepared,
            search,
            reference,
            config.qat,
            config.search.allowed_drop if config.search.cost_budget is None else None,
            config.search.finalists,
            seed,
            evaluator,
            _last_budget(config, prepared),
        )
    )
    least = Objective.INTERVAL if config.search.objective == Objective.INTERVAL else Objective.LATENCY
    machine = Deployments(material, least)
    program = chain.get(Compile(material, found, reference, machine))
    if evaluators.has_model:
        chain.get(CompareEvaluators(prepared, search, found, config.evaluation, seed))
    chips = material.chips
    samples = 0 if chips is None else count_samples(config.simulation, chips, network.figures["macs"])
    chain.get(Simulate(material, float_network, found, reference, program, config.simulation, samples))
    if chips is not None and config.evaluation.accuracy_of != "exact" and misses_target(found.figures):
        chain.get(FindErrorSources(config, material, program, min(samples, len(material.dataset.validation))))
    return machine
