"""Time on one time-multiplexed crossbar: what `mho.mapping` counts, times what each write and read takes.

    latency = writes * write latency + mvms * MVM latency          (arXiv 2601.21737)

Every tile is written, but those that an earlier layer's write holds (see `mho.mapping.stacks`). Digital work and
conversion are taken to be hidden behind the crossbar, unless the accelerator charges for them (see
`mho.mapping.event_counts`). Samples of a batch share the writes of weights. Times are whole picoseconds, so sums are
exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mho.errors import MappingError
from mho.formats import PS_PER_MS
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import DEFAULT_MODEL, LayerMapping, MappingModel
from mho.mapping.network_mapping import NetworkMapping, map_network
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import Policy


@dataclass(frozen=True)
class LayerCost:
    """Time of one layer for a batch.

    Attributes:
        mapping: what is counted.
        writes: crossbar writes for one sample: one a tile, but none where an earlier layer's write holds the tile.
        write_ps: time of its writes, ps.
        read_ps: time of its MVMs, and of conversion and digital work where they are charged, ps.
    """

    mapping: LayerMapping
    writes: int
    write_ps: int
    read_ps: int

    @property
    def latency_ps(self) -> int:
        """Writes and reads, ps."""
        return self.write_ps + self.read_ps

    @property
    def latency_ms(self) -> float:
        """Writes and reads, ms."""
        return self.latency_ps / PS_PER_MS


@dataclass(frozen=True)
class NetworkCost:
    """Time of all layers for a batch, one after the other, in execution order.

    Attributes:
        layers: each layer's time.
        mapping: what is counted, and which layers are written at once.
        model: the mapping that is meant.
        batch: samples that share the writes of weights; times are for all of them.
    """

    layers: tuple[LayerCost, ...]
    mapping: NetworkMapping
    model: MappingModel
    batch: int

    @property
    def latency_ps(self) -> int:
        """Time of all layers for the whole batch, ps."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def latency_ms(self) -> float:
        """Time of all layers for the whole batch, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def tiles(self) -> int:
        """Tiles of all layers that are filled for one sample."""
        return sum(layer.mapping.tiles for layer in self.layers)

    @property
    def writes(self) -> int:
        """Crossbar writes of all layers for one sample; fewer than tiles where several are written at once."""
        return sum(layer.writes for layer in self.layers)

    @property
    def mvms(self) -> int:
        """Crossbar reads of all layers for one sample."""
        return sum(layer.mapping.mvms for layer in self.layers)


def cost_layer(
    mapping: LayerMapping, accelerator: Accelerator, *, batch: int = 1, joins_write: bool = False
) -> LayerCost:
    """Return the time of one mapped layer for a batch.

    Args:
        mapping: what is counted.
        accelerator: whose prices.
        batch: samples that share the writes of weights.
        joins_write: True where an earlier layer's write holds the layer's tile.
    """
    prices = UnitTimes.of(layer_hardware(accelerator, mapping.bits), mapping.encoding, batch)
    is_dynamic = mapping.layer.is_stored_dynamically
    writing = 0 if joins_write else prices.writing_ps(mapping.counts, is_stored_dynamically=is_dynamic)
    return LayerCost(mapping, 0 if joins_write else mapping.tiles, writing, prices.reading_ps(mapping.counts))


def cost_network(
    network: Network | Iterable[MvmLayer],
    policy: Policy,
    accelerator: Accelerator,
    *,
    model: MappingModel = DEFAULT_MODEL,
    batch: int = 1,
) -> NetworkCost:
    """Predict the time of a batch of samples.

    Args:
        network: a network, or its MVM layers in execution order.
        policy: bit widths of every MVM layer.
        accelerator: one crossbar, used again for every tile.
        model: how layers are mapped.
        batch: samples that share the writes of weights, at least 1.

    Raises:
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: there is no MVM layer, or `batch` is below 1.
    """
    layers = derive_layer_table(network) if isinstance(network, Network) else tuple(network)
    if not layers:
        raise MappingError("the network has no MVM layer", expected="at least one Conv, Gemm or MatMul")
    if batch < 1:
        raise MappingError(f"batch is {batch}", expected="at least 1")
    mapped = map_network(layers, policy, accelerator, model, batch=batch)
    costs = tuple(
        cost_layer(mapping, accelerator, batch=batch, joins_write=mapped.joins(number))
        for number, mapping in enumerate(mapped.layers)
    )
    return NetworkCost(costs, mapped, model, batch)
