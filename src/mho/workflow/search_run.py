"""A search alone, in the run directory of a configuration: the same float network and evaluations as the whole
run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.explanation import Explanation
from mho.bit_search.goal import front_of
from mho.bit_search.methods import GIVEN
from mho.bit_search.objective import Objective
from mho.input_files import read_json
from mho.task.task import CLASSIFICATION, Task
from mho.workflow.config import RunConfig
from mho.workflow.policy_stages import SEARCH_FILE
from mho.workflow.prepared import Prepared
from mho.workflow.progress import ProgressFactory, RunProgress
from mho.workflow.run import EVALUATIONS, SEARCH_STAGES, check_search, estimate_work, load_material, prepare
from mho.workflow.run_directory import open_run_directory
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_results import explain_search, read_records, read_task
from mho.workflow.search_settings import SearchSettings
from mho.workflow.search_stage import Search
from mho.workflow.search_start import AGENT_FILE
from mho.workflow.stage import StageRunner


@dataclass(frozen=True)
class SearchOutcome:
    """What a search alone found.

    Attributes:
        best: the best policy; None where no policy keeps the goal.
        reference: uniform 8/8.
        front: the policies of the space and uniform 8/8 whose accuracy no cheaper one reaches, cheapest first.
        cost_budget: what the best policy might cost, in the objective's unit; None: what accuracy allows.
        whole_front: whether policies of all costs were looked for.
        tried: distinct policies evaluated, those that the search was given not counted.
        agent_file: what the agent of `rl` has learned; None for other methods.
        result_file: JSON with every record and the Pareto front.
        notes: what the user should know about the figures.
        missed: what was not reached, by how much, and what may help; empty where there is a best policy.
        explanation: of the best policy, where it was wanted.
        task: what accuracies are.
    """

    best: EvaluationRecord | None
    reference: EvaluationRecord
    front: tuple[EvaluationRecord, ...]
    cost_budget: int | None
    whole_front: bool
    tried: int
    agent_file: Path | None
    result_file: Path
    notes: tuple[str, ...]
    missed: str = ""
    explanation: Explanation | None = None
    task: Task = CLASSIFICATION

    @property
    def objective(self) -> Objective:
        """What costs are."""
        return self.reference.objective


def with_search(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration with other values of some keys of its table [search].

    A goal (`cost_budget`, `whole_front`) goes before that of the file; `start` holds keys of
    `mho.workflow.search_start.StartSettings`, and None leaves one as it is in the file.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """
    from mho.settings import parse_settings

    content = config.search.model_dump(mode="json", exclude_unset=True)
    given = {key: value for key, value in changes.items() if value is not None}
    if "cost_budget" in given:
        content = {key: value for key, value in content.items() if key not in ("allowed_drop", "whole_front")}
    if given.get("whole_front"):
        content.pop("cost_budget", None)
    start = given.pop("start", {})
    if isinstance(start, Mapping):
        if own := {key: value for key, value in start.items() if value is not None}:
            given["start"] = {**content.get("start", {}), **own}
    else:
        given["start"] = start  # what it should be is said where settings are read
    search = parse_settings(SearchSettings, {**content, **given}, where="search")
    return config.model_copy(update={"search": search})


def search_alone(
    config: RunConfig,
    *,
    make_progress: ProgressFactory | None = None,
    execution: SearchExecution | None = None,
    explain: bool = False,
) -> SearchOutcome:
    """Train the float network and calibrate it (or take both from earlier runs), then search.

    Each method, budget, objective and goal has a stage folder of its own, so that the whole run's search stays as it
    is; evaluations are shared.

    Args:
        config: what to do; only what concerns the search is taken.
        make_progress: what shows progress; None shows nothing.
        execution: who evaluates policies.
        explain: find what one bit more or less of each layer of the best policy would cost and bring.

    Raises:
        MhoError: anything wrong with what the user gave, or another run uses the directory.
    """
    from mho.models.runtime import use_threads

    execution = execution or SearchExecution()
    check_search(config, execution)
    use_threads(config.run.threads)
    material = load_material(config)
    with open_run_directory(config.directory, fresh=False) as opened:
        work = estimate_work(config, material, SEARCH_STAGES)
        progress = make_progress(work) if make_progress else RunProgress()
        runner = StageRunner(opened, progress, material.computing)
        _, prepared = prepare(config, material, runner.get)
        stage = make_stage(prepared, config, opened.path, execution)
        result = runner.get(stage)
        result_file, notes = result.folder / SEARCH_FILE, tuple(result.figures["notes"])
        content = read_json(result_file, expected="a search")
        explanation = _explain(stage, content, result_file) if explain and content["best"] is not None else None
    return _read_outcome(content, result_file, notes, result.figures["missed"], explanation)


def make_stage(prepared: Prepared, config: RunConfig, directory: Path, execution: SearchExecution) -> Search:
    """Return the stage of a search alone in a run directory."""
    search = config.search
    return Search(
        prepared,
        search,
        config.evaluation,
        config.run.seed,
        directory / EVALUATIONS,
        execution=execution,
        name=stage_name(search),
    )


def _explain(stage: Search, content: dict[str, Any], result_file: Path) -> Explanation:
    """Explain the best policy of a search."""
    place = next(k for k, record in enumerate(content["records"]) if record["policy"] == content["best"]["policy"])
    return explain_search(stage.space(), content, str(result_file), place=place, seed=stage.seed)


def stage_name(search: SearchSettings) -> str:
    """Return the name of the stage of a search alone, which tells what it was."""
    parts = ["search", *([GIVEN] if search.policy else [search.method, str(search.budget)])]
    if search.objective != Objective.LATENCY:
        parts.append(search.objective)
    if search.cost_budget is not None:
        parts.append(f"within-{str(search.cost_budget).replace(' ', '')}")
    if search.batch != 1:
        parts.append(f"batch{search.batch}")
    parts += sorted(str(search.start.algorithm) if key == "algorithm" else key for key in search.start.changed_keys())
    return "-".join([*parts, "front"] if search.whole_front else parts)


def _read_outcome(
    content: dict[str, Any],
    result_file: Path,
    notes: tuple[str, ...],
    missed: str,
    explanation: Explanation | None,
) -> SearchOutcome:
    def read(record: Any) -> EvaluationRecord:
        return EvaluationRecord.from_json(record, where=str(result_file))

    records = read_records(content, str(result_file))
    agent_file = result_file.with_name(AGENT_FILE)
    return SearchOutcome(
        best=None if content["best"] is None else read(content["best"]),
        reference=read(content["reference"]),
        front=front_of(records),
        cost_budget=content["cost_budget"],
        whole_front=content["whole_front"],
        tried=len(records) - content["given"],
        agent_file=agent_file if agent_file.exists() else None,
        result_file=result_file,
        notes=notes,
        missed=missed,
        explanation=explanation,
        task=read_task(content),
    )
