"""What the networks of a finished run are made of: errors by class, time and energy by component, size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mho.cost_model.document import to_microseconds
from mho.evaluation.classes import Confusion, Labels, Predictions, count_confusions, score_classes
from mho.evaluation.deployment import Deployment
from mho.formats import AJ_PER_PJ
from mho.mapping.occupancy import count_cells
from mho.network.layers import MvmLayer
from mho.policy import Policy
from mho.report.result_networks import ClassErrors, ClassFigures, ConfusedClasses, CostSplit, DeployedSize
from mho.scheduling.regime import Regime

FLOAT_BITS = 32
MOST_CONFUSIONS = 1000
"""Confused classes that a result lists: more than 32 classes can have."""


def describe_errors(name: str, label: str, labels: Labels, predictions: Predictions, classes: int) -> ClassErrors:
    """Return how a network errs.

    Args:
        name, label: of the network.
        labels: int64 [N], 0..classes - 1.
        predictions: for the same samples.
        classes: how many there are.

    Raises:
        DataError: predictions, labels and classes do not fit each other.
    """
    confusions = count_confusions(labels, predictions)
    return ClassErrors(
        name=name,
        label=label,
        classes=tuple(
            ClassFigures(count=one.count, correct=one.correct, loss=one.loss)
            for one in score_classes(labels, predictions, classes)
        ),
        confusions=tuple(_confused(one) for one in confusions[:MOST_CONFUSIONS]),
        other_errors=sum(one.count for one in confusions[MOST_CONFUSIONS:]),
    )


def _confused(one: Confusion) -> ConfusedClasses:
    return ConfusedClasses(actual=one.actual, predicted=one.predicted, count=one.count)


def split_cost(name: str, label: str, deployment: Deployment) -> CostSplit:
    """Return where the time and, as far as the accelerator specifies it, the energy of a network go.

    Args:
        name, label: of the network.
        deployment: of one inference.
    """
    figures: dict[str, Any] = {}
    if deployment.accelerator.energy.is_specified:
        energy = deployment.energy
        figures = {
            "energy_pj": {one: aj / AJ_PER_PJ for one, aj in energy.component_aj.items()},
            "total_energy_pj": energy.total_aj / AJ_PER_PJ,
            "energy_untold": energy.unspecified,
        }
    times = {component: to_microseconds(time_ps) for component, time_ps in deployment.time_components_ps.items()}
    return CostSplit(name=name, label=label, time_us=times, **figures)


def count_weight_bits(layers: tuple[MvmLayer, ...], policy: Policy | None) -> tuple[int, int]:
    """Return the number of weights of MVM layers, and of their bits; in float32 where there is no policy.

    Products of two activations have no weights.
    """
    held = {layer.name: _count_weights(layer) for layer in layers}
    bits = {name: FLOAT_BITS if policy is None else policy[name].weight_bits for name in held}
    return sum(held.values()), sum(count * bits[name] for name, count in held.items())


def _count_weights(layer: MvmLayer) -> int:
    return 0 if layer.is_stored_dynamically else layer.outputs * layer.inputs * layer.repeat


def measure_size(
    name: str,
    label: str,
    layers: tuple[MvmLayer, ...],
    *,
    network_bytes: int,
    policy: Policy | None = None,
    deployment: Deployment | None = None,
    program_bytes: int | None = None,
    device_bytes: tuple[int | None, int | None] = (None, None),
) -> DeployedSize:
    """Return how large a network is; without a policy, deployment and program that of one in float.

    Args:
        name, label: of the network.
        layers: its MVM layers in execution order.
        network_bytes, program_bytes: sizes of its files.
        device_bytes: flash and RAM of the program in C.
        policy: its bits.
        deployment: on the machine.
    """
    weights, weight_bits = count_weight_bits(layers, policy)
    cells: Mapping[str, int] = {} if deployment is None else _count_cells(deployment)
    return DeployedSize(
        name=name, label=label, weights=weights, weight_bits=weight_bits, network_bytes=network_bytes,
        program_bytes=program_bytes, flash_bytes=device_bytes[0], ram_bytes=device_bytes[1], **cells,
    )  # fmt: skip


def _count_cells(deployment: Deployment) -> dict[str, int]:
    """Count tiles and their cells: those written for an inference on one crossbar, else those of all copies."""
    accelerator, layers = deployment.accelerator, deployment.layers
    count = cache(lambda mapping: count_cells(mapping, accelerator).digits)
    is_one = deployment.regime is Regime.ONE_CROSSBAR
    tiles = sum(layer.writes if is_one else layer.crossbars for layer in layers)
    return {
        "tiles": tiles,
        "cells": tiles * accelerator.crossbar.rows * accelerator.crossbar.cols,
        "digit_cells": sum(count(layer.mapping) * layer.copies for layer in layers),
    }
