"""The time of every layer at every pair of bit widths, at once: what a search asks thousands of times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.cost_model.shared_writes import SharedWrites
from mho.errors import MappingError, PolicyError
from mho.hardware.spec import Accelerator
from mho.mapping.best_mapping import tabulate_best
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.mapping.paper_mapping import count_layer, count_layers, plan_allowed
from mho.mapping.stacks import StackTimes
from mho.network.layers import MvmLayer
from mho.policy import MAX_BITS, MIN_BITS, REFERENCE_BITS, BitWidths, Policy

WIDTHS = (*range(MIN_BITS, MAX_BITS + 1), REFERENCE_BITS)
"""All widths that a policy may give, ascending: the last two axes of the table."""


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Time of each layer by weight, activation and ADC bits, and what layers save that are written at once.

    Attributes:
        layer_names: in execution order.
        latency_ps: int64 [layers, weight widths, activation widths, 1 + ADC bits], ps, each layer by itself; widths as
            in `WIDTHS`, conversions with the accelerator's bits and then with those of `adc_bits`. Read-only.
        shared: what shared writes save; its activation widths are the last two axes as one. None where none can be
            shared.
    """

    layer_names: tuple[str, ...]
    latency_ps: NDArray[np.int64]
    shared: SharedWrites | None

    def __post_init__(self) -> None:
        self.latency_ps.setflags(write=False)

    @classmethod
    def build(
        cls,
        layers: Iterable[MvmLayer],
        accelerator: Accelerator,
        adc_bits: Sequence[int] = (),
        *,
        model: MappingModel = DEFAULT_MODEL,
        batch: int = 1,
    ) -> LatencyTable:
        """Count all layers at all widths.

        Args:
            layers: in execution order.
            accelerator: what they run on.
            adc_bits: with how many bits sums may be converted, beside the accelerator's.
            model: how layers are mapped.
            batch: samples that share the writes of weights; times are for all of them.

        Raises:
            MappingError: there is no layer, the ADC does not resolve the sums of a layer, or the widest policy takes
                longer than int64 picoseconds hold (106 days).
            ConfigError: the accelerator's ADCs do not have so many bits.
        """
        layers = tuple(layers)
        _check_size(layers, accelerator, batch)
        names = tuple(layer.name for layer in layers)
        hardware = [accelerator, *(accelerator.with_adc_bits(bits) for bits in adc_bits)]
        if model is MappingModel.PAPER:
            return cls(names, np.stack([_paper_times_ps(layers, one, batch) for one in hardware], axis=-1), None)
        best = [tabulate_best(layers, one, batch=batch) for one in hardware]
        stack_times = [StackTimes.interleave([one.stack_times[layer] for one in best]) for layer in range(len(layers))]
        latencies = np.stack([one.times_ps for one in best], axis=-1)
        return cls(names, latencies, SharedWrites.of(tuple(stack_times), accelerator))

    def policy_latency_ps(self, policy: Policy) -> int:
        """Return the time of the whole network, ps; equal to `cost_network`.

        Raises:
            PolicyError: an unknown layer, one without widths, or one with ADC bits of its own.
        """
        policy.check_against(self.layer_names)
        if policy.adc_bits:
            raise PolicyError("layers have ADC bits of their own", expected="those of the accelerator")
        widths = np.array([(policy[name].weight_bits, policy[name].act_bits) for name in self.layer_names])
        return int(self.latencies_ps(widths[:, 0], widths[:, 1]))

    def latencies_ps(self, weight_bits: NDArray[np.integer], act_bits: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the times of many policies at once, with the accelerator's ADC bits.

        Args:
            weight_bits: integers [..., layers], each one of `WIDTHS`.
            act_bits: alike.

        Returns:
            int64 [...], ps.

        Raises:
            PolicyError: a width is not one of `WIDTHS`.
        """
        weight_index, act_index = _to_index(weight_bits), _to_index(act_bits)
        alone = self.latency_ps[np.arange(len(self.layer_names)), weight_index, act_index, 0]
        total: NDArray[np.int64] = alone.sum(axis=-1, dtype=np.int64)
        if self.shared is None:
            return total
        return total - self.shared.saved_ps(weight_index, act_index * self.latency_ps.shape[-1])


def _check_size(layers: tuple[MvmLayer, ...], accelerator: Accelerator, batch: int) -> None:
    """Refuse a network without layers, and one whose time int64 picoseconds do not hold. Raises `MappingError`."""
    if not layers:
        raise MappingError("the network has no MVM layer", expected="at least one Conv, Gemm or MatMul")
    total = sum(_widest_time_ps(layer, accelerator, batch) for layer in layers)
    if total > np.iinfo(np.int64).max:
        raise MappingError(
            f"the network takes {total / 1e12:.3g} s at {REFERENCE_BITS}/{REFERENCE_BITS} bits",
            expected="less than 2^63 picoseconds",
            hint="check the latencies of the accelerator",
        )


def _widest_time_ps(layer: MvmLayer, accelerator: Accelerator, batch: int) -> int:
    counts = count_layer(layer, BitWidths(REFERENCE_BITS, REFERENCE_BITS), accelerator).counts
    own = UnitTimes.by_encoding(accelerator, batch).values()
    return max(prices.time_ps(counts, is_stored_dynamically=layer.is_stored_dynamically) for prices in own)


def _paper_times_ps(layers: tuple[MvmLayer, ...], accelerator: Accelerator, batch: int) -> NDArray[np.int64]:
    for layer in layers:
        plan_allowed(layer, BitWidths(REFERENCE_BITS, REFERENCE_BITS), accelerator)
    widths = np.array(WIDTHS, dtype=np.int64)
    prices = UnitTimes.of(accelerator, accelerator.mapping.encoding, batch)
    counts = count_layers(layers, widths[:, None], widths[None, :], accelerator).counts
    is_dynamic = np.array([layer.is_stored_dynamically for layer in layers])[:, None, None]
    written = np.where(
        is_dynamic,
        prices.writing_ps(counts, is_stored_dynamically=True),
        prices.writing_ps(counts, is_stored_dynamically=False),
    )
    return written + prices.reading_ps(counts)


def _to_index(bits: NDArray[np.integer]) -> NDArray[np.int64]:
    index = np.searchsorted(np.array(WIDTHS), bits)
    index = np.minimum(index, len(WIDTHS) - 1)
    if not np.array_equal(np.array(WIDTHS)[index], bits):
        raise PolicyError("a bit width is out of range", expected=f"{MIN_BITS}..{MAX_BITS}, or {REFERENCE_BITS}")
    return index.astype(np.int64)
