"""``mho search``: bit widths alone, from the configuration of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mho
from mho.cli.arguments import (
    DataRootOption,
    DigitalOption,
    DirectoryOption,
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NotDigitalOption,
    ProcessesOption,
    RayOption,
    WeightsOption,
    read_rules,
)
from mho.cli.configs import check_config
from mho.cli.dry_runs import CheckOption, print_dry_run
from mho.cli.outputs import check_outputs, shows_progress, write_output
from mho.errors import ConfigError, InputFileError
from mho.terminal import Console, echo, echo_note

if TYPE_CHECKING:
    from mho.workflow.config import RunConfig
    from mho.workflow.search_run import SearchOutcome

_START, _WATCH = "What the search starts from", "What shows and explains it"

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="FILE.toml", help="Network, data, accelerator and search; mho new run writes one.")
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="auto, exact, rl or another method of docs/search.md, instead of the file's search.method.",
    ),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What is minimized, instead of the file's search.objective: latency, energy or energy-delay "
        "(of one input), interval (between inputs), crossbars (that hold all tiles at once), or lifetime (writes of a "
        "cell for an input); each on the accelerator's crossbars.",
    ),
]
BudgetOption = Annotated[
    int | None, typer.Option(metavar="N", help="Evaluations, instead of the file's search.budget.")
]
CostBudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="COST",
        help='Search the most accurate policy that costs no more: a share of uniform 8/8 such as 0.4, or "250 us".',
    ),
]
WholeFrontOption = Annotated[
    bool, typer.Option("--whole-front", help="Search policies of all costs alike, and list the best of each.")
]
ProposalsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Policies that the method proposes at once, instead of the file's search.batch."),
]
StorageOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Store trials in a database, and share them: a URL, or sqlite for a file."),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TOOL", help="Show the search in tensorboard or wandb (repeat for both).", rich_help_panel=_WATCH
    ),
]
AlgorithmOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How the agent of rl learns: ddpg, td3, sac or ppo, instead of the file's.",
        rich_help_panel=_START,
    ),
]
AgentOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Start from an agent of rl that --save-agent wrote, of this network or another.",
        rich_help_panel=_START,
    ),
]
LearnFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|log",
        help="An evaluation log (.jsonl) of the same network to learn from first; log: what this run has already.",
        rich_help_panel=_START,
    ),
]
ProbeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Images on which layers are probed by forward passes first.", rich_help_panel=_START
    ),
]
SaveAgentOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write what the agent of rl has learned.")]
ExplainOption = Annotated[
    bool,
    typer.Option(
        "--explain", help="Print what one bit more or less of each layer would cost and gain.", rich_help_panel=_WATCH
    ),
]
ExplanationOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the same (JSON).", rich_help_panel=_WATCH)
]
PolicyOutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the found policy (JSON).")
]


def search(
    config: ConfigArgument,
    method: MethodOption = None,
    objective: ObjectiveOption = None,
    budget: BudgetOption = None,
    cost_budget: CostBudgetOption = None,
    whole_front: WholeFrontOption = False,
    proposals: ProposalsOption = None,
    storage: StorageOption = None,
    track: TrackOption = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    algorithm: AlgorithmOption = None,
    agent: AgentOption = None,
    save_agent: SaveAgentOption = None,
    learn_from: LearnFromOption = None,
    probe_images: ProbeOption = None,
    explain: ExplainOption = False,
    explanation: ExplanationOption = None,
    output: PolicyOutputOption = None,
    directory: DirectoryOption = None,
    data_root: DataRootOption = None,
    weights: WeightsOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    as_json: JsonOption = False,
    check: CheckOption = False,
) -> None:
    """Search bit widths in the run directory of a configuration, without training and compiling the best policy.

    Evaluations are kept and shared by all methods and objectives: after an interruption the same command goes on where
    it was.
    """
    check_config(config, "examples")
    goal = {"cost_budget": cost_budget, "whole_front": True if whole_front else None, "objective": objective}
    methods = {"method": method, "budget": budget, "batch": proposals, "storage": storage, "trackers": track}
    changes = {**goal, **methods, "start": _describe_start(algorithm, agent, learn_from, probe_images)}
    rules = read_rules(max_error, mapping_objective, digital, not_digital)
    places: dict[str, Any] = {"directory": directory, "data_root": data_root, "weights": weights, "accelerator": rules}
    files = _Files(output, save_agent, explanation)
    settings = files.check(config, changes, places)
    who: dict[str, Any] = {"processes": processes, "ray": ray}
    if check:
        from mho.api.dry_runs import check_search

        print_dry_run(check_search(config, search=changes, **who, **places), as_json=as_json)
        return
    from mho.quantization.allocator import keep_freed_memory

    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    explains, shows = explain or explanation is not None, shows_progress(as_json=as_json)
    found = mho.search_config(config, search=changes, explain=explains, show_progress=shows, **who, **places)
    files.write(found)
    if as_json:
        echo(json.dumps(_figures(found), indent=2))
    else:
        _tell(found, settings.search.method, explain=explain)
    files.check_policy(found)


def _describe_start(
    algorithm: str | None, agent: Path | None, learn_from: str | None, probe_images: int | None
) -> dict[str, Any]:
    """Return the keys of [search.start]."""
    return {
        "algorithm": algorithm,
        "agent": None if agent is None else agent.absolute(),
        "evaluations": learn_from if learn_from in (None, "log") else Path(learn_from).absolute(),
        "probe_images": probe_images,
    }


def _figures(found: SearchOutcome) -> dict[str, Any]:
    """Return what a search found, as JSON."""
    return {
        "best": None if found.best is None else found.best.to_json(),
        "reference": found.reference.to_json(),
        "front": [record.to_json() for record in found.front],
        "cost_budget": found.cost_budget,
        "tried": found.tried,
        "explanation": None if found.explanation is None else found.explanation.to_json(),
        "notes": list(found.notes),
        "missed": found.missed,
        "result_file": str(found.result_file),
    }


@dataclass(frozen=True)
class _Files:
    """Files that a search writes for the user, where they are named."""

    policy: Path | None
    agent: Path | None
    explanation: Path | None

    def check(self, config: Path, changes: Mapping[str, Any], places: Mapping[str, Any]) -> RunConfig:
        """Refuse files that the search reads, and an agent of a method that has none; return the configuration.

        Raises:
            MhoError: that, or the configuration cannot be read.
        """
        from mho.workflow.config import load_config
        from mho.workflow.search_run import with_search

        settings = with_search(load_config(config, **places), changes)
        outputs = {"--output": self.policy, "--save-agent": self.agent, "--explanation": self.explanation}
        check_outputs(outputs, (config, settings.to_json()), kept=settings.directory)
        if self.agent is not None and not settings.search.has_agent:
            raise ConfigError(f"{settings.search.method} has no agent", where="--save-agent", expected="method rl")
        return settings

    def write(self, found: SearchOutcome) -> None:
        """Write what was found. Raises `InputFileError`."""
        again = "the same command writes it without searching again"
        if self.policy is not None and found.best is not None:
            hint = f"the policy lies in {found.result_file}; {again}"
            write_output(self.policy, _json(found.best.policy.to_json()), hint=hint)
        if self.agent is not None and found.agent_file is not None:
            write_output(self.agent, found.agent_file.read_bytes(), hint=f"the agent lies in {found.agent_file}")
        if self.explanation is not None and found.explanation is not None:
            write_output(self.explanation, _json(found.explanation.to_json()), hint=again)

    def check_policy(self, found: SearchOutcome) -> None:
        """Refuse to end well where a policy is to be written and none keeps the goal. Raises `InputFileError`."""
        if self.policy is not None and found.best is None:
            hint = f"all policies are in {found.result_file}"
            raise InputFileError("there is no policy to write", where=str(self.policy), hint=hint)


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _tell(found: SearchOutcome, method: str, *, explain: bool) -> None:

    from mho.report.explanation_text import print_explanation
    from mho.report.search_text import describe_best, describe_bits, print_front

    echo("")
    if found.whole_front:
        echo(f"{method}: policies of all costs, after {found.tried} policies, before full training")
        print_front(Console(), found.front, found.reference, found.task.metric)
    if found.missed:
        echo(found.missed)
    if found.best is not None:
        budget, metric = found.cost_budget, found.task.metric
        echo(describe_best(method, found.best, found.reference, tried=found.tried, cost_budget=budget, metric=metric))
        echo(describe_bits(found.best))
    if explain and found.explanation is not None:
        print_explanation(Console(), found.explanation)
    for note in found.notes:
        echo_note(f"note: {note}")
    echo(f"every policy tried: {found.result_file}")
