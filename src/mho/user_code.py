"""Functions of the user's own, named on a command line or in a file: the one place where such code is loaded."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mho.errors import ConfigError, InputFileError, MhoError, suggest


def load_function(name: str, parameters: str = "") -> Callable[..., Any]:
    """Return what `package.module:function` or `path/file.py:function` names; it is the user's, and runs as such.

    Args:
        name: of the function. A file is run once, and anew where it was changed.
        parameters: what it is called with, such as "outputs, targets"; empty: not checked here.

    Raises:
        ConfigError: the module cannot be imported, has no such function, or it takes other parameters.
        InputFileError: there is no such file.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise ConfigError("names no function", where=name, expected="package.module:function or path/file.py:function")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ImportError as error:
        raise ConfigError(f"cannot import {place!r}: {error}", where=name, hint="is it on PYTHONPATH?") from error
    except MhoError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot import {place!r}: {tell(error)}", where=name) from error
    if not hasattr(module, attribute):
        raise ConfigError(f"{place} has no function {attribute!r}", where=name, hint=suggest(attribute, dir(module)))
    function = getattr(module, attribute)
    if not callable(function):
        what = f"{attribute} is a value of type {type(function).__name__}"
        raise ConfigError(what, where=name, expected="a function")
    loaded: Callable[..., Any] = function
    if parameters:
        count = parameters.count(",") + 1
        try:
            inspect.signature(loaded).bind(*range(count))
        except TypeError as error:
            words = f"{('one', 'two')[count - 1]} argument{'s' if count > 1 else ''}"
            raise ConfigError(
                f"cannot be called with {words}: {error}", where=name, expected=f"function({parameters})"
            ) from error
    return loaded


def short_name(name: str) -> str:
    """Return the name of a function without the folder of its file."""
    place, colon, function = name.rpartition(":")
    return f"{Path(place).name}{colon}{function}" if place.endswith(".py") else name


@contextmanager
def user_errors(where: str, what: str = "failed", kind: type[MhoError] = ConfigError) -> Iterator[None]:
    """Raise what the user's code raises within the block as an error about it; a `MhoError` passes.

    Code that ends the process (`sys.exit`, and so `argparse`) has failed too: mho has not done what it was asked for.

    Args:
        where: the code's name.
        what: did not work.
        kind: of the error.
    """
    try:
        yield
    except MhoError:
        raise
    except (Exception, SystemExit) as error:
        raise kind(f"{what}: {tell(error)}", where=where) from error


def tell(error: Exception | SystemExit) -> str:
    """Return what went wrong in the user's code, and in which line of which file."""
    calls = traceback.extract_tb(error.__traceback__)
    place = f" ({calls[-1].filename}:{calls[-1].lineno})" if calls and not isinstance(error, SyntaxError) else ""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)}){place}"
    return f"{type(error).__name__}: {error}{place}"


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise InputFileError("no such file", where=str(path), expected="a Python file with the function that is named")
    return _run_file(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _run_file(path: Path, modified_ns: int) -> Any:  # noqa: ARG001 - a file that was changed is run anew
    key = f"mho_user_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # dataclasses and annotations in the file look themselves up there
    spec.loader.exec_module(module)
    return module
