"""Energy and lifetime of a schedule, in closed form: what its layers do, what is carried, what leaks meanwhile.

Weights were written before the first input and stay, so only operands that are stored for each input are written: into
every copy that has a window of that input. Copies do not change how often crossbars are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from mho.cost_model.endurance import count_lifetime_inputs
from mho.cost_model.energy import EnergyBreakdown, LayerEnergy, add_energies, price_activity, price_layer, price_leakage
from mho.hardware.spec import Accelerator
from mho.mapping.activity import Activity, count_activity, count_writing
from mho.mapping.layer_mapping import LayerMapping
from mho.scheduling.chip_schedule import ChipSchedule


@dataclass(frozen=True)
class ScheduleEnergy:
    """Energy of a schedule for all inputs of its batch.

    Attributes:
        layers: what each layer takes, carrying and leakage aside, in execution order.
        carried: what the interconnect takes.
        leaked: what all crossbars and cores of the chip lose until the last input is finished.
        batch: inputs.
    """

    layers: tuple[LayerEnergy, ...]
    carried: EnergyBreakdown
    leaked: EnergyBreakdown
    batch: int

    @property
    def energy(self) -> EnergyBreakdown:
        """All energy by component."""
        return add_energies([*(layer.energy for layer in self.layers), self.carried, self.leaked])


def price_schedule(schedule: ChipSchedule, *, time_ps: int, byte_hops: int = 0) -> ScheduleEnergy:
    """Return the energy of a schedule for its batch.

    Args:
        schedule: what runs.
        time_ps: until the last input is finished, ps; closed form or simulated.
        byte_hops: bytes times the links that they took, for all inputs, as a simulation counts them.
    """
    accelerator, batch = schedule.accelerator, schedule.batch
    layers = []
    for name, mapping in schedule.mappings.items():
        copies = min(schedule.copies[name], schedule.graph[name].windows)
        activity = _count_activity(mapping, accelerator, copies=copies, batch=batch)
        layers.append(LayerEnergy(name, activity, price_layer(activity, mapping, accelerator)))
    carried = price_activity(Activity(hop_bits=8 * byte_hops), accelerator, accelerator.mapping.encoding)
    chip = accelerator.chip
    leaked = price_leakage(accelerator, time_ps, crossbars=chip.crossbars, cores=chip.cores)
    return ScheduleEnergy(tuple(layers), carried, leaked, batch)


def count_schedule_lifetime(schedule: ChipSchedule) -> int | None:
    """Return how many inputs a chip computes before a cell may fail: stored operands are written for each of them.

    None where the accelerator tells no endurance, or nothing is written because all weights stay.
    """
    is_written = any(mapping.layer.is_stored_dynamically for mapping in schedule.mappings.values())
    return count_lifetime_inputs(schedule.accelerator, 1 if is_written else 0)


def _count_activity(mapping: LayerMapping, accelerator: Accelerator, *, copies: int, batch: int) -> Activity:
    activity = count_activity(mapping, accelerator, batch=batch, weights_stay=True)
    if mapping.layer.is_stored_dynamically:
        activity += count_writing(mapping, accelerator).times((copies - 1) * batch)
    return activity
