"""The search of a mix: each network is trained and calibrated in its own run directory, then all are searched together.

The networks' evaluations are kept in the logs of their runs, where searches of one network alone keep theirs too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.cache_folder import write_atomically
from mho.seeds import derive_seed
from mho.workflow.mix_config import MixConfig, load_runs
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import SEARCH_FILE
from mho.workflow.progress import ProgressFactory, RunProgress
from mho.workflow.run import EVALUATIONS, PREPARATION, estimate_work, load_material, prepare
from mho.workflow.run_directory import open_run_directory
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_stage import make_options, make_space
from mho.workflow.stage import StageRunner

if TYPE_CHECKING:
    from mho.bit_search.measurers import Measurer
    from mho.bit_search.mix import MixedNetwork, MixPart
    from mho.bit_search.runner import SearchResult
    from mho.workflow.config import RunConfig


@dataclass(frozen=True)
class MixOutcome:
    """What the search of a mix found.

    Attributes:
        result: records, best policy and front; policies name layers NETWORK/LAYER.
        parts: what the best policy means for each network, by name; empty where there is none.
        folder: where `search.json` and POLICY files lie.
        notes: what the user should know about the figures.
    """

    result: SearchResult
    parts: Mapping[str, MixPart]
    folder: Path
    notes: tuple[str, ...]

    @property
    def result_file(self) -> Path:
        """JSON with every record and the Pareto front."""
        return self.folder / SEARCH_FILE


@dataclass(frozen=True, eq=False)
class _Member:
    """A network that is ready to be searched."""

    network: MixedNetwork
    measurer: Measurer
    notes: tuple[str, ...]


def search_mix(
    config: MixConfig,
    *,
    data_root: Path | None = None,
    make_progress: ProgressFactory | None = None,
    execution: SearchExecution | None = None,
) -> MixOutcome:
    """Train and calibrate the float networks (or take them from earlier runs), then search all of them together.

    After an interruption the same call goes on: networks from their run directories, the search from the logs.

    Args:
        config: of the mix.
        data_root: where the data of all networks lies, instead of their files'.
        make_progress: shows each network's preparation and the search.
        execution: who evaluates, each network in processes of its own; None: this process.

    Raises:
        MhoError: anything wrong with what the user gave, or another run uses one of the directories.
    """
    import numpy as np

    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.mix import MixedEvaluator, MixedMeasurer, join_spaces
    from mho.bit_search.runner import run_search
    from mho.bit_search.search_state import SearchProgress
    from mho.models.runtime import use_threads

    settings, carrying = config.search.settings(), execution or SearchExecution()
    carrying.check(settings)
    runs = load_runs(config, data_root=data_root)
    options = make_options(settings, _repeats(config, runs), next(iter(runs.values())).task.task())
    use_threads(next(iter(runs.values())).run.threads)
    with ExitStack() as stack:
        members = {
            name: _prepare(run, config.networks[name].share, carrying, settings.batch, stack, make_progress)
            for name, run in runs.items()
        }
        networks = {name: member.network for name, member in members.items()}
        inputs = {name: one.inputs for name, one in config.networks.items()}
        space = join_spaces({name: one.space for name, one in networks.items()}, inputs)
        evaluator = MixedEvaluator(networks, config.search.method)
        progress = make_progress({"search": float(config.search.budget)}) if make_progress else RunProgress()
        progress.begin("search", "Search bit widths of all networks")

        def show(now: SearchProgress) -> None:
            progress.update(now.spent / now.budget, f"evaluation {now.spent:.0f} of {now.budget}")

        measurers = {name: member.measurer for name, member in members.items()}
        result = run_search(
            config.search.method, space, evaluator, EvaluationLog(None, evaluator.problem), options,
            np.random.default_rng(derive_seed(config.mix.seed, "search")), show,
            measurer=MixedMeasurer(networks, measurers, config.search.method),
        )  # fmt: skip
        progress.end(f"{len(result.records)} policies", is_new=True)
        if not settings.whole_front:
            result.require_best()
        notes = tuple(f"{name}: {note}" for name, member in members.items() for note in member.notes)
        noise = () if result.noise is None else (str(result.noise),)
        return _write(config, result, networks, (*notes, *noise))


def _repeats(config: MixConfig, runs: Mapping[str, RunConfig]) -> int:
    """Return with how many other seeds a policy is measured before it may win."""
    from mho.bit_search.budget import default_repeats

    if config.search.repeats is not None:
        return config.search.repeats
    is_trained = all(run.evaluation.training is not None for run in runs.values())
    return default_repeats(config.search.budget, is_trained=is_trained)


def _prepare(
    run: RunConfig,
    share: float,
    execution: SearchExecution,
    batch: int,
    stack: ExitStack,
    make_progress: ProgressFactory | None,
) -> _Member:
    """Train and calibrate a network, and return what measures its policies; its directory stays locked."""
    from mho.bit_search.evaluation import problem_hash
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.mix import MixedNetwork

    material = load_material(run)
    opened = stack.enter_context(open_run_directory(run.directory, fresh=False))
    progress = make_progress(estimate_work(run, material, PREPARATION)) if make_progress else RunProgress()
    _, prepared = prepare(run, material, StageRunner(opened, progress, material.computing).get)
    space = make_space(prepared.float_network.folder / FLOAT_FILE, run.search, material, run.evaluation)
    evaluator, notes = prepared.make_evaluator(run.evaluation, run.search.budget, run.run.seed)
    log = EvaluationLog(opened.path / EVALUATIONS / f"{problem_hash(evaluator.problem)[:16]}.jsonl", evaluator.problem)
    measurer = stack.enter_context(execution.open(space, evaluator, log, batch, storage=None))
    return _Member(MixedNetwork(evaluator, log, space, share), measurer, tuple(notes))


def _write(
    config: MixConfig, result: SearchResult, networks: Mapping[str, MixedNetwork], notes: tuple[str, ...]
) -> MixOutcome:
    """Write the result and the best policy of each network into the mix's directory."""
    from mho.bit_search.mix import MixPart

    best = result.best
    parts = {} if best is None else {name: MixPart.of(best.policy, name, one) for name, one in networks.items()}
    with open_run_directory(config.directory, fresh=False) as opened:
        for name, part in parts.items():
            _write_json(opened.path / f"policy.{name}.json", part.policy.to_json())
        _write_json(opened.path / SEARCH_FILE, result.to_json())
    return MixOutcome(result, parts, config.directory, notes)


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
