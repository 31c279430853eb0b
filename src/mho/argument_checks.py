"""Arguments of public functions, compared with their annotations before anything is done with them.

A wrong type is then a `MhoError` that names the argument, instead of whatever the depths would raise. Ranges, names and
shapes are checked where they are used.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union

import numpy as np

from mho.errors import MhoError, suggest

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", Path: "a path"}


def check_arguments(*leave: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Return a decorator that checks the arguments of a function, or of a dataclass's `__init__`, when it is called.

    Names that a module imports for type checkers alone, protocols and arrays fit everything: whoever uses them checks
    them.

    Args:
        leave: arguments that the function itself checks.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature, name = inspect.signature(function), f"mho.{function.__qualname__}"
        kinds: dict[str, Any] = {}

        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if not kinds:
                kinds.update(_read_annotations(function))
            for argument, value in signature.bind(*args, **kwargs).arguments.items():
                kind = kinds.get(argument, Any)
                if argument not in leave and not fits(value, kind):
                    hint = suggest(value, _list_names(kind)) if isinstance(value, str) else ""
                    hint = hint or _hint_of_network(value, kind)
                    what, expected = f"{argument} is {_describe(value)}", _expected(kind)
                    raise MhoError(what, where=name, expected=expected, hint=hint)
            return function(*args, **kwargs)

        return call

    return decorate


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of the type that an annotation stands for."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or origin is np.ndarray or isinstance(kind, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str | int) and any(value == part for part in parts)
    if origin is not None and issubclass(origin, Mapping):
        pairs = value.items() if isinstance(value, Mapping) else ()
        return isinstance(value, Mapping) and all(fits(key, parts[0]) and fits(own, parts[1]) for key, own in pairs)
    if origin is tuple and parts[-1] is not Ellipsis:
        return isinstance(value, tuple | list) and len(value) == len(parts) and all(map(fits, value, parts))
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, Sequence) and not isinstance(value, str) and all(fits(one, parts[0]) for one in value)
    if origin is not None:
        return isinstance(value, origin)
    return _fits_class(value, kind)


def _fits_class(value: Any, kind: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool | np.bool_)
    if kind in (str, Path) and "\0" in str(value):
        return False  # no name and no path holds one
    if getattr(kind, "_is_protocol", False):
        return True
    return isinstance(value, type(None) if kind is None else kind)


def check_fields(value: Any, *leave: str) -> None:
    """Check the types of a dataclass's fields against their annotations. Raises `MhoError`."""
    kind = type(value)
    for name, annotation in _read_annotations(kind).items():
        if name not in leave and not fits(own := getattr(value, name), annotation):
            raise MhoError(f"{name} is {_describe(own)}", where=f"mho.{kind.__name__}", expected=_expected(annotation))


def _read_annotations(function: Callable[..., Any] | type) -> dict[str, Any]:
    """Return the annotations of a function or class; names that it has for type checkers alone stand for anything."""
    known = {*vars(builtins), *vars(sys.modules[function.__module__])}
    named = {
        node.id
        for annotation in inspect.get_annotations(function).values()
        for node in ast.walk(ast.parse(str(annotation), mode="eval"))
        if isinstance(node, ast.Name)
    }
    return typing.get_type_hints(function, localns=dict.fromkeys(named - known, Any))


def _describe(value: Any) -> str:
    if value is None or isinstance(value, str | bool | int | float | Enum):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"


def _hint_of_network(value: Any, kind: Any) -> str:
    """Return how a torch module, or a name, becomes the network that an argument takes; "" for other kinds."""
    if "Network" not in {getattr(part, "__name__", "") for part in (kind, *typing.get_args(kind))}:
        return ""
    if isinstance(value, str | Path):
        return f"mho.load({str(value)!r:.60}) reads a network"
    is_module = callable(value) and hasattr(value, "named_parameters")
    return "mho.load(model, torch.zeros(1, 3, 32, 32)) makes one of a torch module" if is_module else ""


def _list_names(kind: Any) -> list[str]:
    """Return the names that an annotation allows: those of an enumeration or a `Literal`, also within a union."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return list(dict.fromkeys(name for part in parts for name in _list_names(part)))
    if origin is Literal:
        return [str(part) for part in parts]
    return [str(one) for one in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def _expected(kind: Any) -> str:
    """Tell in words what an annotation stands for."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_expected(part) for part in parts))
    if names := _list_names(kind):
        return ", ".join(map(repr, names))
    if kind in (None, type(None)):
        return "None"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping of {_expected(parts[0])} to {_expected(parts[1])}"
    if origin is np.ndarray:
        return "an array"
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"({', '.join(map(_expected, parts))})"
    if origin is not None and issubclass(origin, Sequence):
        return f"a list, each {_expected(parts[0])}"
    if origin is not None and issubclass(origin, Callable):  # type: ignore[arg-type]
        return "a function"
    return _WORDS.get(kind) or ("something else" if kind is Any else f"{kind.__name__}")
