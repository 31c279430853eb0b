"""Float networks by name, from torchvision, or from a user's own function."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {"build_model": "mho.models.build", "model_names": "mho.models.build"}

__all__ = ["build_model", "model_names"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mho.models' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


if TYPE_CHECKING:
    from mho.models.build import build_model as build_model
    from mho.models.build import model_names as model_names
