"""``mho doctor``: what this machine has of what mho uses."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict

import typer

from mho.api.environment import Environment, describe_environment
from mho.cli.arguments import JsonOption, PrintedOption
from mho.cli.outputs import printed_into
from mho.terminal import echo


def doctor(as_json: JsonOption = False, output: PrintedOption = None) -> None:
    """Show what this machine has of what mho uses, and how to get what is missing.

    Exit code 1 where a library that mho needs is missing.
    """
    found = describe_environment()
    with printed_into(output):
        echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(_tell(found)))
    if None in found.libraries.values():
        raise typer.Exit(1)


def _tell(found: Environment) -> Iterator[str]:
    yield f"mho {found.mho}, Python {found.python}, {found.system}"
    yield ""
    yield _row("processors", f"{found.processors}; {found.threads} threads of torch where a file names no number")
    yield _row("integer products", found.integer_products)
    yield _row("GPUs", "; ".join(found.gpus) or "none that torch sees: networks are trained on the processor")
    yield _row("C++ compiler", found.compiler or "none: trainings run without torch.compile (apt-get install g++)")
    yield _row("memory budget", f"{found.memory_budget_bytes / 2**30:g} GiB for one file or array ($MHO_MEMORY_GIB)")
    yield _row("cache", found.cache_folder)
    yield "\nlibraries"
    for name, version in found.libraries.items():
        yield _row(name, version or f"missing: pip install {name}")
    yield "\nextras"
    for extra, libraries in found.extras.items():
        missing = [name for name, version in libraries.items() if version is None]
        have = ", ".join(f"{name} {version}" for name, version in libraries.items() if version is not None)
        lack = f"not installed: pip install {' '.join(missing)}"
        yield _row(extra, "; ".join(filter(None, (have, lack if missing else ""))))


def _row(name: str, text: str) -> str:
    """Return a name and a text beside it, which goes on below itself."""
    return textwrap.fill(text, 78, initial_indent=f"  {name:<18} ", subsequent_indent=" " * 21, break_on_hyphens=False)
