"""What is derived from a layer, once for all layers that are mapped alike: of one shape, under one rule."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from mho.hardware.spec import Accelerator
from mho.mapping.digital_layers import rules_of
from mho.network.layers import MvmLayer

Value = TypeVar("Value")


class LayerCache(Generic[Value]):
    """Values of the layers of one network on one accelerator.

    Args:
        accelerator: the hardware.
        derive: gives the value of a layer without its name, on hardware with its rule (`rules_of`), and of whatever
            else the value depends on.
    """

    def __init__(self, accelerator: Accelerator, derive: Callable[..., Value]) -> None:
        self._accelerator, self._derive = accelerator, derive
        self._named: dict[tuple[Hashable, ...], Value] = {}
        self._alike: dict[tuple[Hashable, ...], Value] = {}

    def get(self, layer: MvmLayer, *key: Hashable) -> Value:
        """Return the value of a layer, which its name identifies, and of the rest of the key."""
        place = (layer.name, *key)
        if place not in self._named:
            self._named[place] = self.of_alike(layer.without_name(), rules_of(self._accelerator, layer.name), *key)
        return self._named[place]

    def of_alike(self, layer: MvmLayer, hardware: Accelerator, *key: Hashable) -> Value:
        """Return the value of a layer without its name on hardware with its rule."""
        place = (layer, hardware.mapping.digital_layers, *key)
        if place not in self._alike:
            self._alike[place] = self._derive(layer, hardware, *key)
        return self._alike[place]
