"""The ``mho`` command: finds the command that is named, and turns errors into a text and an exit code.

Only the module of that command is imported, so that ``mho --help`` stays quick. Exit codes: 0 done, 2 something that
the user gave is wrong (one text on standard error, no traceback), 130 interrupted, by SIGINT or SIGTERM (one line). A
traceback means a defect of mho.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from mho.errors import MhoError

INTERRUPTED = 130
RESUMABLE = ("run", "search", "study", "mix")
"""Commands that continue where they were interrupted."""


@dataclass(frozen=True)
class Command:
    """A command: the function ``MODULE:FUNCTION`` (typer reads its signature) and its line in ``mho --help``."""

    home: str
    summary: str


COMMANDS = {
    "cost": Command("mho.cli.cost:cost", "Predict the time of a network on an accelerator, layer by layer."),
    "map": Command("mho.cli.map:map_network", "Show how a network lies in crossbars, and why."),
    "schedule": Command("mho.cli.schedule:schedule", "Lay a network out on a chip of many crossbars, and time it."),
    "compare": Command("mho.cli.compare:compare", "Compare accelerators on one network."),
    "inspect": Command("mho.cli.inspect:inspect", "Show a network, a program or an accelerator."),
    "quantize": Command("mho.cli.quantize:quantize", "Quantize a float ONNX model by calibration alone."),
    "compile": Command("mho.cli.compile:compile_model", "Compile a quantized ONNX model into a program file."),
    "simulate": Command("mho.cli.simulate:simulate", "Run a program on arrays, and print the time it takes."),
    "calibrate": Command("mho.cli.calibrate:calibrate", "Find the ranges of a chip's ADCs from data."),
    "recalibrate": Command("mho.cli.recalibrate:recalibrate", "Correct scale and bias of a chip's channels from data."),
    "disassemble": Command("mho.cli.disassemble:disassemble_program", "Print every instruction of a program."),
    "search": Command(
        "mho.cli.search:search", "Search the bit widths that make a network fastest within an allowed loss of accuracy."
    ),
    "mix": Command("mho.cli.mix:mix", "Search the bit widths of several networks that share one accelerator."),
    "run": Command("mho.cli.run:run", "Train, search bit widths, compile, simulate and report, as a file says."),
    "report": Command("mho.cli.report:report", "Show a finished run in short, draw it, or compare two."),
    "study": Command("mho.cli.study:study", "Sweep noise, faults, drift, converters over chips: accuracy."),
    "schema": Command("mho.cli.schema:schema", "Print the JSON schemas of the files that mho reads and writes."),
}
"""In the order of the help. To add one: a file in `mho.cli` and a line here."""


def _print_version(chosen: bool) -> None:
    if chosen:
        from mho.terminal import echo
        from mho.version import __version__

        echo(f"mho {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is printed as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = _named_command(given)
    try:
        with _termination_interrupts():
            _build_app(chosen)(args=given, prog_name="mho")
    except MhoError as error:
        _print_error(str(error))
        return error.exit_code
    except OSError as error:  # what no stage expects: a full disk, a folder that was taken away or write-protected
        _print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return MhoError.exit_code
    except KeyboardInterrupt:
        return _tell_interrupted(chosen)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            return _tell_interrupted(chosen)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM end a command as an interrupt from the keyboard does, so that it ends its workers and its claims."""
    is_main = threading.current_thread() is threading.main_thread()
    is_ours = is_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _tell_interrupted(chosen: str | None) -> int:
    from mho.terminal import echo

    with suppress(OSError):  # the terminal may be gone
        echo("interrupted" + ("; the same command continues from here" if chosen in RESUMABLE else ""), err=True)
    return INTERRUPTED


def _named_command(arguments: Sequence[str]) -> str | None:
    """Return the command that is named: options before it take no values."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _build_app(chosen: str | None) -> typer.Typer:
    """Build the application with the chosen command in full and only the summaries of the others."""
    app = typer.Typer(
        name="mho",
        help="From a neural network to a verified program for a computing-in-memory accelerator.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        function = _load(command) if name == chosen else _only_a_summary
        app.command(name, short_help=command.summary)(function)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of ``mho`` itself."""


def _load(command: Command) -> Callable[..., Any]:
    module, _, function = command.home.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded


def _only_a_summary() -> None:
    """Stand in the help for a command that was not named."""
    raise AssertionError("a command ran that was not loaded")


def _print_error(text: str) -> None:
    from mho.terminal import echo_error

    echo_error(text)
