"""Which layers the digital unit may compute instead of crossbars, by rule and by name."""

from __future__ import annotations

from collections.abc import Iterable

from mho.errors import MappingError, suggest
from mho.hardware.mapping_rules import DigitalLayers
from mho.hardware.spec import Accelerator
from mho.network.layers import MvmLayer

_MOST_NAMES = 12
"""Of layers, that an error lists."""


def rules_of(accelerator: Accelerator, layer_name: str) -> Accelerator:
    """Return the hardware with the rule of one layer, which its name decides where it is pinned.

    The hardware that is returned pins nothing, so that layers of one shape under one rule are the same whatever they
    are called.
    """
    rules = accelerator.mapping
    if not rules.always_digital and not rules.never_digital:
        return accelerator
    rule = rules.digital_layers
    if layer_name in rules.always_digital:
        rule = DigitalLayers.ALWAYS
    elif layer_name in rules.never_digital:
        rule = DigitalLayers.NEVER
    own = rules.model_copy(update={"digital_layers": rule, "always_digital": (), "never_digital": ()})
    return accelerator.model_copy(update={"mapping": own})


def check_pins(layer_names: Iterable[str], accelerator: Accelerator) -> None:
    """Check that layers that are pinned to a unit are MVM layers of the network. Raises `MappingError`."""
    pinned = (*accelerator.mapping.always_digital, *accelerator.mapping.never_digital)
    if not pinned:
        return
    names = list(layer_names)
    if unknown := [name for name in pinned if name not in set(names)]:
        raise MappingError(
            f"{unknown[0]!r} is pinned to a unit, and is no MVM layer of the network",
            where="mapping.always_digital and mapping.never_digital",
            expected=f"one of {', '.join(names[:_MOST_NAMES])}{', ...' if len(names) > _MOST_NAMES else ''}",
            hint=suggest(unknown[0], names),
        )


def must_be_digital(layer: MvmLayer, accelerator: Accelerator) -> bool:
    """Tell whether the digital unit computes a layer whatever it takes."""
    return rules_of(accelerator, layer.name).mapping.digital_layers is DigitalLayers.ALWAYS


def may_be_digital(layer: MvmLayer, accelerator: Accelerator) -> bool:
    """Tell whether the digital unit may compute a layer: where its time is specified, products of two activations, and
    the layers with weights that `mapping.digital_layers` allows, but for layers that are pinned by name.
    """
    rule = rules_of(accelerator, layer.name).mapping.digital_layers
    if accelerator.digital.is_ideal or rule is DigitalLayers.NEVER:
        return False
    is_allowed = rule in (DigitalLayers.AUTO, DigitalLayers.ALWAYS)
    return layer.is_stored_dynamically or is_allowed or (rule is DigitalLayers.DEPTHWISE and is_depthwise(layer))


def is_depthwise(layer: MvmLayer) -> bool:
    """Tell whether a layer is a convolution whose groups have one input channel each, and more than one group."""
    return layer.conv is not None and layer.repeat > 1 and layer.inputs == layer.conv.kernel[0] * layer.conv.kernel[1]
