"""The time of every layer at every pair of bit widths, at once: what a search asks thousands of times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mho.cost_model.shared_writes import SharedWrites
from mho.errors import MappingError, PolicyError, suggest
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
    """Time of each layer by weight and activation bits, and what layers save that are written at once.

    Attributes:
        layer_names: in execution order.
        latency_ps: int64 [layers, weight widths, activation widths], ps, each layer by itself; widths as in `WIDTHS`.
            Read-only.
        batch: samples that share the writes of weights; times are for all of them.
        shared: what shared writes save; None where none can be shared.
    """

    layer_names: tuple[str, ...]
    latency_ps: NDArray[np.int64]
    batch: int = 1
    shared: SharedWrites | None = None
    _index: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.latency_ps.setflags(write=False)
        index = {name: number for number, name in enumerate(self.layer_names)}
        object.__setattr__(self, "_index", MappingProxyType(index))

    @classmethod
    def build(
        cls,
        layers: Iterable[MvmLayer],
        accelerator: Accelerator,
        *,
        model: MappingModel = DEFAULT_MODEL,
        batch: int = 1,
    ) -> LatencyTable:
        """Count all layers at all widths.

        Raises:
            MappingError: there is no layer, the ADC does not resolve the sums of a layer, or the widest policy takes
                longer than int64 picoseconds hold (106 days).
        """
        layers = tuple(layers)
        _check_size(layers, accelerator, batch)
        names = tuple(layer.name for layer in layers)
        if model is MappingModel.PAPER:
            return cls(names, _paper_times_ps(layers, accelerator, batch), batch)
        best = tabulate_best(layers, accelerator, batch=batch)
        return cls(names, best.times_ps, batch, SharedWrites.of(best.stack_times, accelerator))

    def layer_latency_ps(self, name: str, bits: BitWidths) -> int:
        """Return the time of one layer by itself, ps: at least what it takes where it stack_times a write.

        Raises:
            PolicyError: an unknown layer, or one with ADC bits of its own: the table is for the accelerator's.
        """
        if bits.adc_bits is not None:
            raise PolicyError(
                f"{bits} has ADC bits of its own, and a table of latencies has those of its accelerator",
                where=name,
                hint="build the table for Accelerator.with_adc_bits",
            )
        if name not in self._index:
            raise PolicyError("unknown layer", where=name, hint=suggest(name, self._index))
        return int(self.latency_ps[self._index[name], _WIDTH_INDEX[bits.weight_bits], _WIDTH_INDEX[bits.act_bits]])

    def policy_latency_ps(self, policy: Policy) -> int:
        """Return the time of the whole network, ps; equal to `cost_network`. Raises `PolicyError`."""
        policy.check_against(self.layer_names)
        widths = [policy[name] for name in self.layer_names]
        alone = sum(self.layer_latency_ps(name, bits) for name, bits in zip(self.layer_names, widths, strict=True))
        if self.shared is None:
            return alone
        indices = np.array([(_WIDTH_INDEX[bits.weight_bits], _WIDTH_INDEX[bits.act_bits]) for bits in widths])
        return alone - int(self.shared.saved_ps(indices[:, 0], indices[:, 1]))

    def latencies_ps(self, weight_bits: NDArray[np.integer], act_bits: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the times of many policies at once.

        Args:
            weight_bits: integers [..., layers], each one of `WIDTHS`.
            act_bits: alike.

        Returns:
            int64 [...], ps.

        Raises:
            PolicyError: a width is not one of `WIDTHS`.
        """
        weight_index, act_index = _to_index(weight_bits), _to_index(act_bits)
        chosen: NDArray[np.int64] = self.latency_ps[np.arange(len(self.layer_names)), weight_index, act_index]
        total: NDArray[np.int64] = chosen.sum(axis=-1, dtype=np.int64)
        return total if self.shared is None else total - self.shared.saved_ps(weight_index, act_index)


@dataclass(frozen=True, eq=False)
class AdcLatencies:
    """Time of each layer by weight, activation and ADC bits, and what layers save that are written at once.

    Attributes:
        latency_ps: int64 [layers, weight widths, activation widths, ADC bits], ps for one sample, each layer by itself;
            widths as in `WIDTHS`, conversions with the accelerator's bits and then with those of `adc_bits`.
        shared: what shared writes save; its activation widths are the last two axes as one. None where none can be
            shared.
    """

    latency_ps: NDArray[np.int64]
    shared: SharedWrites | None

    @classmethod
    def build(
        cls,
        layers: Iterable[MvmLayer],
        accelerator: Accelerator,
        adc_bits: Sequence[int],
        *,
        model: MappingModel = DEFAULT_MODEL,
    ) -> AdcLatencies:
        """Count all layers at all widths.

        Args:
            layers: in execution order.
            accelerator: what they run on.
            adc_bits: with how many bits sums may be converted, beside the accelerator's.
            model: how layers are mapped.

        Raises:
            MappingError: as of `LatencyTable.build`.
            ConfigError: the accelerator's ADCs do not have so many bits.
        """
        layers = tuple(layers)
        _check_size(layers, accelerator, 1)
        hardware = [accelerator, *(accelerator.with_adc_bits(bits) for bits in adc_bits)]
        if model is MappingModel.PAPER:
            return cls(np.stack([_paper_times_ps(layers, one, 1) for one in hardware], axis=-1), None)
        best = [tabulate_best(layers, one) for one in hardware]
        stack_times = [StackTimes.interleave([one.stack_times[layer] for one in best]) for layer in range(len(layers))]
        latencies = np.stack([one.times_ps for one in best], axis=-1)
        return cls(latencies, SharedWrites.of(tuple(stack_times), accelerator))


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


_WIDTH_INDEX = {width: number for number, width in enumerate(WIDTHS)}


def _to_index(bits: NDArray[np.integer]) -> NDArray[np.int64]:
    index = np.searchsorted(np.array(WIDTHS), bits)
    index = np.minimum(index, len(WIDTHS) - 1)
    if not np.array_equal(np.array(WIDTHS)[index], bits):
        raise PolicyError("a bit width is out of range", expected=f"{MIN_BITS}..{MAX_BITS}, or {REFERENCE_BITS}")
    return index.astype(np.int64)
