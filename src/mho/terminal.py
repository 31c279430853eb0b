"""Where text leaves for a terminal: the only module that prints, see `tests/architecture`.

Names of layers, accelerators and files come from users' files. Nothing in them is taken for markup, and characters that
would steer a terminal are printed as escapes, such as ``\\u001b``, which JSON reads as the character.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any

import click
import rich.console
import rich.text

_SHOWN_ERROR = 10_000
"""Characters of an error that are printed."""


class Verbosity(IntEnum):
    """How much is printed beside results and errors."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_VERBOSITY: ContextVar[Verbosity] = ContextVar("verbosity", default=Verbosity.NORMAL)


@contextmanager
def verbosity(level: Verbosity) -> Iterator[None]:
    """Print so much within the block."""
    token = _VERBOSITY.set(level)
    try:
        yield
    finally:
        _VERBOSITY.reset(token)


def current_verbosity() -> Verbosity:
    """Return how much is printed here."""
    return _VERBOSITY.get()


def escape(text: str) -> str:
    """Return text without characters that steer a terminal: control and format characters, halves of surrogate pairs.

    Ends of lines and tabs stay.
    """
    return text if text.isprintable() else "".join(map(_escape_one, text))


def _escape_one(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


class Text(rich.text.Text):
    """Text with styles, escaped."""

    def __init__(self, text: str = "", style: Any = "", **options: Any) -> None:
        super().__init__(escape(text), style, **options)

    @classmethod
    def assemble(cls, *parts: Any, style: Any = "", **options: Any) -> Text:
        """Return strings, and pairs of a string and its style, one after the other."""
        text = cls(style=style, **options)
        for part in parts:
            text.append(*(part if isinstance(part, tuple) else (part,)))
        return text

    def append(self, text: Any, style: Any = None) -> Text:
        """Add text to the end and return all of it."""
        super().append(escape(text) if isinstance(text, str) else text, style)
        return self


class Console(rich.console.Console):
    """Prints escaped text, tables and `Text`; strings are text, never markup."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> rich.text.Text:
        """Return what strings become, also those in tables."""
        return super().render_str(escape(text), **options)


def wide_console() -> Console:
    """Return a console on standard output that folds lines on a terminal alone: a file has room for all of them."""
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    return console


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print escaped text, on standard error where `err`, with an end of line where `nl`."""
    click.echo(escape(text), err=err, nl=nl)


def echo_note(text: str) -> None:
    """Print on standard error what is neither result nor error, unless a command was to be quiet."""
    if _VERBOSITY.get() > Verbosity.QUIET:
        echo(text, err=True)


def echo_detail(text: str) -> None:
    """Print on standard error what only those want to read who asked for more."""
    if _VERBOSITY.get() is Verbosity.VERBOSE:
        echo(text, err=True)


def echo_over(text: str, *, is_last: bool) -> None:
    """Print a line of progress on standard error over the one before."""
    click.echo(f"\r\033[K{escape(text)}", err=True, nl=is_last)


def echo_error(text: str) -> None:
    """Print an error on standard error."""
    shown = text if len(text) <= _SHOWN_ERROR else f"{text[:_SHOWN_ERROR]}..."
    Console(stderr=True).print(Text(f"error: {shown}", style="red"), soft_wrap=True)


def can_ask() -> bool:
    """Return whether there is someone to answer questions: standard input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def is_terminal(*, err: bool = False) -> bool:
    """Return whether standard output, or standard error, is a terminal."""
    return (sys.stderr if err else sys.stdout).isatty()
