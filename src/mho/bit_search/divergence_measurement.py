"""Measures how far each layer's bit widths alone move a float network's answers (`mho.bit_search.layer_divergences`).

Each layer in turn is quantized alone, to each of some widths, and the divergence of the answers from the float
network's is measured (`mho.bit_search.divergences`). All other layers stay in float: were they quantized too, each
change of one layer would flip roundings of all later ones, and in a deep network these hide what a few bits change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mho.argument_checks import check_arguments
from mho.bit_search.divergences import Probe, answer_of, probe_divergences
from mho.bit_search.layer_divergences import DEFAULT_PROBED, DEFAULT_WIDTHS, LayerDivergences, check_choices
from mho.data.in_memory import read_inputs
from mho.errors import ConfigError
from mho.network.graph import Network
from mho.policy import UNIFORM_REFERENCE, BitWidths, Policy, Widths, as_widths
from mho.progress import OnProgress, Progress
from mho.quantization.calibration import calibrate
from mho.quantization.effort import DEFAULT_EFFORT, Effort, steps_of
from mho.quantization.joint_inputs import Inputs, as_inputs
from mho.quantization.qat import TrainableNetwork
from mho.quantization.smoothing import smooth
from mho.task.task import CLASSIFICATION, Task

_BATCH_BYTES = 1 << 27
"""Of the float64 answers to one batch, at most, unless one sample has more."""


@check_arguments("calibration_inputs", "widths", "layers")
def measure_divergences(
    network: Network,
    calibration_inputs: Any,
    *,
    widths: Sequence[Widths] = DEFAULT_WIDTHS,
    layers: Sequence[str] | None = None,
    task: Task | None = None,
    effort: Effort = DEFAULT_EFFORT,
    probed_samples: int = DEFAULT_PROBED,
    on_progress: OnProgress | None = None,
) -> LayerDivergences:
    """Measure how far each layer's widths alone move the answers, all others in float.

    It takes a pass from the layer on for each layer and each of `widths`, over the probed samples. No labels are needed
    and nothing is trained.

    Args:
        network: float, with trained weights.
        calibration_inputs: as for `mho.quantize`: real samples, which set ranges.
        widths: what a layer may have, 1..8 bits each, two or more pairs.
        layers: names of those to measure; None: all.
        task: says which axis of the answers has classes, or that none has; None: "language-modelling" of a network with
            states, else "classification".
        effort: with which the network will be quantized; beyond "fast" layers are measured after smoothing.
        probed_samples: on how many of the samples, spread evenly, answers are compared; at most all.
        on_progress: called with a `Progress` as layers are measured.

    Raises:
        ConfigError: the network is quantized; widths or task do not fit.
        PolicyError: an unknown layer, or widths out of range.
        DataError: inputs of another shape, NaN or infinity.
    """
    where = "mho.measure_divergences"
    if network.is_quantized:
        raise ConfigError("the network is quantized", where=where, expected="a float network")
    if probed_samples < 1:
        raise ConfigError(f"probed_samples is {probed_samples}", where=where, expected="1 or more")
    kind = _task_of(network, task)
    if not isinstance(widths, list | tuple):
        raise ConfigError(f"widths are a {type(widths).__name__}", where=where, expected="a list of pairs")
    choices = tuple(sorted({as_widths(one, where="widths") for one in widths}))
    check_choices(choices, where="widths")
    measured_layers = _read_layers(network, layers)
    inputs = as_inputs(network, read_inputs(calibration_inputs, where="calibration inputs"))
    measured = network
    if steps_of(effort).smooths:
        measured = smooth(network, Policy.uniform(network.layer_names, UNIFORM_REFERENCE), inputs)
    trainable = TrainableNetwork(measured).eval()
    calibrate(trainable, inputs)
    probes = [Probe(name, bits) for name in measured_layers for bits in choices]
    probed = _spread(inputs, probed_samples)
    return LayerDivergences(_measure(trainable, probed, probes, kind, on_progress), len(probed), effort)


def _read_layers(network: Network, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the layers in the network's order. Raises `ConfigError` or `PolicyError`."""
    if layers is None:
        return tuple(network.layer_names)
    if not isinstance(layers, list | tuple) or not all(isinstance(name, str) for name in layers):
        raise ConfigError(f"layers are {layers!r:.80}", where="layers", expected="a list of names")
    named = dict.fromkeys(layers, UNIFORM_REFERENCE)
    Policy.uniform(network.layer_names, UNIFORM_REFERENCE).replace(named)  # names of layers alone
    if not named:
        raise ConfigError("no layer is named", where="layers", expected="one or more, or None for all")
    return tuple(name for name in network.layer_names if name in named)


def _task_of(network: Network, task: Task | None) -> Task:
    """Return the task, checked against the answers' shape. Raises `ConfigError`."""
    if task is None:
        task = Task("language-modelling") if network.states else CLASSIFICATION
    shape = network.shapes[answer_of(network)]
    if task.has_classes and (len(shape) > 2) != task.has_positions:
        raise ConfigError(
            f"answers have shape {list(shape)}, and the task is {task.kind}",
            where="mho.measure_divergences",
            expected="a task whose answers have that shape",
            hint="name the task: it says along which axis classes lie",
        )
    return task


def _measure(
    trainable: TrainableNetwork,
    inputs: Inputs,
    probes: Sequence[Probe],
    task: Task,
    on_progress: OnProgress | None,
) -> Mapping[str, Mapping[BitWidths, float]]:
    """Return the divergences by layer and widths."""
    network = trainable.network
    answer = 8 * int(np.prod(network.shapes[answer_of(network)]))
    found = probe_divergences(
        trainable, inputs.split(max(1, min(256, _BATCH_BYTES // answer))), probes, task,
        reference=None, samples=len(inputs),
        on_progress=None if on_progress is None else _as_shares(on_progress, len(probes)),
    )  # fmt: skip
    by_layer: dict[str, dict[BitWidths, float]] = {}
    for probe, divergence in zip(probes, found.tolist(), strict=True):
        by_layer.setdefault(probe.layer, {})[probe.widths] = divergence
    return by_layer


def _as_shares(on_progress: OnProgress, probes: int) -> Callable[[float], None]:
    """Return what takes the share done, 0..1, and reports it with the time left."""
    start = time.monotonic()

    def show(share: float) -> None:
        left, done = (time.monotonic() - start) * (1.0 - share) / share, round(share * probes)
        detail = f"{done:,} of {probes:,} widths of layers measured"
        on_progress(Progress("allocation", "Measure layers", share, detail, share, left, done == probes))

    return show


def _spread(inputs: Inputs, count: int) -> Inputs:
    """Return so many of the samples, from the first to near the last, evenly."""
    return inputs[torch.arange(min(count, len(inputs))) * len(inputs) // min(count, len(inputs))]
