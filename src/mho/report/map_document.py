"""The result of `mho map` as a JSON document, with a published schema."""

from __future__ import annotations

from pydantic import Field

from mho.cost_model.document import to_microseconds
from mho.cost_model.network_map import LayerMap, NetworkMap
from mho.frozen_model import FrozenModel
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.cell_contents import PartContents
from mho.mapping.explain import Alternative
from mho.mapping.layer_mapping import MappingModel, Range
from mho.mapping.occupancy import PartOccupancy
from mho.report.map_words import tell_choice, tell_loops, tell_mapping

Pair = tuple[int, int]


class RangeRow(FrozenModel):
    """The numbers from `start` to `stop` - 1."""

    start: int = Field(ge=0)
    """The first."""
    stop: int = Field(ge=1)
    """One more than the last."""

    @classmethod
    def of(cls, numbers: Range) -> RangeRow:
        """Return the row of a range."""
        return cls(start=numbers.start, stop=numbers.stop)


class WindowRow(FrozenModel):
    """What one MVM of a part reads and gives. Places are row and column from the window's origin."""

    pixels: tuple[Pair, ...]
    """Pixels of each channel that are read (for dense layers: input vectors, in one line)."""
    positions: tuple[Pair, ...]
    """Output positions that are served."""
    step: Pair
    """Positions from the origin of one window to that of the next."""
    counts: Pair
    """Windows along height and width."""

    @classmethod
    def of(cls, occupancy: PartOccupancy) -> WindowRow:
        """Return the row of a part's window."""
        contents = occupancy.contents
        height, width = contents.grid.sweeps(contents.part.window)
        pixels = sorted({(int(row), int(col)) for row, col in contents.rows.pixel})
        return cls(
            pixels=tuple(pixels),
            positions=tuple((int(row), int(col)) for row, col in occupancy.positions),
            step=(height.step, width.step),
            counts=(height.count, width.count),
        )


class PartRow(FrozenModel):
    """A rectangle of a layer's matrix, and how it lies in tiles."""

    groups: RangeRow
    """Groups of the layer."""
    outputs: RangeRow
    """Outputs of one group."""
    inputs: RangeRow
    """Inputs of one group."""
    window: WindowRow
    """What one MVM reads and gives."""
    rows: int
    """Rows of the physical matrix of one group."""
    cols: int
    """Columns of the same."""
    row_tiles: int
    """Tiles above each other that hold the matrix of one group."""
    col_tiles: int
    """Tiles beside each other that hold it."""
    groups_per_tile: int
    """Groups whose whole matrices share a tile."""
    digits_per_weight: int
    """Columns of digits a weight (a sign part of it)."""
    slices_at_once: int
    """Input slices that one MVM takes side by side."""
    steps: int
    """MVMs that an input of all slices takes."""
    rows_at_once: int
    """Rows that one MVM may drive."""
    correction_cols: int
    """How many of the columns, the last, give sums of inputs."""
    tiles: int
    """Tiles, each of which is written by itself or along with others."""
    mvms: int
    """Crossbar reads, one an input slice."""
    utilization: float = Field(ge=0, le=1)
    """Share of the cells of its tiles that hold digits of weights."""
    loops: tuple[str, ...]
    """What it runs through, in words, indented."""

    @classmethod
    def of(cls, layer: LayerMap, number: int, accelerator: Accelerator) -> PartRow:
        """Return the row of a part of a layer, by its number in the mapping."""
        occupancy = PartOccupancy.of(layer.mapping, number, accelerator)
        contents: PartContents = occupancy.contents
        part = contents.part
        return cls(
            groups=RangeRow.of(part.groups),
            outputs=RangeRow.of(part.outputs),
            inputs=RangeRow.of(part.inputs),
            window=WindowRow.of(occupancy),
            rows=part.rows,
            cols=part.cols,
            row_tiles=part.row_tiles,
            col_tiles=part.col_tiles,
            groups_per_tile=part.groups_per_tile,
            digits_per_weight=part.num_weight_slices,
            slices_at_once=part.slices_at_once,
            steps=part.num_steps,
            rows_at_once=part.rows_at_once,
            correction_cols=part.correction_cols,
            tiles=part.counts.tiles,
            mvms=part.counts.mvms,
            utilization=occupancy.count().utilization,
            loops=tell_loops(contents, written_with=layer.written_with),
        )


class AlternativeRow(FrozenModel):
    """Another mapping of a layer."""

    name: str
    """What is different."""
    mapping: str | None
    """The cheapest one of that kind in words; null where there is none."""
    reason: str
    """Why there is none, or nothing."""
    tiles: int | None
    """Crossbar writes."""
    mvms: int | None
    """Crossbar reads."""
    latency_us: float | None
    """Time of one sample, us."""
    ratio: float | None
    """Its time over that of the layer's mapping."""
    error: float | None
    """Error that it is predicted to cause at the output, RMS over the standard deviation of the exact output."""
    energy_nj: float | None = None
    """Energy of one sample, as far as it is specified, nJ."""

    @classmethod
    def of(cls, alternative: Alternative, layer: LayerMap, batch: int) -> AlternativeRow:
        """Return the row of an alternative of a layer."""
        mapping, time = alternative.mapping, alternative.time_ps
        return cls(
            name=alternative.name,
            mapping=None if mapping is None else tell_mapping(mapping),
            reason=alternative.reason,
            tiles=None if mapping is None else mapping.tiles,
            mvms=None if mapping is None else mapping.mvms,
            latency_us=None if time is None else to_microseconds(time) / batch,
            ratio=layer.explanation.ratio(alternative),
            error=alternative.error,
            energy_nj=_to_nanojoules(alternative.energy_aj, batch),
        )


class BaselineRows(FrozenModel):
    """Im2col with differential columns: single positions, one slice after the other."""

    paper: AlternativeRow
    """As arXiv 2601.21737 counts it: ceil(weight bits / cell bits) cells a weight and sign."""
    by_capacity: AlternativeRow
    """With as many cells as the magnitudes of the weights need."""


class LayerMapRow(FrozenModel):
    """One MVM layer on crossbars."""

    name: str
    """Layer name."""
    kind: str
    """`conv`, `linear` or `matmul`."""
    outputs: int
    """Outputs of the logical matrix of one group."""
    inputs: int
    """Inputs of the same."""
    positions: int
    """Input vectors that meet it."""
    repeat: int
    """Matrices of that size: groups, heads."""
    weight_bits: int
    """Bits of a weight, or of the stored operand of a product."""
    act_bits: int
    """Bits of an input."""
    encoding: Encoding
    """How signed weights become conductances."""
    mapping: str
    """The mapping in words."""
    tiles: int
    """Tiles."""
    writes: int
    """Crossbar writes: one a tile, but none where `written_with` names a layer."""
    row: int
    """Row of the crossbar at which its tiles begin: above 0 where layers lie above each other in one."""
    col: int
    """Column of the crossbar at which they begin."""
    written_with: str | None
    """The earlier layer whose write holds the layer's one tile too; null where it is written by itself."""
    mvms: int
    """Crossbar reads, one an input slice."""
    operations: int
    """Additions and multiply-adds of the digital unit."""
    latency_us: float
    """Time of one sample, us."""
    bound_us: float
    """What no exact mapping of this kind can beat, us; reads alone where a write may be shared."""
    energy_nj: float | None = None
    """Energy of one sample on one crossbar, as far as it is specified, nJ; null: none is."""
    error: float
    """Error predicted at the output, RMS over the standard deviation of the exact output; 0 where all is ideal."""
    max_error: float | None
    """Bound on the error; 0: as little as may be; null: none."""
    cells: int
    """Cells of all tiles."""
    digit_cells: int
    """Cells that hold a digit of a weight."""
    correction_cells: int
    """Cells that hold ones, to sum up inputs."""
    utilization: float = Field(ge=0, le=1)
    """digit_cells / cells; 0 where no crossbar is used."""
    parts: tuple[PartRow, ...]
    """What lies in crossbars; empty where the digital unit computes the product."""
    why: str
    """Why it is mapped so, in words; on several crossbars what the schedule makes of it: copies, crossbars."""
    alternatives: tuple[AlternativeRow, ...]
    """What else there is, from the same search with less allowed."""
    baselines: BaselineRows
    """What mappings are usually compared with."""

    @classmethod
    def of(cls, layer: LayerMap, accelerator: Accelerator, batch: int) -> LayerMapRow:
        """Return the row of one layer."""
        mapping, logical = layer.mapping, layer.mapping.layer
        return cls(
            name=logical.name,
            kind=logical.kind,
            outputs=logical.outputs,
            inputs=logical.inputs,
            positions=logical.positions,
            repeat=logical.repeat,
            weight_bits=mapping.bits.weight_bits,
            act_bits=mapping.bits.act_bits,
            encoding=mapping.encoding,
            mapping=tell_mapping(mapping),
            tiles=mapping.tiles,
            writes=layer.cost.writes,
            row=layer.placement.row,
            col=layer.placement.col,
            written_with=layer.written_with,
            mvms=mapping.mvms,
            operations=mapping.counts.operations,
            latency_us=to_microseconds(layer.cost.latency_ps) / batch,
            bound_us=to_microseconds(layer.bound.latency_ps) / batch,
            energy_nj=_to_nanojoules(layer.explanation.energy_aj, batch),
            error=layer.explanation.error,
            max_error=layer.explanation.bound,
            cells=layer.cells.all,
            digit_cells=layer.cells.digits,
            correction_cells=layer.cells.corrections,
            utilization=layer.cells.utilization,
            parts=tuple(PartRow.of(layer, number, accelerator) for number in range(len(mapping.parts))),
            why=layer.role or tell_choice(layer.explanation, batch=batch),
            alternatives=tuple(AlternativeRow.of(one, layer, batch) for one in layer.explanation.alternatives),
            baselines=BaselineRows(
                paper=AlternativeRow.of(layer.baselines.paper, layer, batch),
                by_capacity=AlternativeRow.of(layer.baselines.by_capacity, layer, batch),
            ),
        )


class MapDocument(FrozenModel):
    """How a network lies in crossbars, for one sample on an accelerator."""

    network: str
    """The network as it was named."""
    accelerator: Accelerator
    """The accelerator, overrides included."""
    mapping: MappingModel
    """`best`: the cheapest exact mapping of each layer that is allowed; `paper`: that of arXiv 2601.21737."""
    batch: int = Field(ge=1)
    """Samples that share the writes of weights; times are for one of them."""
    latency_us: float
    """All layers, one after the other, us."""
    bound_us: float
    """What no exact mapping of this kind can beat, us: the layers' bounds, and writes that may be shared."""
    utilization: float = Field(ge=0, le=1)
    """Share of the cells of all tiles that hold digits of weights."""
    layers: tuple[LayerMapRow, ...]
    """MVM layers in execution order, or the one that was named."""

    @classmethod
    def of(cls, network: str, network_map: NetworkMap, *, layer: str | None = None) -> MapDocument:
        """Make the document.

        Args:
            network: as it was named.
            network_map: of the network.
            layer: the only layer; None for all.

        Raises:
            MappingError: there is no such layer.
        """
        layers = network_map.layers if layer is None else (network_map.layer(layer),)
        accelerator, batch = network_map.accelerator, network_map.batch
        return cls(
            network=network,
            accelerator=accelerator,
            mapping=network_map.model,
            batch=batch,
            latency_us=to_microseconds(network_map.latency_ps) / batch,
            bound_us=to_microseconds(network_map.bound_ps) / batch,
            utilization=network_map.cells.utilization,
            layers=tuple(LayerMapRow.of(one, accelerator, batch) for one in layers),
        )


def _to_nanojoules(attojoules: float | None, batch: int) -> float | None:
    return None if attojoules is None else attojoules / batch / 1e9
