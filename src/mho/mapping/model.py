"""Which mapping is meant: the best that is allowed, or that of the paper."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from mho.accelerator.spec import Accelerator
from mho.mapping.best import choose_mapping
from mho.mapping.counts import MappedLayer
from mho.mapping.plan import plan_layer
from mho.network.layers import MvmLayer
from mho.quantization.policy import BitWidths, Policy


class MappingModel(StrEnum):
    """How layers are laid into crossbars.

    Attributes:
        BEST: the cheapest exact mapping of each layer that the accelerator allows.
        PAPER: that of arXiv 2601.21737: im2col, one position an MVM, one slice after the other.
    """

    BEST = "best"
    PAPER = "paper"


DEFAULT_MODEL = MappingModel.PAPER
"""What costs, tables and programs take unless they are told."""


def map_layer(
    layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, model: MappingModel, *, batch: int = 1
) -> MappedLayer:
    """Map one layer; `batch` samples share the writes of weights."""
    if model is MappingModel.PAPER:
        return plan_layer(layer, bits, accelerator)
    return choose_mapping(layer, bits, accelerator, batch=batch)


def map_network(
    layers: Iterable[MvmLayer], policy: Policy, accelerator: Accelerator, model: MappingModel, *, batch: int = 1
) -> tuple[MappedLayer, ...]:
    """Map every layer with the widths that `policy` gives it by name, in the order of `layers`.

    Raises:
        PolicyError: the policy names an unknown layer or lacks one.
    """
    layers = tuple(layers)
    policy.check_against(layer.name for layer in layers)
    return tuple(map_layer(layer, policy[layer.name], accelerator, model, batch=batch) for layer in layers)
