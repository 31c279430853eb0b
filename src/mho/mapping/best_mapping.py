"""The best mapping of a layer: the one that `mapping.objective` asks for of all that the accelerator allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mho.hardware.mapping_rules import MappingObjective
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.candidates import Array
from mho.mapping.digital_layers import check_pins, rules_of
from mho.mapping.layer_mapping import LayerMapping
from mho.mapping.mapping_choice import WIDTHS, MappingChoice
from mho.mapping.priced_choice import PricedChoice
from mho.mapping.stacks import StackTimes
from mho.network.layers import MvmLayer
from mho.policy import BitWidths


def choose_mapping(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, *, batch: int = 1) -> LayerMapping:
    """Choose the best exact mapping of one layer.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: what is allowed and what it costs.
        batch: samples that share the writes of weights.

    Raises:
        MappingError: it cannot be mapped, or cannot convert with the layer's own ADC bits.
    """
    hardware = layer_hardware(rules_of(accelerator, layer.name), bits)
    return make_choice(layer, bits.weight_bits, hardware, batch).mapping(bits)


def make_choice(layer: MvmLayer, weight_bits: int, accelerator: Accelerator, batch: int = 1) -> MappingChoice:
    """Return the mappings of one layer at one width of its stored integers, chosen by `mapping.objective`.

    Args:
        layer: the logical layer.
        weight_bits: of the stored integers.
        accelerator: as the layer sees it (`mho.mapping.adc_resolution.layer_hardware`).
        batch: samples that share the writes of weights.

    Raises:
        MappingError: it cannot be mapped.
    """
    is_fastest = accelerator.mapping.objective is MappingObjective.LATENCY
    kind = MappingChoice if is_fastest else PricedChoice
    return kind(layer, weight_bits, accelerator, batch)


@dataclass(frozen=True, eq=False)
class BestTimes:
    """The best mappings of layers at all widths of a policy: 1..8 and 16, ascending.

    Attributes:
        times_ps: int64 [layers, weight widths, activation widths], ps for a batch, each layer by itself.
        stack_times: for each layer, what it takes in a stack, [weight widths, activation widths].
    """

    times_ps: Array
    stack_times: tuple[StackTimes, ...]


def tabulate_best(layers: Sequence[MvmLayer], accelerator: Accelerator, *, batch: int = 1) -> BestTimes:
    """Find the best mapping of each layer at all widths of a policy."""
    check_pins((layer.name for layer in layers), accelerator)
    found = [_tabulate(layer.without_name(), rules_of(accelerator, layer.name), batch) for layer in layers]
    return BestTimes(np.stack([times for times, _ in found]), tuple(stack_times for _, stack_times in found))


@lru_cache(maxsize=512)
def _tabulate(layer: MvmLayer, hardware: Accelerator, batch: int) -> tuple[Array, StackTimes]:
    """Find the best mappings of a nameless layer at all widths of a policy, on hardware as the layer sees it."""
    choices = [make_choice(layer, width, hardware, batch) for width in WIDTHS]
    times = np.stack([choice.times_ps(WIDTHS) for choice in choices])
    return times, StackTimes.stack([choice.stack_times(WIDTHS) for choice in choices])
