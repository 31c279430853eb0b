"""``mho search``: bit widths alone, from the configuration of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mho.cli.arguments import ProcessesOption, RayOption
from mho.cli.configs import check_config
from mho.cli.outputs import check_outputs
from mho.errors import InputFileError, file_errors
from mho.terminal import Console, echo

if TYPE_CHECKING:
    from mho.workflow.search_run import SearchOutcome


def search(
    config: Annotated[Path, typer.Argument(help="Network, data, accelerator and search (TOML); see examples/.")],
    method: Annotated[
        str | None,
        typer.Option(help="auto, rl, rl-paper, exact, evolution, tpe, uniform or random, instead of the file's."),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="What is minimized, instead of the file's: latency (on one crossbar), chip-latency (of one input on "
            "the whole chip), interval (between inputs there), energy or energy-delay (of one input), or crossbars "
            "(that hold all tiles at once)."
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Evaluations, instead of the file's.")] = None,
    cost_budget: Annotated[
        str | None,
        typer.Option(
            help='Search the most accurate policy that costs no more: a share of uniform 8/8 such as 0.4, or "250 us".'
        ),
    ] = None,
    whole_front: Annotated[
        bool, typer.Option("--whole-front", help="Search policies of all costs alike, and list the best of each.")
    ] = False,
    proposals: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Policies that the method proposes at once, instead of the file's search.batch."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Store trials in a database, and share them: a URL, or sqlite for a file."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="TOOL", help="Show the search in tensorboard or wandb (repeat for both)."),
    ] = None,
    processes: ProcessesOption = None,
    ray: RayOption = None,
    algorithm: Annotated[
        str | None, typer.Option(help="How the agent of rl learns: ddpg, td3, sac or ppo, instead of the file's.")
    ] = None,
    agent: Annotated[
        Path | None, typer.Option(help="Start from an agent of rl that --save-agent wrote, of this network or another.")
    ] = None,
    save_agent: Annotated[Path | None, typer.Option(help="Write what the agent of rl has learned.")] = None,
    learn_from: Annotated[
        str | None,
        typer.Option(
            help='An evaluation log (.jsonl) of the same network to learn from first; "log": what this run has already.'
        ),
    ] = None,
    probe_images: Annotated[
        int | None, typer.Option(help="Images on which layers are probed by forward passes before the search.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what one bit more or less of each layer would cost and gain.")
    ] = False,
    explanation: Annotated[Path | None, typer.Option(help="Write the same (JSON).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the found policy (JSON).")] = None,
    directory: Annotated[Path | None, typer.Option(help="Run directory, instead of the file's.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the data lies, instead of the file's.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Trained float weights (.safetensors).")] = None,
) -> None:
    """Search bit widths in the run directory of a configuration, without training and compiling the best policy.

    Evaluations are kept and shared by all methods and objectives: after an interruption the same command goes on where
    it was.
    """
    check_config(config, "examples")
    from mho.errors import ConfigError
    from mho.quantization.allocator import keep_freed_memory
    from mho.workflow.config import load_config
    from mho.workflow.progress import show_progress
    from mho.workflow.search_execution import SearchExecution
    from mho.workflow.search_run import search_alone, with_search

    settings = load_config(config, directory=directory, data_root=data_root, weights=weights)
    changes = {
        "method": method,
        "budget": budget,
        "objective": objective,
        "cost_budget": cost_budget,
        "whole_front": True if whole_front else None,
        "start": {
            "algorithm": algorithm,
            "agent": None if agent is None else agent.absolute(),
            "evaluations": learn_from if learn_from in (None, "log") else Path(learn_from).absolute(),
            "probe_images": probe_images,
        },
        "batch": proposals,
        "storage": storage,
        "trackers": track,
    }
    settings = with_search(settings, changes)
    outputs = {"--output": output, "--save-agent": save_agent, "--explanation": explanation}
    check_outputs(outputs, (config, settings.to_json()), kept=settings.directory)
    if save_agent is not None and not settings.search.has_agent:
        raise ConfigError(f"{settings.search.method} has no agent", where="--save-agent", expected="method rl")
    execution = SearchExecution(processes, ray)
    keep_freed_memory()  # training steps are quicker, and the process is this command's own
    with show_progress() as make_progress:
        found = search_alone(
            settings,
            make_progress=make_progress,
            execution=execution,
            explain=explain or explanation is not None,
        )
    if output is not None:
        _write_policy(found, output)
    if save_agent is not None and found.agent_file is not None:
        _write(found.agent_file.read_bytes(), save_agent, f"the agent lies in {found.agent_file}")
    if explanation is not None and found.explanation is not None:
        hint = "the same command writes it without searching again"
        _write_json(found.explanation.to_json(), explanation, hint)
    _tell(found, settings.search.method, explain=explain)


def _tell(found: SearchOutcome, method: str, *, explain: bool) -> None:

    from mho.report.explanation_text import print_explanation
    from mho.report.search_text import describe_best, describe_bits, print_front

    echo("")
    if found.whole_front:
        echo(f"{method}: policies of all costs, after {found.tried} policies, before full training")
        print_front(Console(), found.front, found.reference)
    if found.best is not None:
        echo(describe_best(method, found.best, found.reference, tried=found.tried, cost_budget=found.cost_budget))
        echo(describe_bits(found.best))
    if explain and found.explanation is not None:
        print_explanation(Console(), found.explanation)
    for note in found.notes:
        echo(f"note: {note}")
    echo(f"every policy tried: {found.result_file}")


def _write_policy(found: SearchOutcome, path: Path) -> None:
    if found.best is None:
        hint = f"all policies are in {found.result_file}"
        raise InputFileError("there is no policy to write", where=str(path), hint=hint)
    hint = f"the policy lies in {found.result_file}; the same command writes it without searching again"
    _write_json(found.best.policy.to_json(), path, hint)


def _write_json(content: dict[str, Any], path: Path, hint: str) -> None:
    _write((json.dumps(content, indent=2) + "\n").encode(), path, hint)


def _write(content: bytes, path: Path, hint: str) -> None:
    from mho.cache_folder import write_atomically

    with file_errors(path, "cannot be written", hint=hint):
        write_atomically(path, content)
