"""``mho compile``: a quantized ONNX model becomes a program file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import mho
from mho.cli.arguments import (
    AcceleratorOption,
    ArithmeticOption,
    CellBitsOption,
    CrossbarsOption,
    DigitalOption,
    EncodingOption,
    JsonOption,
    MappingObjectiveOption,
    MappingOption,
    MaxErrorOption,
    NotDigitalOption,
    SharingBatchOption,
    note_doubts,
    read_rules,
)
from mho.cli.help import one_of
from mho.cli.outputs import check_outputs, print_done
from mho.cost_model.layer_tables import network_policy
from mho.errors import MappingError, PolicyError
from mho.formats import format_time, join_first, plural
from mho.input_files import hash_file
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.network.graph import Network
from mho.network.loading import check_file_is_there, load_file
from mho.policy import Policy
from mho.program.disassembly import summarize
from mho.program.program import ABOVE_BOUND, Program
from mho.scheduling.duplication import Objective
from mho.simulation.reload_program_timing import ReloadProgramTiming

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A quantized model (QDQ or QCDQ).")]
ProgramOption = Annotated[Path, typer.Option("--output", "-o", metavar="P.mho", help="The program file to write.")]
ObjectiveOption = Annotated[
    Objective | None,
    typer.Option(
        metavar="OBJECTIVE",
        help=f"What options and copies are chosen for, where all tiles stay; by default latency. {one_of(Objective)}",
    ),
]
AdcPolicyOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Bits with which sums of layers are converted; other widths: the model's."),
]


def compile_model(
    model: ModelArgument,
    accelerator: AcceleratorOption,
    output: ProgramOption,
    encoding: EncodingOption = None,
    max_error: MaxErrorOption = None,
    mapping_objective: MappingObjectiveOption = None,
    digital: DigitalOption = None,
    not_digital: NotDigitalOption = None,
    arithmetic: ArithmeticOption = None,
    cell_bits: CellBitsOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    batch: SharingBatchOption = 1,
    crossbars: CrossbarsOption = None,
    objective: ObjectiveOption = None,
    policy: AdcPolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a quantized ONNX model for an accelerator.

    The program holds the instructions and the cells of every tile, and runs with `mho simulate`. It makes of the
    accelerator what its crossbars allow, and carries the schedule that `mho schedule` finds: where they hold all tiles,
    weights stay, layers overlap, and every window waits for what it reads; where they do not, tiles are reloaded, and
    --batch inputs share the writes of weights. One crossbar (--crossbars 1) is used again for every tile.
    """
    check_file_is_there(
        model,
        "mho quantize makes a quantized model of a float ONNX file, mho run trains one (stages/found/quantized.onnx)",
    )
    check_outputs({"--output": output}, (model, accelerator, policy))
    hardware = note_doubts(
        mho.accelerator(
            accelerator,
            cell_bits=cell_bits,
            encoding=encoding,
            crossbars=crossbars,
            arithmetic=arithmetic,
            **read_rules(max_error, mapping_objective, digital, not_digital, mapping=mapping),
        )
    )
    network = load_file(model)
    _check_integers(model, network)
    program = mho.compile(
        network,
        hardware,
        mapping=mapping,
        batch=batch,
        adc_bits=None if policy is None else _read_adc_bits(policy, network),
        objective=None if objective is None else objective.value,
        metadata={"model": {"file": model.name, "sha256": hash_file(model)}},
    )
    mho.save(program, output)
    _print_written(program, output, as_json=as_json)


def _print_written(program: Program, output: Path, *, as_json: bool) -> None:
    size_bytes, figures = output.stat().st_size, _describe(program)
    instructions = summarize(program).instructions
    layers = len(program.layers)
    counts = f"{plural(layers, 'layer')}, {plural(instructions, 'instruction')}, {size_bytes / 1e6:,.1f} MB"
    above = dict(program.metadata.get(ABOVE_BOUND, {}))
    print_done(
        f"{output}: {counts}\n{_tell(figures)}{_tell_above(above)}",
        {
            "output": str(output),
            "size_bytes": size_bytes,
            "layers": layers,
            "instructions": instructions,
            **figures,
            **({ABOVE_BOUND: above} if above else {}),
        },
        as_json=as_json,
    )


def _check_integers(model: Path, network: Network) -> None:
    """Refuse a network of floats, and name the command that quantizes it. Raises `MappingError`."""
    if floats := [node.name for node in network.mvm_nodes if node.quantization is None]:
        raise MappingError(
            f"layers without integers: {', '.join(floats)}",
            where=str(model),
            expected="a quantized network (QDQ or QCDQ ONNX)",
            hint=f"mho quantize {model} --activation-samples X.npz --bits 4/4 -o q.onnx",
        )


def _read_adc_bits(policy: Path, network: Network) -> dict[str, int]:
    """Return the ADC bits of a policy whose other widths are the network's. Raises `InputFileError`, `PolicyError`."""
    given, own = Policy.load(policy), network_policy(network)
    given.check_against(network.layer_names, where=str(policy))
    if own is not None:
        for name, bits in own.with_adc_bits(given.adc_bits).layers.items():
            if bits != given[name]:
                raise PolicyError(
                    f"{given[name]}, and the model has {own[name]}", where=f"{policy}: {name}",
                    hint="mho compile takes the model as it is quantized; the policy gives the bits of ADCs",
                )  # fmt: skip
    return given.adc_bits


def _describe(program: Program) -> dict[str, Any]:
    """Return what a program makes of the machine: its regime, times, crossbars, writes and reads."""
    timing, chip = mho.timing(program), program.accelerator.chip.crossbars
    return {
        "regime": str(program.regime),
        "batch": timing.batch if isinstance(timing, ReloadProgramTiming) else 1,
        "latency_ps": timing.latency_ps,
        "crossbars": chip,
        "used_crossbars": 1 if program.schedule is None else program.schedule.used_crossbars,
        "writes": timing.writes,
        "mvms": sum(layer.mvms for layer in summarize(program).layers),
    }


def _tell_above(above: dict[str, float]) -> str:
    """Return a line with the layers whose mapping does not keep the bound on errors; nothing where all do."""
    if not above:
        return ""
    listed = join_first([f"{name} {error:.3f}" for name, error in above.items()])
    return f"\nabove the mapping's bound on errors (mho map shows why): {listed}"


def _tell(figures: dict[str, Any]) -> str:
    """Return the same in a line."""
    inputs = "a sample" if figures["batch"] == 1 else f"a batch of {figures['batch']:,}"
    used, most = figures["used_crossbars"], plural(figures["crossbars"], "crossbar")
    where = "one crossbar" if figures["regime"] == "one-crossbar" else f"{figures['regime']}, {used:,} of {most}"
    latency, writes = format_time(figures["latency_ps"] / 1e6), plural(figures["writes"], "crossbar write")
    return f"{where}: {latency} and {writes} {inputs}, {plural(figures['mvms'], 'MVM')} a sample"
