"""The errors that mho raises for people: what is wrong, where, what was expected, what to do.

Every error that a user can cause is a `MhoError`. The command line prints its text and exits with `exit_code`; a
traceback there means a defect of mho.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_SUGGESTED = 3
"""Names that a hint proposes."""

_BEYOND_FLOAT32 = 2.0**128 - 2.0**103
"""The least number that rounds to infinity: half a last place above float32's largest."""


class MhoError(Exception):
    """Base of all errors that a user can cause and correct.

    Args:
        what: what is wrong, in one sentence.
        where: the file, key, layer or node that it is about.
        expected: what would have been right (range, type, shape).
        hint: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        self.what, self.where, self.expected, self.hint = what, where, expected, hint
        lines = [f"{where}: {what}" if where else what]
        if expected:
            lines.append(f"  expected: {expected}")
        if hint:
            lines.append(f"  hint: {hint}")
        super().__init__("\n".join(lines))

    @property
    def line(self) -> str:
        """What is wrong, where and what was expected, in one line."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; expected {self.expected}" if self.expected else text


class InputFileError(MhoError):
    """A file is missing, unreadable, truncated or not what it says that it is."""


class ConfigError(MhoError):
    """A configuration or accelerator description has an unknown key, a wrong type or an impossible value."""


class UnsupportedOperationError(MhoError):
    """A network holds operations that mho cannot run; the message names every one with its node."""


class PolicyError(MhoError):
    """A policy names an unknown layer, lacks one, or has bit widths out of range."""


class DataError(MhoError):
    """A dataset or an input array has the wrong shape, type or content."""


class MemoryBudgetError(MhoError):
    """Something that was handed in would take more memory than the budget of `mho.input_files` allows."""


class MappingError(MhoError):
    """A layer cannot be mapped onto the accelerator; states demand, limit and the levers that would help."""


class ScheduleError(MhoError):
    """A network cannot be scheduled on a chip; states demand, limit and the levers that would help."""


class ProgramError(MhoError):
    """A program is inconsistent with itself or with the accelerator it is run on."""


class DeviceError(MhoError):
    """A device that runs a program failed, gave a wrong kind of answer or none."""


class TrainingError(MhoError):
    """A training cannot go on: it diverged."""


class MissingExtraError(MhoError):
    """A feature needs an optional dependency that is not installed; says how to install its extra.

    Args:
        what: what is missing, in one sentence.
        extra: name of the extra in `pyproject.toml` that holds it.
        where: the file, key or option that needs it.
        otherwise: how to go on without it, such as "leave --ray out".
    """

    def __init__(self, what: str, extra: str, *, where: str = "", otherwise: str = "") -> None:
        hint = f"in the clone of mho: pip install -e '.[{extra}]'" + (f", or {otherwise}" if otherwise else "")
        super().__init__(what, where=where, expected=f"the extra {extra}", hint=hint)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the names that `nearest` returns, or an empty string."""
    return propose(nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that begin with `name`, a few of them, or else the one nearest to it, if any."""
    if not isinstance(name, str):  # whatever a user gave in a name's place
        return []
    names = list(known)
    begun = [one for one in names if len(name) > 1 and one.startswith(name)]
    return begun[:_MOST_SUGGESTED] or get_close_matches(name, names, n=1, cutoff=0.6)


def propose(names: Iterable[str]) -> str:
    """Return ``did you mean 'x' or 'y'?``; an empty string for no names."""
    named = " or ".join(map(repr, names))
    return f"did you mean {named}?" if named else ""


def check_float32_range(values: NDArray[Any], *, where: str) -> None:
    """Raise `DataError` where a finite number rounds to an infinite one in float32; others are not looked at."""
    import numpy as np

    sizes = np.abs(values[np.isfinite(values)]).astype(np.float64)
    if sizes.size and sizes.max() >= _BEYOND_FLOAT32:
        raise DataError(
            f"numbers as large as {sizes.max():.3g}", where=where,
            expected="at most 3.4e+38, the largest that float32 holds", hint="scale them as for training",
        )  # fmt: skip


@contextmanager
def file_errors(path: str | Path, otherwise: str, *, expected: str = "", hint: str = "") -> Iterator[None]:
    """Raise what the system refuses within the block as an `InputFileError` about a file.

    Args:
        path: of the file.
        otherwise: what is wrong, where the system gives no reason: "cannot be written".
        expected, hint: of the error.
    """
    try:
        yield
    except OSError as error:
        raise InputFileError(error.strerror or otherwise, where=str(path), expected=expected, hint=hint) from error
