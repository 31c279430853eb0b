"""What a run, a search or a mix would do, and roughly how long: all is checked, and nothing is changed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mho.workflow.config import RunConfig
from mho.workflow.material import Material
from mho.workflow.mix_config import MixConfig, load_runs
from mho.workflow.network_stages import NETWORK_FILE
from mho.workflow.run import SEARCH_STAGES, Chain, check_search, estimate_work, load_material, prepare, run_stages
from mho.workflow.run_directory import RunDirectory, StageResult, hash_json
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_run import make_stage, stage_name
from mho.workflow.stage import Stage, stage_key


@dataclass(frozen=True)
class Step:
    """A step that would be made.

    Attributes:
        name: of the step.
        seconds: estimate, s; 0 where it is finished.
        is_finished: whether an earlier run left its result, which would be taken.
    """

    name: str
    seconds: float
    is_finished: bool = False


@dataclass(frozen=True)
class DryRun:
    """What would be done.

    Attributes:
        facts: what it is about, by its name for people.
        steps: in their order.
        basis: how times were estimated.
    """

    facts: Mapping[str, str]
    steps: tuple[Step, ...]
    basis: str

    @property
    def seconds(self) -> float:
        """Estimate for all steps that are not finished, s."""
        return sum(step.seconds for step in self.steps)


class _NotFinishedError(Exception):
    """A stage would have to be made."""


@dataclass
class _Finder:
    """Finds finished stages of a run directory; where there is none, makes the network alone, in a scratch folder.

    Attributes:
        directory: of the run; it need not be there.
        material: of the run.
        scratch: a folder.
        finished: names of the finished stages among those that it looked for.
        network: the folder of the network, and its figures.
    """

    directory: RunDirectory
    material: Material
    scratch: Path
    ignores_finished: bool = False
    finished: list[str] = field(default_factory=list)
    network: StageResult | None = None

    def get(self, stage: Stage) -> StageResult:
        """Return the finished stage. Raises `_NotFinishedError`."""
        key = stage_key(stage, self.material.computing)
        found = None if self.ignores_finished else self.directory.finished(stage.name, key)
        if found is not None:
            self.finished.append(stage.name)
        elif self.network is None:  # the first stage
            figures = stage.make(self.scratch, lambda *_: None)
            found = StageResult(stage.name, key, hash_json([key, figures]), self.scratch, figures, {}, 0.0)
        else:
            raise _NotFinishedError(stage.name)
        self.network = self.network or found
        return found


def check_run(
    config: RunConfig, *, execution: SearchExecution | None = None, directory: Path | None = None, fresh: bool = False
) -> DryRun:
    """Check a run, and say what it would do: arguments and errors are those of `mho.workflow.run.run`."""
    execution = execution or SearchExecution()
    check_search(config, execution)

    def walk(finder: _Finder, material: Material) -> None:
        run_stages(config, material, finder.directory, Chain(finder), execution)

    return _check(config, directory or config.directory, walk, fresh=fresh)


def check_search_alone(config: RunConfig, *, execution: SearchExecution | None = None) -> DryRun:
    """Check a search alone, and say what it would do: as `mho.workflow.search_run.search_alone`."""
    execution = execution or SearchExecution()
    check_search(config, execution)

    def walk(finder: _Finder, material: Material) -> None:
        _, prepared = prepare(config, material, finder.get)
        finder.get(make_stage(prepared, config, finder.directory.path, execution))

    return _check(config, config.directory, walk, only=SEARCH_STAGES, names={"search": stage_name(config.search)})


def check_mix(config: MixConfig, *, data_root: Path | None = None, execution: SearchExecution | None = None) -> DryRun:
    """Check the search of a mix, and say what it would do: as `mho.workflow.mix.search_mix`."""
    settings = config.search.settings()
    (execution or SearchExecution()).check(settings)
    facts: dict[str, str] = {}
    steps: list[Step] = []
    evaluation = 0.0
    for name, run in load_runs(config, data_root=data_root).items():
        alone = check_search_alone(
            run.model_copy(update={"search": run.search.model_copy(update={"budget": settings.budget})})
        )
        facts |= {f"{name}: {key}": text for key, text in alone.facts.items()}
        steps += [Step(f"{name}: {one.name}", one.seconds, one.is_finished) for one in alone.steps[:-1]]
        evaluation += alone.steps[-1].seconds
    return DryRun(facts, (*steps, Step("search", evaluation)), BASIS)


BASIS = "work of each step times the time of a training step, measured here; searches that stop early take less"


def _check(
    config: RunConfig,
    directory: Path,
    walk: Callable[[_Finder, Material], None],
    *,
    only: tuple[str, ...] | None = None,
    names: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> DryRun:
    from mho.models.runtime import use_threads

    use_threads(config.run.threads)
    material = load_material(config)
    opened = RunDirectory(directory)
    opened.check_owner()
    with tempfile.TemporaryDirectory(prefix="mho-check-") as scratch:
        finder = _Finder(opened, material, Path(scratch), ignores_finished=fresh)
        with contextlib.suppress(_NotFinishedError):
            walk(finder, material)
        assert finder.network is not None, "the network is the first stage"
        seconds = _measure(finder.network.folder / NETWORK_FILE, config, material)
        figures = finder.network.figures
    steps = []
    for name, work in estimate_work(config, material, only).items():
        is_finished = (names or {}).get(name, name) in finder.finished
        steps.append(Step(name, 0.0 if is_finished else work * seconds, is_finished))
    return DryRun(_describe(config, material, figures, directory, bool(finder.finished)), tuple(steps), BASIS)


def _measure(file: Path, config: RunConfig, material: Material) -> float:
    """Return the time of training on a sample, s."""
    from mho.network.onnx_reader import read_onnx
    from mho.quantization.training_speed import measure_training_step

    batch_size = (config.float_training or config.qat).batch_size
    return measure_training_step(read_onnx(file), material.dataset.train, batch_size, material.devices.names[0])


def _describe(
    config: RunConfig, material: Material, figures: Mapping[str, Any], directory: Path, goes_on: bool
) -> dict[str, str]:
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in material.dataset.splits.items())
    hardware, search = material.accelerator, config.search
    size = f"{hardware.crossbar.rows} x {hardware.crossbar.cols}, {hardware.crossbar.cell_bits}-bit cells"
    goal, metric = f"cost {search.cost_budget}", material.dataset.task.metric
    if search.cost_budget is None:
        goal = f"loss of {search.allowed_drop:g} {metric.drop_unit or f'of {metric.words}'}"
    return {
        "network": f"{figures['source']}: {len(figures['layers'])} MVM layers, {figures['parameters']:,} parameters",
        "data": f"{config.data.name}: {sizes}",
        "accelerator": f"{hardware.name}: {size}",
        "search": f"none: a policy is given, {goal}"
        if search.policy
        else f"{search.method}, {search.budget} evaluations, {search.objective}, {goal}",
        "directory": f"{directory}, {'goes on from what is there' if goes_on else 'nothing finished yet'}",
    }
