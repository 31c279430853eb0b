"""The answer of `mho cost` as a JSON document, with a published schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mho.accelerator.spec import Accelerator
from mho.cost.latency import LayerCost, NetworkCost

MappingName = Literal["paper"]
"""Models that count tiles and MVMs."""

_PS_PER_US = 1_000_000


def to_microseconds(picoseconds: int) -> float:
    """Return the double nearest to `picoseconds`; its shortest text is the exact decimal up to 1000 s."""
    return picoseconds / _PS_PER_US


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerRow(_Section):
    """One MVM layer."""

    name: str = Field(description="Layer name.")
    outputs: int = Field(ge=1, description="Outputs of the logical matrix of one repetition.")
    inputs: int = Field(ge=1, description="Inputs of the logical matrix of one repetition.")
    rows: int = Field(ge=1, description="Physical rows of one repetition, after encoding, before tiling.")
    cols: int = Field(ge=1, description="Physical columns of one repetition, after encoding, before tiling.")
    positions: int = Field(ge=1, description="Input vectors that meet the matrix of one repetition.")
    repeat: int = Field(ge=1, description="Matrices of that size: heads of attention, groups of a convolution.")
    weight_bits: int = Field(ge=1, le=16, description="Bits of a weight, or of the stored operand of a product.")
    act_bits: int = Field(ge=1, le=16, description="Bits of an input.")
    tiles: int = Field(ge=1, description="Crossbar writes, all repetitions.")
    mvms: int = Field(ge=1, description="Crossbar reads, one an input slice, all repetitions.")
    latency_us: float = Field(ge=0, description="Writes and reads, us.")

    @classmethod
    def of(cls, cost: LayerCost) -> LayerRow:
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
            tiles=mapping.tiles,
            mvms=mapping.mvms,
            latency_us=to_microseconds(cost.latency_ps),
        )


class CostDocument(_Section):
    """Predicted time of a network for one sample on an accelerator."""

    network: str = Field(description="The network as it was asked for.")
    accelerator: Accelerator = Field(description="The accelerator, overrides included.")
    mapping: MappingName = Field(description='Model that counts: "paper" is that of arXiv 2601.21737.')
    latency_us: float = Field(ge=0, description="All layers, one after the other, us.")
    reference_latency_us: float = Field(ge=0, description="The same with 8-bit weights and activations, us.")
    speedup: float = Field(ge=0, description="reference_latency_us / latency_us.")
    layers: tuple[LayerRow, ...] = Field(description="MVM layers in execution order.")

    @classmethod
    def of(
        cls,
        network: str,
        cost: NetworkCost,
        reference: NetworkCost,
        accelerator: Accelerator,
        mapping: Literal["paper"],
    ) -> CostDocument:
        """Make the document.

        Args:
            network: as it was asked for.
            cost: with the widths that were asked for.
            reference: the same network at 8/8.
            accelerator: what both were costed for.
            mapping: the model that counted.
        """
        return cls(
            network=network,
            accelerator=accelerator,
            mapping=mapping,
            latency_us=to_microseconds(cost.latency_ps),
            reference_latency_us=to_microseconds(reference.latency_ps),
            speedup=reference.latency_ps / cost.latency_ps,
            layers=tuple(LayerRow.of(layer) for layer in cost.layers),
        )
