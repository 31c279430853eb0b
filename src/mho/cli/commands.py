"""The commands of ``mho``: where each is, how its help presents it, and what it was called before.

To add one: a file in `mho.cli` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

PREDICT, SEARCH = "Predict time, energy and area", "Search, train and report"
PROGRAMS, LOOK = "Programs and chips", "Set up and look up"


@dataclass(frozen=True)
class Command:
    """A command of ``mho``.

    Attributes:
        home: its function, ``MODULE:FUNCTION``; typer reads the signature.
        summary: its line in ``mho --help``.
        panel: the heading under which it stands there.
        example: a command line, without ``mho``.
        continues: whether it continues where it was interrupted.
    """

    home: str
    summary: str
    panel: str = LOOK
    example: str = ""
    continues: bool = False


COMMANDS = {
    "cost": Command(
        "mho.cli.cost:cost", "Predict a network's time on an accelerator, layer by layer.", PREDICT,
        "cost torchvision:resnet18 --accelerator isaac --bits 4/8",
    ),
    "map": Command(
        "mho.cli.map:map_network", "Show how a network lies in crossbars, and why.", PREDICT,
        "map resnet8 --accelerator pelke2026-4bit --layer conv1",
    ),
    "schedule": Command(
        "mho.cli.schedule:schedule", "Schedule a network on a chip of many crossbars.", PREDICT,
        "schedule resnet8 --accelerator isaac --bits 4/4 --batch 8",
    ),
    "compare": Command(
        "mho.cli.compare:compare", "Compare accelerators on one network.", PREDICT,
        "compare resnet8 --accelerators neurram,hermes-pcm,stt-mram --bits 4/4",
    ),
    "estimate": Command(
        "mho.cli.estimate:estimate", "Estimate accuracy on chips that are not ideal.", PREDICT,
        "estimate quantized.onnx --accelerator neurram --data samples.npz --chips 3",
    ),
    "run": Command(
        "mho.cli.run:run", "Train, search, compile, simulate, report: all from a file.", SEARCH,
        "run examples/digits.toml", continues=True,
    ),
    "search": Command(
        "mho.cli.search:search", "Search the bit widths of a network's layers.", SEARCH,
        "search examples/digits.toml --budget 40 -o policy.json", continues=True,
    ),
    "allocate": Command(
        "mho.cli.allocate:allocate", "Choose bit widths from samples, without training.", SEARCH,
        "allocate model.onnx --accelerator isaac --activation-samples samples.npz --cost-budget 0.75 -o policy.json",
    ),
    "mix": Command(
        "mho.cli.mix:mix", "Search bit widths of networks that share an accelerator.", SEARCH,
        "mix examples/mix_cifar10.toml --data-root DATA", continues=True,
    ),
    "study": Command(
        "mho.cli.study:study", "Sweep noise, faults, drift or converters: accuracy.", SEARCH,
        "study examples/studies/digits.toml --processes 2", continues=True,
    ),
    "report": Command(
        "mho.cli.report:report", "Show a finished run, draw it, or compare two.", SEARCH, "report runs/digits",
    ),
    "quantize": Command(
        "mho.cli.quantize:quantize", "Quantize a float ONNX model by calibration alone.", PROGRAMS,
        "quantize model.onnx --activation-samples samples.npz --bits 4/8 -o quantized.onnx",
    ),
    "compile": Command(
        "mho.cli.compile:compile_model", "Compile a quantized ONNX model into a program.", PROGRAMS,
        "compile quantized.onnx --accelerator pelke2026-4bit -o program.mho",
    ),
    "simulate": Command(
        "mho.cli.simulate:simulate", "Run a program, exactly or on a chip with its noise.", PROGRAMS,
        "simulate program.mho --inputs samples.npz --seed 3 -o outputs.npz",
    ),
    "generate": Command(
        "mho.cli.generate:generate", "Let a language model on a chip go on with a prompt.", PROGRAMS,
        "generate decode.mho --prefill prefill.mho --tokenizer FOLDER --prompt 'The capital of France is'",
    ),
    "calibrate-adcs": Command(
        "mho.cli.calibrate_adcs:calibrate_adcs", "Find the ranges of a chip's ADCs from samples.", PROGRAMS,
        "calibrate-adcs program.mho --inputs samples.npz --seed 3 -o ranges.npz",
    ),
    "correct-channels": Command(
        "mho.cli.correct_channels:correct_channels", "Find scales and biases that undo a chip's drift.", PROGRAMS,
        "correct-channels program.mho --inputs samples.npz --seed 3 --elapsed-s 86400 -o corrections.npz",
    ),
    "vectors": Command(
        "mho.cli.vectors:vectors", "Write test vectors of a layer for RTL.", PROGRAMS,
        "vectors program.mho --inputs samples.npz --layer conv1 --windows 0:4 -o vectors",
    ),
    "disassemble": Command(
        "mho.cli.disassemble:disassemble_program", "Print every instruction of a program.", PROGRAMS,
        "disassemble program.mho",
    ),
    "deploy": Command(
        "mho.cli.deploy:deploy", "Write a program as a C project, or as a backend does.", PROGRAMS,
        "deploy program.mho -o firmware --inputs samples.npz",
    ),
    "new": Command(
        "mho.cli.new:new", "Write a commented accelerator or run file to start from.", LOOK,
        "new accelerator my-crossbar.toml --rows 128 --cols 128 --cell-bits 2",
    ),
    "presets": Command(
        "mho.cli.presets:presets", "List the accelerators that come with mho, or show one.", LOOK, "presets isaac",
    ),
    "inspect": Command(
        "mho.cli.inspect:inspect", "Show a network, a program or an accelerator.", LOOK, "inspect resnet8",
    ),
    "schema": Command(
        "mho.cli.schema:schema", "Print JSON schemas of the files of mho.", LOOK, "schema policy",
    ),
    "doctor": Command(
        "mho.cli.doctor:doctor", "Show versions, processor, GPUs, compiler, extras.", LOOK, "doctor",
    ),
}  # fmt: skip
"""In the order of the help."""

RENAMED_COMMANDS = {"calibrate": "calibrate-adcs", "recalibrate": "correct-channels"}
"""Old names, which still work in this version."""

RENAMED_OPTIONS = {
    ("quantize", "--calibration"): "--activation-samples",
    ("compare", "--calibration"): "--chip-samples",
    ("compare", "--recalibrate"): "--correct-channels",
    ("calibrate-adcs", "--method"): "--range-method",
    ("search", "--batch"): "--proposals",
}
"""(command, old name of an option) -> its name."""


def with_new_names(arguments: Sequence[str], warn: Callable[[str], None]) -> list[str]:
    """Return arguments with old names of commands and options replaced by their new ones.

    Args:
        arguments: without the program's name.
        warn: is called with a line about each old name.
    """
    command = named_command(arguments)
    if command is None:
        return list(arguments)
    place = list(arguments).index(command)
    current = RENAMED_COMMANDS.get(command, command)
    if current != command:
        warn(f"mho {command} is now mho {current}; the old name goes in the next version")
    given = [*arguments[:place], current, *arguments[place + 1 :]]
    for index in range(place + 1, len(given)):
        if given[index] == "--":
            break
        option, equals, value = given[index].partition("=")
        if name := RENAMED_OPTIONS.get((current, option)):
            warn(f"{option} of mho {current} is now {name}; the old name goes in the next version")
            given[index] = f"{name}{equals}{value}"
    return given


def named_command(arguments: Sequence[str]) -> str | None:
    """Return the command that is named: options before it take no values."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)
