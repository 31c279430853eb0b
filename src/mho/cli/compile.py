"""``mho compile``: a quantized ONNX model becomes a program file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mho
from mho.cli.arguments import (
    AcceleratorOption,
    CellBitsOption,
    CrossbarsOption,
    EncodingOption,
    JsonOption,
    MappingOption,
    MaxErrorOption,
    SharingBatchOption,
    note_doubts,
    read_max_error,
)
from mho.cli.help import one_of
from mho.cli.outputs import check_outputs, print_done
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, MappingError, PolicyError
from mho.formats import plural
from mho.input_files import hash_file
from mho.mapping.layer_mapping import DEFAULT_MODEL
from mho.network.graph import Network
from mho.network.loading import check_file_is_there, load_file
from mho.policy import Policy
from mho.program.disassembly import summarize
from mho.program.program import Program, ProgramKind
from mho.scheduling.duplication import Objective

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A quantized model (QDQ or QCDQ).")]
ProgramOption = Annotated[Path, typer.Option("--output", "-o", metavar="P.mho", help="The program file to write.")]
ChipOption = Annotated[
    bool, typer.Option("--chip", help="Use all crossbars: tiles stay where these hold them all, else take turns.")
]
ObjectiveOption = Annotated[
    Objective | None,
    typer.Option(
        metavar="OBJECTIVE",
        help=f"What options and copies are chosen for, with --chip; by default latency. {one_of(Objective)}",
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
    cell_bits: CellBitsOption = None,
    mapping: MappingOption = DEFAULT_MODEL,
    batch: SharingBatchOption = 1,
    chip: ChipOption = False,
    crossbars: CrossbarsOption = None,
    objective: ObjectiveOption = None,
    policy: AdcPolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a quantized ONNX model for an accelerator.

    The program holds the instructions and the cells of every tile, and runs with `mho simulate`. Without --chip it uses
    one crossbar again for every tile. With it, the program is the best schedule that `mho schedule` finds and carries
    it: where the crossbars hold all tiles, weights stay, layers overlap, and every window waits for what it reads;
    where they do not, tiles take turns in them, and --batch inputs share the writes of weights.
    """
    _check_options(chip=chip, crossbars=crossbars, objective=objective)
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
            max_error=read_max_error(max_error),
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
        chip=chip,
        objective=(objective or Objective.LATENCY).value,
        metadata={"model": {"file": model.name, "sha256": hash_file(model)}},
    )
    mho.save(program, output)
    size_bytes = output.stat().st_size
    print_done(
        f"{output}: {_describe(program)}, {size_bytes / 1e6:,.1f} MB",
        {
            "output": str(output),
            "size_bytes": size_bytes,
            "latency_ps": mho.timing(program).latency_ps,
            **_counts(program),
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


def _check_options(*, chip: bool, crossbars: int | None, objective: Objective | None) -> None:
    if not chip and (crossbars is not None or objective is not None):
        option = "--crossbars" if crossbars is not None else "--objective"
        raise ConfigError(f"{option} is for programs of a chip", hint="add --chip")


def _counts(program: Program) -> dict[str, int]:
    """Return layers and instructions of a program, writes of tiles and MVMs of a sample."""
    summary = summarize(program)
    sums = {key: sum(getattr(layer, key) for layer in summary.layers) for key in ("writes", "mvms")}
    return {"layers": len(summary.layers), "instructions": summary.instructions, **sums}


def _describe(program: Program) -> str:
    """Return a line about what a program is and does."""
    counts = _counts(program)
    writes, mvms = counts["writes"], counts["mvms"]
    text = f"{counts['layers']} layers, {counts['instructions']:,} instructions, "
    if program.schedule is None:
        return text + f"{plural(writes, 'crossbar write')} and {plural(mvms, 'MVM')} a sample"
    what = "tiles" if program.kind is ProgramKind.RESIDENT else "tiles that take turns"
    return text + (
        f"{writes:,} {what} in {program.schedule.used_crossbars:,} of "
        f"{program.accelerator.chip.crossbars:,} crossbars, {mvms:,} MVMs a sample"
    )
