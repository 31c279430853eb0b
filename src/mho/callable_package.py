"""Packages that can be called: `mho.cost(...)` is the public function, `mho.cost.latency` the module behind it.

Whoever imports a submodule binds the package under its name, which would hide a function of that name; so the package
itself answers the call.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = getattr(importlib.import_module("mho.api"), self.__name__.rpartition(".")[2])
        return function(*args, **kwargs)


def make_callable(package: str) -> None:
    """Let calls of the package `mho.NAME` go to the function NAME of `mho.api`."""
    sys.modules[package].__class__ = _CallablePackage
