"""What a wrong command line meant: wrong words of typer become errors that name what was meant.

What is wrong with values (a network, a file, a shape) is said where it is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer
from pydantic import ValidationError

from mho.cli.commands import COMMANDS
from mho.errors import MhoError, propose, suggest
from mho.settings import explain_value

_BY_ENDING = {
    ".toml": "mho run {0} runs a configuration; mho inspect {0} shows an accelerator",
    ".onnx": "mho inspect {0} shows a network, mho cost {0} its time",
    ".mho": "mho inspect {0} shows a program, mho simulate {0} runs it",
}
_LISTS = ("--accelerators", "--input-shape")
"""Options whose value is a list with commas."""

_WITHOUT_JSON = {
    "disassemble": "mho inspect PROGRAM --json prints figures of a program",
    "schema": "it prints JSON as it is",
    "new": "mho inspect FILE --json prints an accelerator",
}

_OPTIONS_ELSEWHERE = {
    ("compile", "--bits"): "the widths are the model's: mho quantize MODEL.onnx --bits W/A sets them",
    ("compile", "--chip"): "mho compile uses all crossbars; --crossbars 1 makes a program of one",
    ("map", "--chip"): "mho map shows one crossbar, used again for every tile; mho schedule shows a chip",
    ("cost", "--chip"): "mho cost is about one crossbar, used again for every tile; mho schedule is about a chip",
}
_MEANT_VALUES = {"throughput": "interval"}
"""Values by what people call them."""


def explain_usage(error: typer.TyperException, command: str | None, arguments: Sequence[str]) -> MhoError:
    """Return what is wrong with a command line, and what was meant.

    Args:
        error: of typer.
        command: that is named; None without one.
        arguments: all, without the program's name.
    """
    context: Any = getattr(error, "ctx", None)
    where = f"mho {command}" if command in COMMANDS else "mho"
    option, parameter = getattr(error, "option_name", None), getattr(error, "param", None)
    if command is not None and command not in COMMANDS:
        return MhoError(f"there is no command {command!r}", where="mho", hint=_hint_at_command(command))
    if hasattr(error, "possibilities"):
        known = [name for one in context.command.get_params(context) for name in (*one.opts, *one.secondary_opts)]
        if command is None or list(arguments).index(command) > 0:
            hint = "options stand behind the command: mho COMMAND OPTION"
            return MhoError(f"there is no option {option}", where="mho", hint=hint)
        return MhoError(f"there is no option {option}", where=where, hint=_hint_at_option(str(option), command, known))
    if parameter is not None and error.format_message().startswith("Missing"):
        kind = "argument" if parameter.param_type_name == "argument" else "option"
        name = (parameter.metavar or parameter.name.upper()) if kind == "argument" else parameter.opts[0]
        return MhoError(
            f"the {kind} {name} is missing", where=where, expected=parameter.help or "", hint=_hint_at_example(command)
        )
    is_choice = " is not one of " in error.format_message()
    if parameter is not None and isinstance(error.__cause__, ValidationError) and not is_choice:
        what, expected = explain_value(error.__cause__, parameter.get_runtime_param().adapter.json_schema())
        name = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
        return MhoError(what, where=f"{where}: {name}", expected=expected)
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    if message.startswith("Got unexpected extra argument"):
        return _explain_extra(message, where, command, arguments)
    hint = _hint_at_value(message) or _hint_at_example(command)
    return MhoError(message[:1].lower() + message[1:], where=where, hint=hint)


def _hint_at_value(message: str) -> str:
    """Propose the value nearest to one that is none of those that an option takes."""
    _, is_choice, values = message.partition(" is not one of ")
    given = re.findall(r"'([^']*)'", message)
    if is_choice and len(given) > 1 and (meant := _MEANT_VALUES.get(given[1], "")) in values and meant:
        return propose([meant])
    return suggest(given[1], re.findall(r"'([^']*)'", values)) if is_choice and len(given) > 1 else ""


def _hint_at_command(name: str) -> str:
    for ending, hint in _BY_ENDING.items():
        if name.endswith(ending):
            return hint.format(name)
    return suggest(name, COMMANDS) or "mho --help lists the commands"


def _hint_at_option(option: str, command: str, known: Sequence[str]) -> str:
    if option == "--json" and command in _WITHOUT_JSON:
        return _WITHOUT_JSON[command]
    if (command, option) in _OPTIONS_ELSEWHERE:
        return _OPTIONS_ELSEWHERE[command, option]
    letter = option.lstrip("-")
    begin = [name for name in known if name.startswith(f"--{letter}")]
    if begin:
        return f"did you mean {' or '.join(dict.fromkeys(begin))}?"
    return suggest(option, known) or f"mho {command} --help lists the options"


def _hint_at_example(command: str | None) -> str:
    if command not in COMMANDS:
        return "mho --help lists the commands"
    return f"for example: mho {COMMANDS[command].example}"


def _explain_extra(message: str, where: str, command: str | None, arguments: Sequence[str]) -> MhoError:
    """Explain words that are too many: the rest of a list, an accelerator without its option, or none of these."""
    extra = message.rpartition("(")[2].rstrip(")").split()
    error: dict[str, Any] = {"where": where, "hint": f"mho {command} --help shows what it takes"}
    for option in _LISTS:
        if option in arguments[:-1]:
            rest = arguments[list(arguments).index(option) + 1 :]
            words = [word.strip(",") for word in rest[: next((k for k, w in enumerate(rest) if w[:1] == "-"), None)]]
            if set(extra) <= {*words}:
                error["hint"] = f"lists have commas and no spaces: {option} {','.join(words)}"
                break
    else:
        from mho.hardware.loading import list_presets

        if command in ("cost", "map", "schedule", "compile") and extra[0] in list_presets():
            error["hint"] = f"accelerators have an option: --accelerator {extra[0]}"
    return MhoError(f"there {'is one word' if len(extra) == 1 else 'are words'} too many: {' '.join(extra)}", **error)
