"""``mho new``: files to start from, with a comment for every key."""

from __future__ import annotations

import os
import re
import tomllib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

import mho
from mho.cli.arguments import complete_presets
from mho.cli.help import one_of
from mho.cli.outputs import write_output
from mho.errors import ConfigError, InputFileError
from mho.hardware.converters import AdcRange
from mho.hardware.loading import accelerator_from_json, load_accelerator, override
from mho.hardware.spec import Accelerator, Encoding
from mho.terminal import can_ask, echo
from mho.toml_text import write_template

LIKE, NETWORK, DATA, TASK = "pelke2026-4bit", "resnet8", "digits", "classification"
OWN_TASK = {"kind": "custom", "loss": "task.py:loss", "metric": "task.py:metric", "better": "more"}
"""What stands in the table of a custom task, to be changed."""


class Kind(StrEnum):
    """What a file describes."""

    ACCELERATOR = "accelerator"
    RUN = "run"


_HARDWARE, _RUN = "Of an accelerator", "Of a run"
_KEYS = {
    "rows": "crossbar.rows",
    "cols": "crossbar.cols",
    "cell_bits": "crossbar.cell_bits",
    "write_latency_us": "crossbar.write_latency_us",
    "mvm_latency_us": "crossbar.mvm_latency_us",
    "dac_bits": "converters.dac_bits",
    "adc_bits": "converters.adc_bits",
    "adc_range": "converters.adc_range",
    "columns_per_adc": "converters.columns_per_adc",
    "programming_error": "array.programming_error",
    "read_noise": "array.read_noise",
    "crossbars": "chip.crossbars",
    "cores": "chip.cores",
}
"""Options that are values of an accelerator."""


def _option(help_text: str, metavar: str = "N", panel: str = _HARDWARE, least: int | None = None, **others: Any) -> Any:
    return typer.Option(metavar=metavar, help=help_text, rich_help_panel=panel, min=least, **others)


def _count(help_text: str, panel: str = _HARDWARE) -> Any:
    return _option(help_text, panel=panel, least=1)


KindArgument = Annotated[Kind, typer.Argument(help="What the file describes: accelerator or run.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="The file to write.")]
Rows = Annotated[int | None, _count("Rows of a crossbar: inputs of one MVM.")]
Cols = Annotated[int | None, _count("Columns of a crossbar: sums that one MVM gives.")]
CellBits = Annotated[int | None, _count("Bits that one cell holds, 1 to 8.")]
WriteLatency = Annotated[str | None, _option("Time to write a crossbar, us.", "US")]
MvmLatency = Annotated[str | None, _option("Time of one MVM, us.", "US")]
DacBits = Annotated[int | None, _count("Bits of an input that one MVM takes.")]
AdcBits = Annotated[str | None, _option("Bits of an ADC, or ideal.", "N|ideal")]
AdcRangeOption = Annotated[
    AdcRange | None, _option(f"What the codes of an ADC are spread over. {one_of(AdcRange)}", "RANGE")
]
ColumnsPerAdc = Annotated[int | None, _count("Columns that share an ADC.")]
ProgrammingError = Annotated[str | None, _option("Deviation of a written cell, part of the conductance range.", "PART")]
ReadNoise = Annotated[str | None, _option("Deviation of a cell at a read, part of the conductance range.", "PART")]
WeightEncoding = Annotated[
    Encoding | None,
    _option(
        "How signed weights become conductances, and the only encoding that the best mapping may use "
        f"(mapping.allowed.encodings). {one_of(Encoding)}",
        "ENCODING",
    ),
]
Crossbars = Annotated[int | None, _count("Crossbars of the chip.")]
Cores = Annotated[int | None, _count("Cores that share them out.")]
Like = Annotated[
    str | None,
    _option(
        f"The accelerator that gives all other values; by default {LIKE}.",
        "NAME|FILE",
        autocompletion=complete_presets,
    ),
]
NetworkName = Annotated[
    str | None, _option(f"A name or an ONNX file, as for mho cost; by default {NETWORK}.", "NAME|FILE", _RUN)
]
TaskName = Annotated[
    str | None, _option(f"What the network is for: regression, segmentation, ...; by default {TASK}.", "KIND", _RUN)
]
DataName = Annotated[
    str | None,
    _option(f"digits, fashion-mnist, cifar10, image-folder, npz or file.py:function; by default {DATA}.", "NAME", _RUN),
]
DataRoot = Annotated[Path | None, _option("Where the data lies.", "PATH", _RUN)]
AcceleratorName = Annotated[
    str | None,
    _option(f"A preset or a TOML file; by default {LIKE}.", "NAME|FILE", _RUN, autocompletion=complete_presets),
]
Budget = Annotated[int | None, _count("Policies that the search evaluates; by default 40.", _RUN)]
AllowedDrop = Annotated[
    float | None,
    _option("How much worse the task's metric may be, in its unit; of percent by default 1 point.", "NUMBER", _RUN),
]


def new(
    kind: KindArgument,
    file: FileArgument,
    like: Like = None,
    rows: Rows = None,
    cols: Cols = None,
    cell_bits: CellBits = None,
    write_latency_us: WriteLatency = None,
    mvm_latency_us: MvmLatency = None,
    dac_bits: DacBits = None,
    adc_bits: AdcBits = None,
    adc_range: AdcRangeOption = None,
    columns_per_adc: ColumnsPerAdc = None,
    programming_error: ProgrammingError = None,
    read_noise: ReadNoise = None,
    encoding: WeightEncoding = None,
    crossbars: Crossbars = None,
    cores: Cores = None,
    task: TaskName = None,
    network: NetworkName = None,
    data: DataName = None,
    data_root: DataRoot = None,
    accelerator: AcceleratorName = None,
    budget: Budget = None,
    allowed_drop: AllowedDrop = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a file that describes an accelerator or a run, with a comment for every key, to be changed.

    On a terminal mho asks for what no option gives; elsewhere it takes the default that is named. Every other key
    stands in the file as a comment, with its default.
    """
    given = dict(locals())
    _check(kind, file, given, force=force)
    given |= _ask(kind, given)
    text = _accelerator(file, given) if kind is Kind.ACCELERATOR else _run(file, given)
    write_output(file, text.encode())
    then = f"mho cost resnet8 --accelerator {file}" if kind is Kind.ACCELERATOR else f"mho run {file} --check"
    echo(f"{file}: written; next: {then}")


def _check(kind: Kind, file: Path, given: dict[str, Any], *, force: bool) -> None:
    of_run = ("task", "network", "data", "data_root", "accelerator", "budget", "allowed_drop")
    others = ("like", "encoding", *_KEYS) if kind is Kind.RUN else of_run
    if wrong := [name for name in others if given[name] is not None]:
        option = f"--{wrong[0].replace('_', '-')}"
        hint = "--accelerator names it, mho new accelerator writes one" if kind is Kind.RUN else ""
        raise ConfigError(f"{option} is no option of a new {kind}", where="mho new", hint=hint)
    if file.suffix != ".toml":
        raise ConfigError("no .toml file", where=str(file), expected=f"a name such as {file.name}.toml")
    if file.exists() and not force:
        raise InputFileError("is there already", where=str(file), hint="--force replaces it")


_QUESTIONS = {
    Kind.ACCELERATOR: {
        "rows": "Rows of a crossbar",
        "cols": "Columns of a crossbar",
        "cell_bits": "Bits of a cell",
        "dac_bits": "Bits of a DAC",
        "adc_bits": "Bits of an ADC, or ideal",
        "crossbars": "Crossbars of the chip",
    },
    Kind.RUN: {
        "network": "Network (a name or an ONNX file)",
        "data": "Data (digits, fashion-mnist, cifar10, image-folder, npz)",
        "accelerator": "Accelerator (a preset or a TOML file)",
        "allowed_drop": "Accuracy that may be lost, points",
    },
}


def _ask(kind: Kind, given: dict[str, Any]) -> dict[str, Any]:
    """Return what the user of a terminal answers to questions whose option was not given; nothing elsewhere."""
    if not can_ask():
        return {}
    if kind is Kind.ACCELERATOR:
        base = load_accelerator(given["like"] or LIKE).to_json()
        defaults = {name: base[_KEYS[name].split(".")[0]][_KEYS[name].split(".")[1]] for name in _QUESTIONS[kind]}
    else:
        defaults = {"network": NETWORK, "data": DATA, "accelerator": LIKE, "allowed_drop": 1.0}
    answers = {
        name: typer.prompt(question, default=str(defaults[name]))
        for name, question in _QUESTIONS[kind].items()
        if given[name] is None and not (name == "allowed_drop" and given["task"])  # whose unit is the task's
    }
    return {name: answer for name, answer in answers.items() if answer != str(defaults[name])}


def _accelerator(file: Path, given: dict[str, Any]) -> str:
    like = given["like"] or LIKE
    alone = given["crossbars"] if given["cores"] is None else None
    base = override(load_accelerator(like), encoding=given["encoding"], crossbars=alone)
    content = base.to_json()
    for key in () if given["encoding"] is None else ("mapping.encoding", "mapping.allowed"):
        content["sources"].pop(key, None)
    changed = {key: given[option] for option, key in _KEYS.items() if given[option] is not None}
    for key, value in changed.items():
        section, name = key.split(".")
        content[section][name] = _number(value)
        content["sources"].pop(key, None)
    if changed:
        content["interconnect"] |= dict.fromkeys(("mesh_rows", "mesh_cols"))
    content |= {"name": file.stem, "description": f"Begun from {like}."}
    made = accelerator_from_json(content, where="mho new accelerator")
    heading = (
        f"An accelerator, begun from {like}: change what differs, and say in [sources] where values come from.",
        "",
        f"  mho inspect {file}",
        f"  mho cost resnet8 --accelerator {file}",
        "",
        "Lines that are commented out show defaults. Keys without a value are unspecified:",
        "what they would cost is not counted, and is listed as missing.",
    )
    return _checked(Accelerator, made.model_dump(), heading, str(file))


def _run(file: Path, given: dict[str, Any]) -> str:
    from mho.workflow.config import RunConfig

    network, data = given["network"] or NETWORK, given["data"] or DATA
    task, drop = _read_task(given, data)
    is_small, is_usual = data == DATA, task is None
    training = {"batch_size": 64 if is_small else 128} | ({} if is_usual else {"optimizer": "adamw"})
    content: dict[str, Any] = {
        "run": {"name": re.sub(r"[^A-Za-z0-9._-]", "-", file.stem).lstrip("._-") or "run"},
        "network": {"name": _beside(network, file)},
        **({} if task is None else {"task": task}),
        "data": {"name": _beside(data, file), **({"calibration": 200, "validation": 250} if is_small else {})},
        "accelerator": {"name": _beside(given["accelerator"] or LIKE, file)},
        "evaluation": {"training": {"steps": 20 if is_small else 60, "batch_size": 64, "learning_rate": 0.01}},
        "search": {"budget": given["budget"] or 40, "allowed_drop": drop},
        "qat": {
            "epochs": 20 if is_small else 5, **training,
            "learning_rate": (0.01 if is_small else 0.005) if is_usual else 0.0005,
        },
    }  # fmt: skip
    load_accelerator(given["accelerator"] or LIKE)
    if given["data_root"] is not None:
        content["data"]["root"] = _beside(f"{given['data_root']}", file, is_file=True)
    if not network.endswith(".onnx"):
        content["float_training"] = {
            "epochs": 40 if is_small else 30,
            **training,
            "learning_rate": 0.05 if is_usual else 0.003,
        }
    heading = (
        f"What `mho run {file}` does: train, search bit widths, train the best policy, compile, simulate.",
        "",
        f"  mho run {file} --check     what would be done",
        f"  mho run {file}",
        "",
        "Lines that are commented out show defaults. Paths are relative to this file.",
    )
    return _checked(RunConfig, content, heading, str(file))


def _read_task(given: dict[str, Any], data: str) -> tuple[dict[str, str] | None, Any]:
    """Return the table [task], None for classification, and how much may be lost. Raises `ConfigError`."""
    kind: Any = given["task"] or TASK  # checked by `mho.Task`
    drop = given["allowed_drop"]
    table = OWN_TASK if kind == OWN_TASK["kind"] else {"kind": kind}
    metric = mho.Task(kind).metric if table is not OWN_TASK else None
    if kind != TASK and data != "npz" and ":" not in data:
        raise ConfigError(
            f"data {data!r} has one class a sample", where="--task", expected="--data npz or file.py:function",
        )  # fmt: skip
    if drop is None and (metric is None or metric.unit != "%"):
        raise ConfigError(
            "no --allowed-drop", where="--task",
            expected=f"how much worse the {metric.words if metric else 'metric'} may be, in its unit",
        )  # fmt: skip
    return None if kind == TASK else table, _number(1.0 if drop is None else drop)


def _checked(model: type[BaseModel], content: dict[str, Any], heading: tuple[str, ...], where: str) -> str:
    """Return the text of a file that mho accepts. Raises `ConfigError` where values do not fit together."""
    from mho.settings import parse_settings

    text = write_template(model, content, heading=heading)
    parse_settings(model, tomllib.loads(text, parse_float=Decimal), where=where)
    return text


def _number(value: Any) -> Any:
    """Return what a text means: a number, exactly, or the text. What is no text stays."""
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value) if {".", "e", "E"} & set(value) else int(value)
    except (ValueError, ArithmeticError):
        return value


def _beside(name: str, file: Path, *, is_file: bool = False) -> str:
    """Return a name as it is, or the path of a file relative to the folder of the new one."""
    path, colon, function = name.rpartition(":") if ".py:" in name else (name, "", "")
    is_path = is_file or path.endswith((".toml", ".onnx", ".py"))
    return os.path.relpath(path, file.parent) + colon + function if is_path else name
