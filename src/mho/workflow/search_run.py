"""A search alone, in the run directory of a configuration: the same float network and evaluations as the whole
run's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mho.quantization.policy import Policy
from mho.search.objective import Objective
from mho.workflow.config import RunConfig
from mho.workflow.policy_stages import SEARCH_FILE
from mho.workflow.progress import SilentProgress
from mho.workflow.run import EVALUATIONS, ProgressFactory, estimate_work, load_material, prepare
from mho.workflow.run_directory import open_run_directory
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_settings import SearchSettings
from mho.workflow.search_stage import Search
from mho.workflow.stage import StageRunner

STAGES = ("network", "float", "calibration", "search")


@dataclass(frozen=True)
class SearchOutcome:
    """What a search alone found.

    Attributes:
        policy: the winner.
        accuracy, reference_accuracy: on validation data, 0..1, of the winner and of uniform 8/8.
        objective: what was made least.
        cost, reference_cost: of both, in the objective's unit.
        tried: distinct policies evaluated.
        result_file: JSON with every record and the Pareto front.
        notes: what the user should know about the figures.
    """

    policy: Policy
    accuracy: float
    reference_accuracy: float
    objective: Objective
    cost: int
    reference_cost: int
    tried: int
    result_file: Path
    notes: tuple[str, ...]

    @property
    def gain(self) -> float:
        """How many times less than uniform 8/8 costs."""
        return self.reference_cost / self.cost


def with_search(
    config: RunConfig,
    *,
    method: str | None = None,
    budget: int | None = None,
    objective: str | None = None,
    batch: int | None = None,
) -> RunConfig:
    """Return the configuration with another search method, budget, objective or batch. Raises `ConfigError`."""
    from mho.settings import parse_settings

    given = {"method": method, "budget": budget, "objective": objective, "batch": batch}
    changes = {key: value for key, value in given.items() if value is not None}
    content = {**config.search.model_dump(mode="json"), **changes}
    search = parse_settings(SearchSettings, content, where="search")
    return config.model_copy(update={"search": search})


def search_alone(
    config: RunConfig, *, make_progress: ProgressFactory | None = None, execution: SearchExecution | None = None
) -> SearchOutcome:
    """Train the float network and calibrate it (or take both from earlier runs), then search.

    Each method, budget and objective has a stage folder of its own, so that the whole run's search stays as it is;
    evaluations are shared.

    Raises:
        MhoError: anything wrong with what the user gave, or another run uses the directory.
    """
    from mho.models.runtime import use_threads

    execution = execution or SearchExecution()
    execution.check(config.search)
    use_threads(config.run.threads)
    material = load_material(config)
    with open_run_directory(config.directory, fresh=False) as opened:
        work = estimate_work(config, material)
        progress = make_progress({name: work[name] for name in STAGES}) if make_progress else SilentProgress()
        runner = StageRunner(opened, progress, config.run.threads)
        _, prepared = prepare(config, material, runner.get)
        folder = opened.path / EVALUATIONS
        search = config.search
        least = "" if search.objective == Objective.LATENCY else f"-{search.objective}"
        name = f"search-{search.method}-{search.budget}{least}"
        if search.batch != 1:
            name += f"-batch{search.batch}"
        stage = Search(prepared, search, config.evaluation, config.run.seed, folder, execution=execution, name=name)
        result = runner.get(stage)
        result_file, notes = result.folder / SEARCH_FILE, tuple(result.figures["notes"])
    return _read_outcome(json.loads(result_file.read_text(encoding="utf-8")), result_file, notes)


def _read_outcome(content: dict[str, Any], result_file: Path, notes: tuple[str, ...]) -> SearchOutcome:
    best, reference = content["best"], content["reference"]
    return SearchOutcome(
        policy=Policy.from_json(best["policy"], where=str(result_file)),
        accuracy=best["accuracy"],
        reference_accuracy=reference["accuracy"],
        objective=Objective(content["objective"]),
        cost=best["cost"],
        reference_cost=reference["cost"],
        tried=len(content["records"]),
        result_file=result_file,
        notes=notes,
    )
