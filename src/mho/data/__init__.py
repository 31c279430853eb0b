"""Datasets with fixed splits, as arrays: what training, search and the final test each may see."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Split": "mho.data.dataset",
    "Dataset": "mho.data.dataset",
    "DataSpec": "mho.data.spec",
    "load_dataset": "mho.data.loading",
}

__all__ = ["DataSpec", "Dataset", "Split", "load_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mho.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


if TYPE_CHECKING:
    from mho.data.dataset import Dataset as Dataset
    from mho.data.dataset import Split as Split
    from mho.data.loading import load_dataset as load_dataset
    from mho.data.spec import DataSpec as DataSpec
