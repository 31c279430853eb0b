"""Which mapping is meant: the best that is allowed, or that of the paper."""

from __future__ import annotations

from enum import StrEnum

from mho.hardware.spec import Accelerator
from mho.mapping.best import choose_mapping
from mho.mapping.parts import LayerMapping
from mho.mapping.plan import plan_allowed
from mho.network.layers import MvmLayer
from mho.policy import BitWidths


class MappingModel(StrEnum):
    """How layers are laid into crossbars.

    Attributes:
        BEST: the cheapest exact mapping of each layer that the accelerator allows.
        PAPER: that of arXiv 2601.21737: im2col, one position an MVM, one slice after the other.
    """

    BEST = "best"
    PAPER = "paper"


DEFAULT_MODEL = MappingModel.BEST
"""What costs, tables and programs take unless they are told."""


def map_layer(
    layer: MvmLayer,
    bits: BitWidths,
    accelerator: Accelerator,
    model: MappingModel,
    *,
    batch: int = 1,
) -> LayerMapping:
    """Map one layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: what it runs on.
        model: which mapping is meant.
        batch: samples that share the writes of weights.

    Raises:
        MappingError: the ADC cannot tell the layer's column sums apart, or cells cannot hold the integers.
    """
    if model is MappingModel.PAPER:
        return plan_allowed(layer, bits, accelerator)
    return choose_mapping(layer, bits, accelerator, batch=batch)
