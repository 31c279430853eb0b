"""``mho allocate``: bit widths of a float ONNX model from samples, without labels, training or a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import mho
from mho.cli.arguments import (
    AcceleratorOption,
    DigitalOption,
    JsonOption,
    MappingObjectiveOption,
    MaxErrorOption,
    NotDigitalOption,
    note_doubts,
    read_rules,
)
from mho.cli.outputs import check_outputs, print_done, write_output
from mho.cli.progress_lines import chip_progress
from mho.cli.quantize import read_samples
from mho.errors import ConfigError
from mho.formats import format_cost
from mho.network.loading import check_file_is_there, load_file
from mho.quantization.effort import DEFAULT_EFFORT, EFFORTS, parse_effort

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float model.")]
SamplesOption = Annotated[
    Path, typer.Option(metavar="X.npz", help="Real samples [N, ...], as for mho quantize; no labels.")
]
CostBudgetOption = Annotated[
    str,
    typer.Option(
        metavar="COST", help='What the policy may cost: a share of uniform 8/8 such as 0.75, or "20000 crossbars".'
    ),
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The policy to write (JSON).")]
WidthsOption = Annotated[
    str | None, typer.Option(metavar="W/A,...", help="What a layer may have; by default 4/8,6/8,8/8.")
]
ObjectiveOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What costs: crossbars, latency, interval, energy, energy-delay or lifetime.",
    ),
]
PinOption = Annotated[
    list[str] | None,
    typer.Option(metavar="LAYER=W/A", help="Widths of a layer, instead of a choice of --widths (repeat for more)."),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Which axis of answers has classes, as the kind of a run's task says; by default language-modelling of a "
        "network with states, else classification.",
    ),
]
EffortOption = Annotated[
    str,
    typer.Option(
        metavar="EFFORT", help=f"{' or '.join(EFFORTS)}, as for mho quantize; all but fast measure after smoothing."
    ),
]
ProbedOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="On how many of the samples answers are compared; by default 64."),
]


def allocate(
    model: ModelArgument,
    accelerator: AcceleratorOption,
    activation_samples: SamplesOption,
    cost_budget: CostBudgetOption,
    output: OutputOption,
    widths: WidthsOption = None,
    objective: ObjectiveOption = "crossbars",
    pin: PinOption = None,
    task: TaskOption = None,
    effort: EffortOption = DEFAULT_EFFORT,
    probed_samples: ProbedOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the bit widths of every layer from samples alone, within a cost.

    Each layer in turn gets each of the widths, all others float, and how far the answers move is measured. The policy
    of the least sum within the budget is written, for mho quantize --policy. Nothing is trained or evaluated:
    mho search does both.
    """
    rules = read_rules(max_error, mapping_objective, digital, not_digital)
    hardware = note_doubts(mho.accelerator(accelerator, **rules))
    pins = _read_pins(pin or [])
    kind = None if task is None else mho.Task(task)  # type: ignore[arg-type]  # the task checks it
    check_file_is_there(model, "torch.onnx.export(dynamo=True) writes a float model, with trained weights, as ONNX")
    check_outputs({"--output": output}, (model, activation_samples, accelerator))
    network = load_file(model)
    inputs, _ = read_samples(activation_samples, network)
    given: dict[str, Any] = {
        "objective": objective,
        "widths": widths and widths.split(","),
        "probed_samples": probed_samples,
    }
    found = mho.allocate(
        network, hardware, inputs, cost_budget=cost_budget, pins=pins, task=kind,
        effort=parse_effort(effort), on_progress=chip_progress(),
        **{name: value for name, value in given.items() if value is not None},
    )  # fmt: skip
    write_output(output, (json.dumps(found.policy.to_json(), indent=2) + "\n").encode())
    counts = ", ".join(f"{count} at {bits}" for bits, count in found.counts.items())
    costs = [format_cost(cost, found.objective.unit) for cost in (found.cost, found.reference_cost)]
    line = (
        f"{output}: layers: {counts}; {found.objective.words} {costs[0]} instead of {costs[1]} at uniform 8/8;"
        f" estimated divergence from float {found.divergence:.4g}"
    )
    print_done(line, {"output": str(output), **found.to_json()}, as_json=as_json)


def _read_pins(pins: list[str]) -> dict[str, str]:
    """Return widths by layer. Raises `ConfigError`."""
    pairs = [pin.rpartition("=") for pin in pins]
    if wrong := [pin for pin, (layer, _, bits) in zip(pins, pairs, strict=True) if not layer or not bits]:
        raise ConfigError(f"{wrong[0]!r} is no pin", where="--pin", expected="LAYER=W/A, such as head=8/8")
    if len({layer for layer, _, _ in pairs}) < len(pairs):
        raise ConfigError("a layer has two pins", where="--pin", expected="one for each layer")
    return {layer: bits for layer, _, bits in pairs}
