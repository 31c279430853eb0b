"""Why a layer is mapped as it is: what the same search finds when it may not use one of the things that it used.

Every figure comes from `mho.mapping.best_mapping` with less allowed, or from the paper's mapping; nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mho.errors import MappingError
from mho.hardware.mapping_rules import ErrorBound
from mho.hardware.spec import PAPER_ENCODINGS, Accelerator, Encoding
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import LayerMapping, MappingModel, Range
from mho.mapping.layer_search import Piece
from mho.mapping.mapping_choice import MappingChoice
from mho.mapping.output_error import error_bound, mapping_error
from mho.mapping.paper_mapping import plan_layer
from mho.mapping.unit_energies import price_mapping
from mho.network.layers import MvmLayer
from mho.policy import BitWidths

WITHOUT, OTHER_ENCODING, BY_ITSELF = "without ", "another encoding", "by itself"
"""How the names of alternatives begin that lack one thing, the name of the best in another encoding, and that of the
best in a crossbar of its own, for layers that lie in one with others."""

FASTEST, LEAST_ERROR = "fastest", "least error"
"""Names of the best mapping without a bound on errors, and of the fastest of those with about the least error."""

_ALONE: dict[str, Any] = {"window_positions": 1, "input_slices_per_mvm": 1, "groups_per_tile": 1, "splits": False}
"""What is allowed where single positions take one slice after the other."""


@dataclass(frozen=True)
class Alternative:
    """One way to map a layer.

    Attributes:
        name: what is different, in words: ``without windows``.
        mapping: the cheapest one of that kind; None where there is none.
        time_ps: its time for a batch, ps; None where there is none.
        reason: why there is none, or nothing.
        error: that it is predicted to cause at the layer's output (`mho.mapping.output_error`); None where there is no
            mapping.
        energy_aj: its energy for a batch, aJ; None where there is no mapping, or the accelerator specifies none.
    """

    name: str
    mapping: LayerMapping | None
    time_ps: int | None
    reason: str = ""
    error: float | None = None
    energy_aj: float | None = None


@dataclass(frozen=True)
class Explanation:
    """A mapping beside what it was chosen over.

    Attributes:
        mapping: what is explained.
        time_ps: its time for a batch, ps; reads alone where another layer's write holds its tile.
        alternatives: what else there is, each with writes of its own.
        stack: names of the other layers that are written at once with it.
        saved_ps: what this saves of the time of all of them, ps: it makes up for a mapping that is slower by itself.
        error: that the mapping is predicted to cause at the layer's output; 0 where nothing that is modelled does.
        bound: on that error, 0: as little as may be; None: none.
        energy_aj: the mapping's energy for a batch, aJ; None where the accelerator specifies none.
    """

    mapping: LayerMapping
    time_ps: int
    alternatives: tuple[Alternative, ...]
    stack: tuple[str, ...] = ()
    saved_ps: int = 0
    error: float = 0.0
    bound: float | None = None
    energy_aj: float | None = None

    @property
    def keeps_bound(self) -> bool:
        """True where the error is within its bound, or there is none: also where the least error is wanted."""
        return not self.bound or self.error <= self.bound * (1 + 1e-9)

    @property
    def by_itself(self) -> Explanation | None:
        """The best mapping of the layer in a crossbar of its own, explained; None where the layer has one anyway."""
        for number, one in enumerate(self.alternatives):
            if one.name == BY_ITSELF and one.mapping is not None and one.time_ps is not None:
                others = (*self.alternatives[:number], *self.alternatives[number + 1 :])
                error, energy = one.error or 0.0, one.energy_aj
                return Explanation(one.mapping, one.time_ps, others, error=error, bound=self.bound, energy_aj=energy)
        return None

    @property
    def next_best(self) -> Alternative | None:
        """The fastest alternative that is slower than the mapping; None where there is none."""
        slower = [one for one in self.alternatives if one.time_ps is not None and one.time_ps > self.time_ps]
        return min(slower, key=lambda one: one.time_ps or 0, default=None)

    def ratio(self, alternative: Alternative) -> float | None:
        """Return how many times the mapping's time an alternative takes; None where there is none."""
        if alternative.time_ps is None:
            return None
        return alternative.time_ps / self.time_ps if self.time_ps else 1.0


@dataclass(frozen=True)
class Baselines:
    """Single positions, slice after slice, in differential columns: what mappings are usually compared with.

    Attributes:
        paper: as arXiv 2601.21737 counts it: ceil(weight bits / cell bits) slices a weight and sign.
        by_capacity: with as many slices as the magnitudes of the weights need.
    """

    paper: Alternative
    by_capacity: Alternative


def explain_mapping(
    mapping: LayerMapping,
    accelerator: Accelerator,
    model: MappingModel,
    *,
    batch: int = 1,
    shared_time_ps: int | None = None,
) -> Explanation:
    """Compare a mapping with what the same search finds with less allowed, and with the other model's.

    Args:
        mapping: what is explained, as `model` made it.
        accelerator: what it was made for.
        model: which mapping it is.
        batch: samples that share the writes of weights.
        shared_time_ps: the layer's time where it lies in one crossbar with others, ps; None where it does not.
    """
    variants = _Variants(mapping.layer, mapping.bits, accelerator, batch)
    found = list(variants.beside_paper(mapping) if model is MappingModel.PAPER else variants.beside_best(mapping))
    error, bound = mapping_error(mapping, accelerator), error_bound(layer_hardware(accelerator, mapping.bits))
    if shared_time_ps is not None:
        found = [variants.best(BY_ITSELF), *found]
    time_ps = variants.time_ps(mapping) if shared_time_ps is None else shared_time_ps
    energy_aj = variants.energy_aj(mapping, time_ps)
    return Explanation(mapping, time_ps, tuple(found), error=error, bound=bound, energy_aj=energy_aj)


def describe_given(
    mapping: LayerMapping, accelerator: Accelerator, *, batch: int = 1, time_ps: int, stack: tuple[str, ...] = ()
) -> Explanation:
    """Return a mapping that others chose, as a schedule does, beside nothing: with its time, error and energy.

    Args:
        mapping: what is described.
        accelerator: what it was made for.
        batch: samples that share the writes of weights.
        time_ps: for a batch, ps.
        stack: names of the other layers that are written at once with it.
    """
    variants = _Variants(mapping.layer, mapping.bits, accelerator, batch)
    error, bound = mapping_error(mapping, accelerator), error_bound(layer_hardware(accelerator, mapping.bits))
    energy_aj = variants.energy_aj(mapping, time_ps)
    return Explanation(mapping, time_ps, (), stack=stack, error=error, bound=bound, energy_aj=energy_aj)


def find_baselines(layer: MvmLayer, bits: BitWidths, accelerator: Accelerator, *, batch: int = 1) -> Baselines:
    """Map a layer as im2col with differential columns, counted in both ways.

    Args:
        layer: the logical layer.
        bits: weight and activation bits.
        accelerator: crossbar, converters and prices, whatever encodings it allows.
        batch: samples that share the writes of weights.
    """
    variants = _Variants(layer, bits, accelerator, batch)
    return Baselines(
        paper=variants.paper(Encoding.DIFFERENTIAL_COLUMNS), by_capacity=variants.im2col(Encoding.DIFFERENTIAL_COLUMNS)
    )


@dataclass(frozen=True)
class _Variants:
    """Mappings of one layer under other rules."""

    layer: MvmLayer
    bits: BitWidths
    accelerator: Accelerator
    batch: int

    def time_ps(self, mapping: LayerMapping) -> int:
        prices = UnitTimes.of(layer_hardware(self.accelerator, self.bits), mapping.encoding, self.batch)
        return prices.time_ps(mapping.counts, is_stored_dynamically=self.layer.is_stored_dynamically)

    def energy_aj(self, mapping: LayerMapping, time_ps: int) -> float | None:
        if not self.accelerator.energy.is_specified:
            return None
        return price_mapping(mapping, layer_hardware(self.accelerator, self.bits), time_ps, batch=self.batch)

    def beside_best(self, mapping: LayerMapping) -> Iterator[Alternative]:
        """Yield what the best mapping was chosen over."""
        if mapping.is_digital:
            yield from (self.im2col(encoding) for encoding in self.accelerator.mapping.allowed.encodings)
        else:
            yield from self._with_less(mapping)
        if error_bound(layer_hardware(self.accelerator, self.bits)) is not None:
            yield self._tell(FASTEST, lambda: self._search_within("none"))
            yield self._tell(LEAST_ERROR, lambda: self._search_within("least"))
        yield self.paper(self.accelerator.mapping.encoding)

    def beside_paper(self, mapping: LayerMapping) -> Iterator[Alternative]:
        """Yield the paper's mapping in other encodings, and the best one."""
        yield from (self.paper(encoding) for encoding in PAPER_ENCODINGS if encoding is not mapping.encoding)
        yield self.best("best mapping")

    def best(self, name: str) -> Alternative:
        """Return the best mapping in crossbars of its own."""
        return self._tell(name, lambda: self._search({}))

    def paper(self, encoding: Encoding) -> Alternative:
        """Return the paper's mapping in an encoding."""
        accelerator = self._with_rules({"encoding": encoding})
        return self._tell(
            f"paper's mapping, {_in_words(encoding)}", lambda: plan_layer(self.layer, self.bits, accelerator)
        )

    def im2col(self, encoding: Encoding) -> Alternative:
        """Return single positions, one slice after the other, in one piece and by what cells can hold."""
        layer, weight_bits = self.layer, self.bits.weight_bits
        accelerator = self._allowing({**_ALONE, "encodings": (encoding,)})
        hardware = layer_hardware(accelerator, self.bits)
        whole = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), 0, 1)
        return self._tell(
            f"im2col by capacity, {_in_words(encoding)}",
            lambda: MappingChoice(layer, weight_bits, hardware, self.batch).build(self.bits, encoding, (whole,)),
        )

    def _with_less(self, mapping: LayerMapping) -> Iterator[Alternative]:
        allowed = self.accelerator.mapping.allowed
        others = tuple(encoding for encoding in allowed.encodings if encoding is not mapping.encoding)
        if others:
            yield self._tell(OTHER_ENCODING, lambda: self._search({"encodings": others}))
        limits = (
            (f"{WITHOUT}windows", {"window_positions": 1}, allowed.window_positions > 1),
            (f"{WITHOUT}side-by-side slices", {"input_slices_per_mvm": 1}, allowed.input_slices_per_mvm > 1),
            (f"{WITHOUT}packing", {"groups_per_tile": 1}, allowed.groups_per_tile > 1 and self.layer.repeat > 1),
            (f"{WITHOUT}cuts", {"splits": False}, allowed.splits),
        )
        for name, limit, is_less in limits:
            if is_less:
                yield self._tell(name, partial(self._search, limit))

    def _search(self, allowed: dict[str, Any]) -> LayerMapping:
        return choose_mapping(self.layer, self.bits, self._allowing(allowed), batch=self.batch)

    def _search_within(self, bound: ErrorBound) -> LayerMapping:
        accelerator = self.accelerator.with_max_error(bound)
        return choose_mapping(self.layer, self.bits, accelerator, batch=self.batch)

    def _allowing(self, changes: dict[str, Any]) -> Accelerator:
        return self._with_rules({"allowed": self.accelerator.mapping.allowed.model_copy(update=changes)})

    def _with_rules(self, changes: dict[str, Any]) -> Accelerator:
        return self.accelerator.model_copy(update={"mapping": self.accelerator.mapping.model_copy(update=changes)})

    def _tell(self, name: str, make: Callable[[], LayerMapping]) -> Alternative:
        try:
            mapping = make()
        except MappingError as error:
            return Alternative(name, None, None, error.what)
        off, time_ps = mapping_error(mapping, self.accelerator), self.time_ps(mapping)
        return Alternative(name, mapping, time_ps, error=off, energy_aj=self.energy_aj(mapping, time_ps))


def _in_words(encoding: Encoding) -> str:
    return encoding.replace("-", " ")
