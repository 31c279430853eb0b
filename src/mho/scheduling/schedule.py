"""What every schedule of a network on a chip provides, whether its weights stay or are rewritten for every input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from mho.cost_model.energy import (
    Component,
    EnergyBreakdown,
    LayerEnergy,
    NetworkEnergy,
    add_energies,
    price_activity,
    price_layer,
    price_leakage,
)
from mho.display import Drawable, Table
from mho.errors import ScheduleError
from mho.formats import PS_PER_MS, format_time, plural
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.scheduling.gantt import BARS, GanttChart
from mho.scheduling.regime import Regime


@dataclass(frozen=True)
class ScheduleEnergy(NetworkEnergy):
    """Energy of a schedule for all inputs of its batch; that of layers is without transfers and leakage.

    Attributes:
        transfers: what the interconnect takes.
        leakage: what all crossbars and cores of the chip lose until the last input is finished.
    """

    transfers: EnergyBreakdown
    leakage: EnergyBreakdown

    @property
    def energy(self) -> EnergyBreakdown:
        """All energy by component."""
        return add_energies([super().energy, self.transfers, self.leakage])


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Drawable):
    """When the layers of a network work on a chip.

    `ChipSchedule` is the one for weights that stay in crossbars of their own, where layers and inputs overlap;
    `ReloadSchedule` the one for tiles that are rewritten, where layers follow each other, and inputs share the writes.

    Attributes:
        accelerator: the hardware, overrides included.
        model: how layers are mapped.
        minimal_crossbars: the fewest crossbars that hold each layer once, so that weights can stay.
    """

    accelerator: Accelerator
    model: MappingModel
    minimal_crossbars: int

    @property
    def crossbars(self) -> int:
        """Crossbars of the chip."""
        return self.accelerator.chip.crossbars

    @property
    @abstractmethod
    def regime(self) -> Regime:
        """What becomes of tiles."""

    @property
    @abstractmethod
    def mappings(self) -> Mapping[str, LayerMapping]:
        """How each layer lies in crossbars, by name, in execution order."""

    @property
    @abstractmethod
    def batch(self) -> int:
        """Inputs that follow each other, or for which weights are written once."""

    @property
    @abstractmethod
    def used_crossbars(self) -> int:
        """Crossbars that hold something."""

    @property
    @abstractmethod
    def latency_ps(self) -> int:
        """Time of one input, ps; where tiles are rewritten, of a batch."""

    @property
    @abstractmethod
    def interval_ps(self) -> float:
        """Time between inputs of a long sequence, ps; where tiles are rewritten, their mean time."""

    @property
    @abstractmethod
    def total_ps(self) -> int:
        """Time until the last input of the batch is finished, ps."""

    @property
    @abstractmethod
    def bound_ps(self) -> int:
        """A latency that no schedule of these mappings falls below on this chip, ps; proven."""

    @property
    def latency_ms(self) -> float:
        """Time of one input; where tiles are rewritten, of a batch, ms."""
        return self.latency_ps / PS_PER_MS

    @property
    def interval_ms(self) -> float:
        """Time between inputs of a long sequence; where tiles are rewritten, their mean time, ms."""
        return self.interval_ps / PS_PER_MS

    @property
    def total_ms(self) -> float:
        """Time until the last input of the batch is finished, ms."""
        return self.total_ps / PS_PER_MS

    @property
    def bound_ms(self) -> float:
        """A latency that no schedule of these mappings falls below on this chip; proven, ms."""
        return self.bound_ps / PS_PER_MS

    @property
    def energy_uj(self) -> float | None:
        """All energy of the batch that the accelerator specifies, uJ; None where it specifies none."""
        found = self.price().energy
        return found.total_uj if found.component_aj else None

    @property
    @abstractmethod
    def lifetime_inputs(self) -> int | None:
        """Inputs until a cell may fail; None where nothing is written or the accelerator has no endurance figure."""

    @property
    @abstractmethod
    def cell_writes_per_input(self) -> float:
        """How often one input writes a cell of the crossbar that is written most often."""

    @property
    def byte_hops(self) -> int:
        """Bytes times links that they take, for the batch; 0 where transfers are not modelled."""
        return 0

    @property
    def lacks_transfers(self) -> bool:
        """True where there are transfers whose energy is unknown without a simulation."""
        return False

    @abstractmethod
    def count_activities(self) -> Mapping[str, Activity]:
        """Return what each layer does for the whole batch, by name, in execution order."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary})"

    @property
    def _summary(self) -> str:
        crossbars = f"{self.used_crossbars:,} of {plural(self.crossbars, 'crossbar')} of {self.accelerator.name}"
        latency, interval = (format_time(value / 1e6) for value in (self.latency_ps, self.interval_ps))
        return f"{plural(len(self.mappings), 'layer')} on {crossbars}, latency {latency}, interval {interval}"

    def count_copies(self, layer: str) -> int:  # noqa: ARG002
        """Return how many copies a layer has; one where tiles are rewritten."""
        return 1

    def table(self) -> Table:
        """Return one row a layer: its widths, tiles and MVMs for one input, and how often the chip holds it."""
        return Table(
            self._summary,
            ("layer", "weight_bits", "act_bits", "adc_bits", "tiles", "copies", "mvms"),
            tuple(
                (
                    name, own.bits.weight_bits, own.bits.act_bits, own.bits.adc_bits, own.tiles,
                    self.count_copies(name), own.mvms,
                )
                for name, own in self.mappings.items()
            ),
        )  # fmt: skip

    def draw_gantt(self, limit: int = BARS) -> GanttChart:
        """Return what the crossbars do, in about `limit` bars.

        Raises:
            ScheduleError: weights stay, and the schedule was not simulated, or without spans.
        """
        raise ScheduleError(f"there is no simulation to draw {limit} bars of", hint="simulate the schedule")

    def price(self) -> ScheduleEnergy:
        """Return the energy of the batch, in closed form from what layers do, what is carried, and what leaks."""
        hardware, mappings = self.accelerator, self.mappings
        layers = tuple(
            LayerEnergy(name, activity, price_layer(activity, mappings[name], hardware))
            for name, activity in self.count_activities().items()
        )
        hops = Activity(hop_bits=8 * self.byte_hops)
        transfers = price_activity(hops, hardware, hardware.mapping.encoding)
        if self.lacks_transfers:
            transfers += EnergyBreakdown({}, (Component.INTERCONNECT,))
        leakage = price_leakage(hardware, self.total_ps, crossbars=self.crossbars, cores=hardware.chip.cores)
        return ScheduleEnergy(layers, self.batch, transfers, leakage)
