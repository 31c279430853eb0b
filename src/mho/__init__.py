"""mho: from a neural network to a verified program for a computing-in-memory accelerator.

The public API is what `__all__` names. Everything is imported when it is first used, so that `import mho` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mho.version import __version__ as __version__

_HOMES = {
    "load": "mho.api",
    "accelerator": "mho.api",
    "cost": "mho.api",
    "map": "mho.api",
    "schedule": "mho.api",
    "compare": "mho.api",
    "search": "mho.bit_search.api",
    "quantize": "mho.api",
    "save": "mho.api",
    "compile": "mho.api",
    "compile_schedule": "mho.api",
    "simulate": "mho.api_programs",
    "calibrate": "mho.api_programs",
    "recalibrate": "mho.api_programs",
    "study": "mho.api_programs",
    "timing": "mho.api_programs",
    "count_zero_slices": "mho.api_programs",
    "Policy": "mho.policy",
    "BitWidths": "mho.policy",
    "Conditions": "mho.array.conductances",
    "MhoError": "mho.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mho' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from mho.api import accelerator as accelerator
    from mho.api import compare as compare
    from mho.api import compile as compile
    from mho.api import compile_schedule as compile_schedule
    from mho.api import cost as cost
    from mho.api import load as load
    from mho.api import map as map
    from mho.api import quantize as quantize
    from mho.api import save as save
    from mho.api import schedule as schedule
    from mho.api_programs import calibrate as calibrate
    from mho.api_programs import count_zero_slices as count_zero_slices
    from mho.api_programs import recalibrate as recalibrate
    from mho.api_programs import simulate as simulate
    from mho.api_programs import study as study
    from mho.api_programs import timing as timing
    from mho.array.conductances import Conditions as Conditions
    from mho.bit_search.api import search as search
    from mho.errors import MhoError as MhoError
    from mho.policy import BitWidths as BitWidths
    from mho.policy import Policy as Policy
