"""The result of `mho cost` as a JSON document, with a published schema."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mho.cost_model.bounds import LayerBound, bound_network
from mho.cost_model.endurance import count_network_lifetime
from mho.cost_model.energy import Component, EnergyBreakdown, NetworkEnergy
from mho.cost_model.latency import LayerCost, NetworkCost
from mho.formats import AJ_PER_PJ, PS_PER_US
from mho.frozen_model import FrozenModel
from mho.hardware.converters import MAX_ADC_BITS
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.layer_mapping import MappingModel, describe_mapping


def to_microseconds(picoseconds: int) -> float:
    """Return the double nearest to `picoseconds`; its shortest text is the exact decimal up to 1000 s."""
    return picoseconds / PS_PER_US


def leave_out_adc_bits(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a part of a document without `adc_bits` where there are none."""
    return {key: value for key, value in content.items() if key != "adc_bits" or value is not None}


class LayerRow(FrozenModel, use_attribute_docstrings=False):
    """One MVM layer."""

    name: str = Field(description="Layer name.")
    outputs: int = Field(ge=1, description="Outputs of the logical matrix of one repetition.")
    inputs: int = Field(ge=1, description="Inputs of the logical matrix of one repetition.")
    rows: int = Field(
        ge=0, description="Physical rows of one repetition (of its largest part), after encoding, before tiling."
    )
    cols: int = Field(ge=0, description="Physical columns of the same.")
    positions: int = Field(ge=1, description="Input vectors that meet the matrix of one repetition.")
    repeat: int = Field(ge=1, description="Matrices of that size: heads of attention, groups of a convolution.")
    weight_bits: int = Field(ge=1, le=16, description="Bits of a weight, or of the stored operand of a product.")
    act_bits: int = Field(ge=1, le=16, description="Bits of an input.")
    adc_bits: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ADC_BITS,
        description="Bits with which sums are converted; not there where they are converters.adc_bits.",
    )
    tiles: int = Field(ge=0, description="Tiles, all repetitions.")
    writes: int = Field(ge=0, description="Crossbar writes: one a tile, but none where written_with names a layer.")
    written_with: str | None = Field(
        description="The earlier layer whose write holds the layer's one tile too; null where it is written by itself."
    )
    mvms: int = Field(ge=0, description="Crossbar reads, one an input slice, all repetitions.")
    latency_us: float = Field(ge=0, description="Writes and reads, us; where a batch shares writes, for one sample.")
    bound_us: float = Field(
        ge=0,
        description="What no exact mapping of this kind can beat, us; reads alone where a write may be shared.",
    )
    encoding: Encoding = Field(description="How signed weights become conductances.")
    layout: str = Field(description="The mapping in words: im2col, or each part's window, slices and groups.")

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_adc_bits(handler(self))

    @classmethod
    def of(cls, cost: LayerCost, bound: LayerBound, batch: int, *, written_with: str | None) -> LayerRow:
        """Return the row of one layer."""
        mapping = cost.mapping
        return cls(
            name=mapping.layer.name,
            outputs=mapping.layer.outputs,
            inputs=mapping.layer.inputs,
            rows=mapping.rows,
            cols=mapping.cols,
            positions=mapping.layer.positions,
            repeat=mapping.layer.repeat,
            weight_bits=mapping.bits.weight_bits,
            act_bits=mapping.bits.act_bits,
            adc_bits=mapping.bits.adc_bits,
            tiles=mapping.tiles,
            writes=cost.writes,
            written_with=written_with,
            mvms=mapping.mvms,
            latency_us=to_microseconds(cost.latency_ps) / batch,
            bound_us=to_microseconds(bound.latency_ps) / batch,
            encoding=mapping.encoding,
            layout=describe_mapping(mapping),
        )


class CostDocument(FrozenModel, use_attribute_docstrings=False):
    """Predicted time of a network for one sample on an accelerator."""

    network: str = Field(description="The network as the user named it.")
    accelerator: Accelerator = Field(description="The accelerator, overrides included.")
    mapping: MappingModel = Field(
        description='"best": the cheapest exact mapping of each layer that the accelerator allows; "paper": that of '
        "arXiv 2601.21737."
    )
    batch: int = Field(ge=1, description="Samples that share the writes of weights; times are for one of them.")
    latency_us: float = Field(ge=0, description="All layers, one after the other, us.")
    bound_us: float = Field(
        ge=0, description="The same for the whole network, us: the layers' bounds, and writes that may be shared."
    )
    reference_latency_us: float = Field(ge=0, description="The same with 8-bit weights and activations, us.")
    speedup: float = Field(ge=0, description="reference_latency_us / latency_us.")
    layers: tuple[LayerRow, ...] = Field(description="MVM layers in execution order.")
    energy: EnergyDocument | None = Field(default=None, description="Energy; null where it was not requested.")
    lifetime_inputs: int | None = Field(
        default=None,
        ge=0,
        description="Samples until cells of the crossbar may fail; null where the accelerator specifies no endurance.",
    )

    @classmethod
    def of(
        cls,
        network: str,
        cost: NetworkCost,
        reference: NetworkCost,
        accelerator: Accelerator,
        energy: NetworkEnergy | None = None,
    ) -> CostDocument:
        """Make the document.

        Args:
            network: as the user named it.
            cost: with the widths of the policy.
            reference: the same network at 8/8, of the same model and batch.
            accelerator: what both were costed for.
            energy: of `cost`; None: the document has none.
        """
        bound = bound_network(cost.mapping, accelerator, batch=cost.batch)
        layers = tuple(
            LayerRow.of(layer, own, cost.batch, written_with=cost.mapping.written_with(number))
            for number, (layer, own) in enumerate(zip(cost.layers, bound.layers, strict=True))
        )
        return cls(
            network=network,
            accelerator=accelerator,
            mapping=cost.model,
            batch=cost.batch,
            latency_us=to_microseconds(cost.latency_ps) / cost.batch,
            bound_us=to_microseconds(bound.latency_ps) / cost.batch,
            reference_latency_us=to_microseconds(reference.latency_ps) / cost.batch,
            speedup=reference.latency_ps / cost.latency_ps,
            layers=layers,
            energy=None if energy is None else EnergyDocument.of(energy),
            lifetime_inputs=count_network_lifetime(cost, accelerator),
        )


class EnergyRow(FrozenModel, use_attribute_docstrings=False):
    """Energy of one layer."""

    name: str = Field(description="Layer name.")
    total_pj: float = Field(ge=0, description="All components that are specified, pJ.")
    components_pj: dict[Component, float] = Field(
        description="Each component that does something and is specified, pJ."
    )


class EnergyDocument(FrozenModel, use_attribute_docstrings=False):
    """Energy of a network for one sample, by component and by layer."""

    total_pj: float = Field(ge=0, description="All components that are specified, pJ.")
    components_pj: dict[Component, float] = Field(
        description="Each component that does something and is specified, pJ."
    )
    untold: tuple[Component, ...] = Field(
        description="Components that do something and have no unit energy in the accelerator: not in total_pj."
    )
    layers: tuple[EnergyRow, ...] = Field(description="MVM layers in execution order.")

    @classmethod
    def of(cls, energy: NetworkEnergy) -> EnergyDocument:
        """Make the document; where a batch shares writes, for one sample."""
        whole = energy.energy
        return cls(
            total_pj=_to_picojoules(whole.total_aj, energy.batch),
            components_pj=_components(whole, energy.batch),
            untold=whole.unspecified,
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
    return {component: _to_picojoules(aj, batch) for component, aj in energy.component_aj.items()}


def _to_picojoules(attojoules: int, batch: int) -> float:
    """Return the double nearest to a batch's energy, for one of its samples."""
    return attojoules / (AJ_PER_PJ * batch)
