"""What a network costs on one crossbar of an accelerator: its times, and the energy that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mho.cost_model.energy import NetworkEnergy, energy_network
from mho.cost_model.latency import NetworkCost
from mho.display import Drawable, Table
from mho.formats import AJ_PER_UJ, format_time, plural
from mho.hardware.spec import Accelerator


@dataclass(frozen=True, repr=False)
class Cost(NetworkCost, Drawable):
    """Time and energy of all layers for a batch, one after the other, in execution order.

    Attributes:
        accelerator: what was costed.
    """

    accelerator: Accelerator

    @classmethod
    def of(cls, cost: NetworkCost, accelerator: Accelerator) -> Cost:
        """Return times together with the accelerator that takes them."""
        return cls(cost.layers, cost.mapping, cost.model, cost.batch, accelerator)

    @cached_property
    def energy(self) -> NetworkEnergy:
        """Energy for the whole batch, as far as the accelerator specifies it; `energy.energy.unspecified` is the rest.

        It is counted when it is first read.
        """
        return energy_network(self, self.accelerator)

    @property
    def energy_uj(self) -> float | None:
        """All energy that is specified, uJ, for the whole batch; None where none is."""
        found = self.energy.energy
        return found.total_uj if found.component_aj else None

    def __repr__(self) -> str:
        return f"Cost({self._summary})"

    @property
    def _summary(self) -> str:
        batch = "" if self.batch == 1 else f"batch of {self.batch}, "
        time = format_time(self.latency_ps / 1e6)
        return f"{plural(len(self.layers), 'layer')} on {self.accelerator.name}, {batch}{time}"

    def table(self) -> Table:
        """Return one row a layer; times and energies are those of the whole batch."""
        energies = self.energy.layers
        return Table(
            self._summary,
            (
                "layer", "outputs", "inputs", "positions", "weight_bits", "act_bits", "adc_bits", "tiles", "writes",
                "mvms", "latency_ms", "share", "energy_uj",
            ),
            tuple(
                (
                    own.mapping.layer.name, own.mapping.layer.outputs, own.mapping.layer.inputs,
                    own.mapping.layer.positions, own.mapping.bits.weight_bits, own.mapping.bits.act_bits,
                    own.mapping.bits.adc_bits, own.mapping.tiles, own.writes, own.mapping.mvms, own.latency_ms,
                    own.latency_ps / self.latency_ps if self.latency_ps else None,
                    spent.energy.total_aj / AJ_PER_UJ if spent.energy.component_aj else None,
                )
                for own, spent in zip(self.layers, energies, strict=True)
            ),
        )  # fmt: skip
