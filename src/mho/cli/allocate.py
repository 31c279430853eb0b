"""``mho allocate``: bit widths of a float ONNX model from samples, without labels, training or a search.

What the samples say of single layers can be written, and read again for another budget, objective or accelerator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import mho
from mho.bit_search.allocation import Allocation
from mho.bit_search.layer_divergences import DEFAULT_PROBED, DEFAULT_WIDTHS
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
from mho.network.graph import Network
from mho.network.loading import check_file_is_there, load_file
from mho.policy import as_widths
from mho.quantization.effort import DEFAULT_EFFORT, EFFORTS, parse_effort

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float model.")]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="X.npz", help="Real samples [N, ...], as for mho quantize, without labels; or --divergences instead."
    ),
]
DivergencesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="What --write-divergences wrote of this model, instead of samples: nothing is measured."
    ),
]
WriteDivergencesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what was measured, for --divergences (JSON).")
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
    str | None,
    typer.Option(
        metavar="EFFORT",
        help=f"{' or '.join(EFFORTS)}, as for mho quantize, by default {DEFAULT_EFFORT}; all but fast measure after "
        "smoothing.",
    ),
]
ProbedOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="On how many of the samples answers are compared; by default 64."),
]


def allocate(
    model: ModelArgument,
    accelerator: AcceleratorOption,
    cost_budget: CostBudgetOption,
    output: OutputOption,
    activation_samples: SamplesOption = None,
    divergences: DivergencesOption = None,
    write_divergences: WriteDivergencesOption = None,
    widths: WidthsOption = None,
    objective: ObjectiveOption = "crossbars",
    pin: PinOption = None,
    task: TaskOption = None,
    effort: EffortOption = None,
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
    _check_source(
        activation_samples, divergences, widths=widths, task=task, effort=effort, probed_samples=probed_samples,
        write_divergences=write_divergences,
    )  # fmt: skip
    check_file_is_there(model, "torch.onnx.export(dynamo=True) writes a float model, with trained weights, as ONNX")
    check_outputs(
        {"--output": output, "--write-divergences": write_divergences},
        (model, activation_samples, divergences, accelerator),
    )
    network = load_file(model)
    given: dict[str, Any] = {"cost_budget": cost_budget, "objective": objective, "pins": pins}
    if divergences is not None:
        measured = mho.LayerDivergences.load(divergences)
    else:
        choices = DEFAULT_WIDTHS if widths is None else tuple(widths.split(","))
        _check_before_measuring(network, hardware, choices, given)
        measured = _measure(network, activation_samples, choices, list(pins), task, effort, probed_samples)  # type: ignore[arg-type]  # there are samples
    if write_divergences is not None:
        _write(write_divergences, measured.to_json())
    found = mho.allocate(network, hardware, measured, **given)
    _write(output, found.policy.to_json())
    line = f"{output}: {_describe(found)}"
    print_done(line, {"output": str(output), **found.to_json(), **measured.to_json()}, as_json=as_json)


def _describe(found: Allocation) -> str:
    """Return how many layers have which widths, and what the policy costs."""
    counts = ", ".join(f"{count} at {bits}" for bits, count in found.counts.items())
    costs = [format_cost(cost, found.objective.unit) for cost in (found.cost, found.reference_cost)]
    return (
        f"layers: {counts}; {found.objective.words} {costs[0]} instead of {costs[1]} at uniform 8/8;"
        f" estimated divergence from float {found.divergence:.4g}"
    )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_output(path, (json.dumps(content, indent=2) + "\n").encode())


def _check_source(samples: Path | None, divergences: Path | None, **measuring: object) -> None:
    """Refuse both sources of divergences, none, and options of measuring where nothing is measured."""
    if (samples is None) == (divergences is None):
        raise ConfigError(
            "needs samples or divergences, one of both", where="mho allocate",
            expected="--activation-samples X.npz, or --divergences FILE",
        )  # fmt: skip
    if divergences is not None and (given := [name for name, value in measuring.items() if value is not None]):
        raise ConfigError(
            "is for measurements, and --divergences were measured before", where=f"--{given[0].replace('_', '-')}",
            expected="--activation-samples, or no such option",
        )  # fmt: skip


def _check_before_measuring(
    network: Network, hardware: mho.Accelerator, choices: Sequence[str], given: Mapping[str, Any]
) -> None:
    """Refuse budgets, pins and objectives that no measurement would mend, by an allocation that knows of no loss."""
    zero = dict.fromkeys((as_widths(bits, where="--widths") for bits in choices), 0.0)
    mho.allocate(network, hardware, mho.LayerDivergences(dict.fromkeys(network.layer_names, zero), 1, "fast"), **given)


def _measure(
    network: Network, path: Path, choices: Sequence[str], pinned: Sequence[str], task: str | None, effort: str | None,
    probed_samples: int | None,
) -> mho.LayerDivergences:  # fmt: skip
    """Return the divergences of all layers without a pin."""
    kind = None if task is None else mho.Task(task)  # type: ignore[arg-type]  # the task checks it
    inputs, _ = read_samples(path, network)
    return mho.measure_divergences(
        network, inputs, widths=choices, layers=[name for name in network.layer_names if name not in pinned],
        task=kind, effort=DEFAULT_EFFORT if effort is None else parse_effort(effort),
        probed_samples=DEFAULT_PROBED if probed_samples is None else probed_samples, on_progress=chip_progress(),
    )  # fmt: skip


def _read_pins(pins: list[str]) -> dict[str, str]:
    """Return widths by layer. Raises `ConfigError`."""
    pairs = [pin.rpartition("=") for pin in pins]
    if wrong := [pin for pin, (layer, _, bits) in zip(pins, pairs, strict=True) if not layer or not bits]:
        raise ConfigError(f"{wrong[0]!r} is no pin", where="--pin", expected="LAYER=W/A, such as head=8/8")
    if len({layer for layer, _, _ in pairs}) < len(pairs):
        raise ConfigError("a layer has two pins", where="--pin", expected="one for each layer")
    return {layer: bits for layer, _, bits in pairs}
