"""The ``mho`` command: finds the command that is named, and turns errors into a text and an exit code.

Only the module of that command is imported, so that ``mho --help`` stays quick. Exit codes: 0 done, 2 something that
the user gave is wrong (one text on standard error, no traceback), 130 interrupted, by SIGINT or SIGTERM (one line). A
traceback means a defect of mho.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Annotated, Any

import typer

from mho.cli.commands import COMMANDS, Command, named_command, with_new_names
from mho.cli.help import MhoCommand, MhoGroup
from mho.errors import MhoError
from mho.terminal import Verbosity, current_verbosity, echo, echo_detail, echo_error, verbosity

INTERRUPTED = 130

_COMPLETED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Where shells hand over the line that they complete, while `_MHO_COMPLETE` says how."""

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print time, memory and causes of errors too.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    given = _with_spelt_out(list(sys.argv[1:] if arguments is None else arguments))
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is printed as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = named_command(_completed_words() or given)
    try:
        with _termination_interrupts():
            code = _build_app(chosen)(args=given, prog_name="mho", standalone_mode=False)
    except MhoError as error:
        echo_error(str(error))
        return error.exit_code
    except typer.TyperException as error:
        from mho.cli.hints import explain_usage

        echo_error(str(explain_usage(error, chosen, given)))
        return MhoError.exit_code
    except OSError as error:  # what no stage expects: a full disk, a folder that was taken away or write-protected
        echo_error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return MhoError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _tell_interrupted(chosen)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return _tell_interrupted(chosen) if code == INTERRUPTED else code or 0


def _with_spelt_out(given: list[str]) -> list[str]:
    """Return arguments with what people try spelt out: nothing, ``help COMMAND``, ``version``, names of before."""
    if not given:
        return ["--help"]
    if given[0] == "version":
        return ["--version", *given[1:]]
    if given[0] == "help":
        return [*given[1:2], "--help"]
    return with_new_names(given, lambda line: echo(f"note: {line}", err=True))


def _completed_words() -> list[str]:
    """Return the words of the line that a shell wants completed; none where it wants none."""
    if "_MHO_COMPLETE" not in os.environ:
        return []
    return next((os.environ[name].split()[1:] for name in _COMPLETED if name in os.environ), [])


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
    goes_on = chosen in COMMANDS and COMMANDS[chosen].continues
    with suppress(OSError):  # the terminal may be gone
        echo("interrupted" + ("; the same command continues from here" if goes_on else ""), err=True)
    return INTERRUPTED


def _build_app(chosen: str | None) -> typer.Typer:
    """Build the application with the chosen command in full and only the summaries of the others."""
    app = typer.Typer(
        name="mho",
        cls=MhoGroup,
        help="From a neural network to a verified program for a computing-in-memory chip.",
        epilog="mho COMMAND --help shows its options and an example.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        function = _with_verbosity(_load(command)) if name == chosen else _only_a_summary
        app.command(
            name,
            cls=MhoCommand,
            short_help=command.summary,
            rich_help_panel=command.panel,
            epilog=f"Example: mho {command.example}" if command.example else None,
        )(function)
    return app


def _print_version(chosen: bool) -> None:
    if chosen:
        from mho.version import __version__

        echo(f"mho {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
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


def _with_verbosity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the options --quiet and --verbose behind its own."""
    signature = inspect.signature(function, eval_str=True)
    own = {"quiet": QuietOption, "verbose": VerboseOption}

    @wraps(function)
    def run(*, quiet: bool, verbose: bool, **given: Any) -> None:
        if quiet and verbose:
            raise MhoError("--quiet and --verbose were given together", expected="one of them")
        level = Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL
        with verbosity(level), _measured():
            function(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in own.items()]
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), *added])
    return run


@contextmanager
def _measured() -> Iterator[None]:
    """Print, where more is to be printed, the time and memory that the block took, and what caused an error of it."""
    start = time.perf_counter()
    try:
        yield
    except MhoError as error:
        if error.__cause__ is not None:
            echo_detail(f"caused by {type(error.__cause__).__name__}: {error.__cause__}")
        raise
    finally:
        if current_verbosity() is Verbosity.VERBOSE:
            import resource

            from mho.version import __version__

            peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            seconds = time.perf_counter() - start
            echo_detail(f"mho {__version__}: {seconds:.2f} s, at most {peak_bytes / 2**20:,.0f} MiB of memory")
