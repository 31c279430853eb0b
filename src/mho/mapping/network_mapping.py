"""A whole network in crossbars: how each layer is mapped, and which layers are written at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mho.errors import MappingError
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import layer_hardware
from mho.mapping.best_mapping import make_choice
from mho.mapping.digital_layers import check_pins, rules_of
from mho.mapping.layer_cache import LayerCache
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.mapping.mapping_choice import MappingChoice
from mho.mapping.paper_mapping import plan_allowed
from mho.mapping.stacks import Axis, StackSlot, StackSpace, StackTimes, choose_stacks
from mho.network.layers import MvmLayer
from mho.policy import MAX_BITS, BitWidths, Policy


@dataclass(frozen=True)
class Placement:
    """Where the tiles of a layer lie in the crossbar, and who writes them.

    Attributes:
        writer: number of the layer whose write holds them: its own, or an earlier one's.
        row, col: of their first cell.
    """

    writer: int
    row: int = 0
    col: int = 0


@dataclass(frozen=True)
class NetworkMapping:
    """All MVM layers of a network in crossbars, in execution order.

    Attributes:
        layers: how each is mapped.
        placements: where each lies.
    """

    layers: tuple[LayerMapping, ...]
    placements: tuple[Placement, ...]

    @classmethod
    def apart(cls, mappings: Iterable[LayerMapping]) -> NetworkMapping:
        """Return layers that are each written by themselves."""
        layers = tuple(mappings)
        return cls(layers, tuple(Placement(number) for number in range(len(layers))))

    def joins(self, number: int) -> bool:
        """Return True where an earlier layer's write holds the layer's tile."""
        return self.placements[number].writer != number

    def written_with(self, number: int) -> str | None:
        """Return the name of the earlier layer whose write holds the layer's tile; None where there is none."""
        return self.layers[self.placements[number].writer].layer.name if self.joins(number) else None

    def stack(self, number: int) -> tuple[str, ...]:
        """Return the names of the other layers that are written at once with a layer."""
        writer = self.placements[number].writer
        members = (writer, *self.companions(writer))
        return tuple(self.layers[member].layer.name for member in members if member != number)

    def companions(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the later layers whose tiles a layer writes along with its own."""
        later = range(number + 1, len(self.layers))
        return tuple(other for other in later if self.placements[other].writer == number)


def map_network(
    layers: Iterable[MvmLayer],
    policy: Policy,
    accelerator: Accelerator,
    model: MappingModel,
    *,
    batch: int = 1,
) -> NetworkMapping:
    """Map every layer with the widths that `policy` gives it by name.

    Args:
        layers: in execution order.
        policy: bit widths of every layer.
        accelerator: what they run on.
        model: which mapping is meant; the paper's shares no writes.
        batch: samples that share the writes of weights.

    Raises:
        PolicyError: the policy names an unknown layer or lacks one.
        MappingError: a layer cannot be mapped.
    """
    layers = tuple(layers)
    policy.check_against(layer.name for layer in layers)
    widths = [policy[layer.name] for layer in layers]
    return map_layers(layers, widths, accelerator, model, batch=batch)


def map_layers(
    layers: Sequence[MvmLayer],
    widths: Sequence[BitWidths],
    accelerator: Accelerator,
    model: MappingModel,
    *,
    batch: int = 1,
    given: Mapping[str, LayerMapping] | None = None,
) -> NetworkMapping:
    """Map layers with their widths, in execution order.

    Args:
        layers, widths, accelerator, model, batch: see `map_network`.
        given: mappings, by the name of their layer, to use instead; these layers are written by themselves.

    Raises:
        MappingError: a layer cannot be mapped; says which.
    """
    check_pins((layer.name for layer in layers), accelerator)
    choices, given = cache_choices(accelerator, batch), given or {}
    mapped = [
        MappedLayer(given[layer.name], None)
        if layer.name in given
        else map_alone(layer, bits, accelerator, model, choices)
        for layer, bits in zip(layers, widths, strict=True)
    ]
    own = [Placement(number) for number in range(len(layers))]
    if model is MappingModel.PAPER or not accelerator.mapping.allowed.shared_writes or len(layers) < 2:
        return NetworkMapping(tuple(one.mapping for one in mapped), tuple(own))
    space = StackSpace(accelerator.crossbar)
    slots = choose_stacks([one.stack_times for one in mapped], accelerator.write_latency_ps, space)
    placements = [_place(slot, space) if slot is not None else alone for slot, alone in zip(slots, own, strict=True)]
    mappings = [one.within(slot, space) for one, slot in zip(mapped, slots, strict=True)]
    return NetworkMapping(tuple(mappings), tuple(placements))


@dataclass(frozen=True, eq=False)
class MappedLayer:
    """A layer by itself, and what else it could be.

    Attributes:
        mapping: by itself.
        choice: of its mappings, where there is one.
    """

    mapping: LayerMapping
    choice: MappingChoice | None

    @property
    def stack_times(self) -> StackTimes:
        """What it takes in a stack; a mapping that was given lies in a stack only where nothing of it does."""
        bits = self.mapping.bits
        if self.choice is not None:
            return self.choice.stack_times((bits.act_bits,))
        return StackTimes.never(is_transparent=self.mapping.is_digital)

    def within(self, slot: StackSlot | None, space: StackSpace) -> LayerMapping:
        """Return how it is mapped in a stack, or by itself."""
        if slot is None or self.choice is None:
            return self.mapping
        mapping = self.choice.mapping_within(self.mapping.bits, *space.size(slot.axis, slot.units))
        return replace(mapping, layer=self.mapping.layer)


def cache_choices(accelerator: Accelerator, batch: int = 1) -> LayerCache[MappingChoice]:
    """Return what keeps choices of layers by bits of weights and of ADCs; `batch` samples share the writes."""
    return LayerCache(
        accelerator,
        lambda layer, hardware, own: make_choice(layer, own.weight_bits, layer_hardware(hardware, own), batch),
    )


def map_alone(
    layer: MvmLayer,
    bits: BitWidths,
    accelerator: Accelerator,
    model: MappingModel,
    choices: LayerCache[MappingChoice],
) -> MappedLayer:
    """Map one layer by itself; arguments and errors are those of `map_network`, `choices` those of `cache_choices`."""
    with naming_layer(layer.name):
        if model is MappingModel.PAPER:
            hardware = layer_hardware(rules_of(accelerator, layer.name), bits)
            return MappedLayer(plan_allowed(layer, bits, hardware), None)
        choice = choices.get(layer, replace(bits, act_bits=MAX_BITS))
        return MappedLayer(replace(choice.mapping(bits), layer=layer), choice)


@contextmanager
def naming_layer(name: str) -> Iterator[None]:
    """Make errors of mapping tell which layer they are about."""
    try:
        yield
    except MappingError as error:
        where = f"layer {name}"
        if error.where and error.where not in (where, name):
            where += f", {error.where}"
        raise MappingError(error.what, where=where, expected=error.expected, hint=error.hint) from error


def _place(slot: StackSlot, space: StackSpace) -> Placement:
    start = slot.start * space.unit(slot.axis)
    return Placement(slot.writer, *((start, 0) if slot.axis is Axis.ROWS else (0, start)))
