"""Time of one sample on one time-multiplexed crossbar: what `mho.mapping` counts, times what each write and read takes.

    latency = tiles * write latency + mvms * MVM latency          (arXiv 2601.21737)

Digital work is taken to be hidden behind the crossbar. Times are whole picoseconds, so sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mho.accelerator.spec import Accelerator
from mho.errors import MappingError
from mho.mapping.plan import LayerMapping, plan_network
from mho.mapping.slicing import Count
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.quantization.policy import Policy


@dataclass(frozen=True)
class LayerCost:
    """Time of one layer for one sample.

    Attributes:
        mapping: what is counted.
        write_ps: time to write its tiles, ps.
        read_ps: time of its MVMs, ps.
    """

    mapping: LayerMapping
    write_ps: int
    read_ps: int

    @property
    def latency_ps(self) -> int:
        """Writes and reads, ps."""
        return self.write_ps + self.read_ps


@dataclass(frozen=True)
class NetworkCost:
    """Time of all layers for one sample, one after the other, in execution order."""

    layers: tuple[LayerCost, ...]

    @property
    def latency_ps(self) -> int:
        """Time of all layers, ps."""
        return sum(layer.latency_ps for layer in self.layers)

    @property
    def tiles(self) -> int:
        """Crossbar writes of all layers."""
        return sum(layer.mapping.tiles for layer in self.layers)

    @property
    def mvms(self) -> int:
        """Crossbar reads of all layers."""
        return sum(layer.mapping.mvms for layer in self.layers)


def write_time_ps(tiles: Count, accelerator: Accelerator) -> Count:
    """Return the time to write that many tiles, ps."""
    return tiles * accelerator.crossbar.write_latency_ps


def read_time_ps(mvms: Count, accelerator: Accelerator) -> Count:
    """Return the time of that many MVMs, ps."""
    return mvms * accelerator.crossbar.mvm_latency_ps


def cost_layer(mapping: LayerMapping, accelerator: Accelerator) -> LayerCost:
    """Return the time of one mapped layer."""
    return LayerCost(mapping, write_time_ps(mapping.tiles, accelerator), read_time_ps(mapping.mvms, accelerator))


def cost_network(network: Network | Iterable[MvmLayer], policy: Policy, accelerator: Accelerator) -> NetworkCost:
    """Predict the time of one sample.

    Args:
        network: a network, or its MVM layers in execution order.
        policy: bit widths of every MVM layer.
        accelerator: one crossbar, used again for every tile.

    Raises:
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: there is no MVM layer.
    """
    layers = derive_layer_table(network) if isinstance(network, Network) else tuple(network)
    if not layers:
        raise MappingError("the network has no MVM layer", expected="at least one Conv, Gemm or MatMul")
    return NetworkCost(tuple(cost_layer(mapping, accelerator) for mapping in plan_network(layers, policy, accelerator)))
