"""Functions of the user's own, named on a command line or in a file: the one place where such code is loaded."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mho.errors import ConfigError, InputFileError, MhoError, suggest


def load_function(name: str) -> Callable[..., Any]:
    """Return what `package.module:function` or `path/file.py:function` names; it is the user's, and runs as such.

    Raises:
        ConfigError: the module cannot be imported, or has no such function.
        InputFileError: there is no such file.
    """
    place, _, attribute = name.rpartition(":")
    if not place:
        raise ConfigError("names no function", where=name, expected="package.module:function or path/file.py:function")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ImportError as error:
        raise ConfigError(f"cannot import {place!r}: {error}", where=name, hint="is it on PYTHONPATH?") from error
    except MhoError:
        raise
    except Exception as error:
        raise ConfigError(f"cannot import {place!r}: {tell(error)}", where=name) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"{place} has no function {attribute!r}", where=name, hint=suggest(attribute, dir(module)))
    loaded: Callable[..., Any] = function
    return loaded


def tell(error: Exception) -> str:
    """Return what went wrong in the user's code, and in which line of which file."""
    calls = traceback.extract_tb(error.__traceback__)
    place = f" ({calls[-1].filename}:{calls[-1].lineno})" if calls and not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error}{place}"


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise InputFileError("no such file", where=str(path), expected="a Python file with the function that is named")
    key = f"mho_user_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # dataclasses and annotations in the file look themselves up there
    spec.loader.exec_module(module)
    return module
