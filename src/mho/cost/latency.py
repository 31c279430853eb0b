"""Time on one time-multiplexed crossbar: what `mho.mapping` counts, times what each write and read takes.

    latency = tiles * write latency + mvms * MVM latency          (arXiv 2601.21737)

Digital work and conversion are taken to be hidden behind the crossbar, unless the accelerator charges for them (see
`mho.mapping.counts`). Samples of a batch share the writes of weights. Times are whole picoseconds, so sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mho.accelerator.spec import Accelerator
from mho.errors import MappingError
from mho.mapping.counts import MappedLayer, Prices
from mho.mapping.model import DEFAULT_MODEL, MappingModel, map_network
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.quantization.policy import Policy


@dataclass(frozen=True)
class LayerCost:
    """Time of one layer for a batch.

    Attributes:
        mapping: what is counted.
        write_ps: time to write its tiles, ps.
        read_ps: time of its MVMs, and of conversion and digital work where they are charged, ps.
    """

    mapping: MappedLayer
    write_ps: int
    read_ps: int

    @property
    def latency_ps(self) -> int:
        """Writes and reads, ps."""
        return self.write_ps + self.read_ps


@dataclass(frozen=True)
class NetworkCost:
    """Time of all layers for a batch, one after the other, in execution order.

    Attributes:
        layers: each layer's time.
        model: the mapping that was counted.
        batch: samples that share the writes of weights; times are for all of them.
    """

    layers: tuple[LayerCost, ...]
    model: MappingModel
    batch: int

    @property
    def latency_ps(self) -> int:
        """Time of all layers for the whole batch, ps."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def tiles(self) -> int:
        """Crossbar writes of all layers for one sample."""
        return sum(layer.mapping.tiles for layer in self.layers)

    @property
    def mvms(self) -> int:
        """Crossbar reads of all layers for one sample."""
        return sum(layer.mapping.mvms for layer in self.layers)


def cost_layer(mapping: MappedLayer, accelerator: Accelerator, *, batch: int = 1) -> LayerCost:
    """Return the time of one mapped layer for a batch."""
    prices = Prices.of(accelerator, batch)
    is_dynamic = mapping.layer.is_stored_dynamically
    writing = prices.writing_ps(mapping.counts, is_stored_dynamically=is_dynamic)
    return LayerCost(mapping, writing, prices.reading_ps(mapping.counts))


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
    return NetworkCost(tuple(cost_layer(mapping, accelerator, batch=batch) for mapping in mapped), model, batch)
