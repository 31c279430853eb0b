"""The energy of a network as a part of JSON documents."""

from __future__ import annotations

from pydantic import Field

from mho.cost_model.energy import Component, EnergyBreakdown, NetworkEnergy
from mho.frozen_model import FrozenModel

_AJ_PER_PJ = 1_000_000


class EnergyRow(FrozenModel, use_attribute_docstrings=False):
    """Energy of one layer."""

    name: str = Field(description="Layer name.")
    total_pj: float = Field(ge=0, description="All components that are told, pJ.")
    components_pj: dict[Component, float] = Field(description="Each component that does something and is told, pJ.")


class EnergyDocument(FrozenModel, use_attribute_docstrings=False):
    """Energy of a network for one sample, by component and by layer."""

    total_pj: float = Field(ge=0, description="All components that are told, pJ.")
    components_pj: dict[Component, float] = Field(description="Each component that does something and is told, pJ.")
    untold: tuple[Component, ...] = Field(
        description="Components that do something whose unit energies the accelerator does not tell: not in total_pj."
    )
    layers: tuple[EnergyRow, ...] = Field(description="MVM layers in execution order.")

    @classmethod
    def of(cls, energy: NetworkEnergy) -> EnergyDocument:
        """Make the document; where a batch shares writes, for one sample."""
        whole = energy.energy
        return cls(
            total_pj=_to_picojoules(whole.total_aj, energy.batch),
            components_pj=_components(whole, energy.batch),
            untold=whole.untold,
            layers=tuple(
                EnergyRow(
                    name=layer.name,
                    total_pj=_to_picojoules(layer.energy.total_aj, energy.batch),
                    components_pj=_components(layer.energy, energy.batch),
                )
                for layer in energy.layers
            ),
        )


def _components(energy: EnergyBreakdown, batch: int) -> dict[Component, float]:
    return {component: _to_picojoules(aj, batch) for component, aj in energy.told_aj.items()}


def _to_picojoules(attojoules: int, batch: int) -> float:
    """Return the double nearest to a batch's energy, for one of its samples."""
    return attojoules / (_AJ_PER_PJ * batch)
