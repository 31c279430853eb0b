"""Which layers the digital unit may compute instead of crossbars."""

from __future__ import annotations

from mho.hardware.mapping_rules import DigitalLayers
from mho.hardware.spec import Accelerator
from mho.network.layers import MvmLayer


def may_be_digital(layer: MvmLayer, accelerator: Accelerator) -> bool:
    """Tell whether the digital unit may compute a layer: where its time is specified, products of two activations, and
    the layers with weights that `mapping.digital_layers` allows.
    """
    if accelerator.digital.is_ideal:
        return False
    allowed = accelerator.mapping.digital_layers
    is_allowed = allowed is DigitalLayers.AUTO or (allowed is DigitalLayers.DEPTHWISE and is_depthwise(layer))
    return layer.is_stored_dynamically or is_allowed


def is_depthwise(layer: MvmLayer) -> bool:
    """Tell whether a layer is a convolution whose groups have one input channel each, and more than one group."""
    return layer.conv is not None and layer.repeat > 1 and layer.inputs == layer.conv.kernel[0] * layer.conv.kernel[1]
