"""mho: from a neural network to a verified program for a computing-in-memory accelerator.

The public API is what `__all__` names. Everything is imported when it is first used, so that `import mho` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mho.version import __version__ as __version__

_HOMES = {
    "load": "mho.api.networks",
    "load_layers": "mho.api.networks",
    "accelerator": "mho.api.accelerators",
    "cost": "mho.api.accelerators",
    "map": "mho.api.accelerators",
    "schedule": "mho.api.accelerators",
    "compare": "mho.api.accelerators",
    "dataset": "mho.data.in_memory",
    "search": "mho.bit_search.api",
    "SearchOptions": "mho.bit_search.api",
    "allocate": "mho.bit_search.allocation",
    "measure_divergences": "mho.bit_search.divergence_measurement",
    "quantize": "mho.api.networks",
    "quantize_digital": "mho.api.networks",
    "trainable": "mho.api.networks",
    "save": "mho.api.networks",
    "compile": "mho.api.programs",
    "compile_schedule": "mho.api.programs",
    "simulate": "mho.api.programs",
    "estimate": "mho.api.chips",
    "calibrate": "mho.api.chips",
    "recalibrate": "mho.api.chips",
    "run": "mho.api.runs",
    "read_result": "mho.api.runs",
    "compare_runs": "mho.api.runs",
    "draw_run": "mho.api.runs",
    "search_config": "mho.api.runs",
    "mix": "mho.api.runs",
    "study": "mho.api.runs",
    "digital_work": "mho.api.programs",
    "timing": "mho.api.programs",
    "count_zero_slices": "mho.api.programs",
    "load_decoder": "mho.api.language",
    "share_weights": "mho.api.language",
    "first_inputs": "mho.api.language",
    "generate": "mho.api.language",
    "emit": "mho.api.targets",
    "vectors": "mho.api.targets",
    "run_on_device": "mho.api.targets",
    "plot": "mho.api.charts",
    "TrainableNetwork": "mho.quantization.qat",
    "TrainingOptions": "mho.quantization.training_options",
    "LayerDivergences": "mho.bit_search.layer_divergences",
    "Task": "mho.task.task",
    "Network": "mho.network.graph",
    "Accelerator": "mho.hardware.spec",
    "Program": "mho.program.program",
    "Outputs": "mho.api.programs",
    "Cost": "mho.cost_model.cost",
    "NetworkMap": "mho.cost_model.network_map",
    "Schedule": "mho.scheduling.schedule",
    "SearchResult": "mho.bit_search.runner",
    "Progress": "mho.progress",
    "SearchProgress": "mho.bit_search.search_state",
    "Policy": "mho.policy",
    "BitWidths": "mho.policy",
    "Conditions": "mho.array.conductances",
    "MhoError": "mho.errors",
}

__all__ = ["__version__", *_HOMES]


if not TYPE_CHECKING:  # type checkers would take any name to be one of mho's

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'mho' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from mho.api.accelerators import accelerator as accelerator
    from mho.api.accelerators import compare as compare
    from mho.api.accelerators import cost as cost
    from mho.api.accelerators import map as map
    from mho.api.accelerators import schedule as schedule
    from mho.api.charts import plot as plot
    from mho.api.chips import calibrate as calibrate
    from mho.api.chips import estimate as estimate
    from mho.api.chips import recalibrate as recalibrate
    from mho.api.language import first_inputs as first_inputs
    from mho.api.language import generate as generate
    from mho.api.language import load_decoder as load_decoder
    from mho.api.language import share_weights as share_weights
    from mho.api.networks import load as load
    from mho.api.networks import load_layers as load_layers
    from mho.api.networks import quantize as quantize
    from mho.api.networks import quantize_digital as quantize_digital
    from mho.api.networks import save as save
    from mho.api.networks import trainable as trainable
    from mho.api.programs import Outputs as Outputs
    from mho.api.programs import compile as compile
    from mho.api.programs import compile_schedule as compile_schedule
    from mho.api.programs import count_zero_slices as count_zero_slices
    from mho.api.programs import digital_work as digital_work
    from mho.api.programs import simulate as simulate
    from mho.api.programs import timing as timing
    from mho.api.runs import compare_runs as compare_runs
    from mho.api.runs import draw_run as draw_run
    from mho.api.runs import mix as mix
    from mho.api.runs import read_result as read_result
    from mho.api.runs import run as run
    from mho.api.runs import search_config as search_config
    from mho.api.runs import study as study
    from mho.api.targets import emit as emit
    from mho.api.targets import run_on_device as run_on_device
    from mho.api.targets import vectors as vectors
    from mho.array.conductances import Conditions as Conditions
    from mho.bit_search.allocation import allocate as allocate
    from mho.bit_search.api import SearchOptions as SearchOptions
    from mho.bit_search.api import search as search
    from mho.bit_search.divergence_measurement import measure_divergences as measure_divergences
    from mho.bit_search.layer_divergences import LayerDivergences as LayerDivergences
    from mho.bit_search.runner import SearchResult as SearchResult
    from mho.bit_search.search_state import SearchProgress as SearchProgress
    from mho.cost_model.cost import Cost as Cost
    from mho.cost_model.network_map import NetworkMap as NetworkMap
    from mho.data.in_memory import dataset as dataset
    from mho.errors import MhoError as MhoError
    from mho.hardware.spec import Accelerator as Accelerator
    from mho.network.graph import Network as Network
    from mho.policy import BitWidths as BitWidths
    from mho.policy import Policy as Policy
    from mho.program.program import Program as Program
    from mho.progress import Progress as Progress
    from mho.quantization.qat import TrainableNetwork as TrainableNetwork
    from mho.quantization.training_options import TrainingOptions as TrainingOptions
    from mho.scheduling.schedule import Schedule as Schedule
    from mho.task.task import Task as Task
