"""A layer on arrays whose channels are corrected on each chip: the noise that is left for training.

`mho.simulation.recalibration` gives every channel the mean and the standard deviation that it has where all layers
compute exactly. Here both follow from the batch of a step: it runs once exactly, and then on the chip. What is common
to a channel, such as drift, then costs nothing, and training learns to tolerate the rest. Without this, training for a
chip that is corrected later meets errors that the finished network never does.
"""

from __future__ import annotations

from torch import Tensor

from mho.quantization.channel_statistics import measure_channels, scale_to
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.mvm_products import Geometry, multiply


class RecalibratedNoise(LayerNoise):
    """See the module.

    Args:
        noise: what arrays do without the correction.

    Attributes:
        is_exact: compute exactly, and see how each channel is distributed; for the batch that follows on the chip.
    """

    def __init__(self, noise: LayerNoise) -> None:
        self.noise, self.is_exact = noise, False
        self._stood_for: Tensor | None = None
        self._wanted: list[tuple[Tensor, Tensor]] = []
        self._next = 0

    def set_chip(self, chip: int) -> None:
        """Take another chip, and forget the distributions of channels."""
        self.noise.set_chip(chip)
        self._wanted, self._next = [], 0

    def clear_ranges(self) -> None:
        """Find ranges of calibrated ADCs anew at the next product."""
        self.noise.clear_ranges()

    def observe(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> None:
        """See the operands of a product before it is computed."""
        if not self.is_exact:
            self.noise.observe(streamed, integers, geometry, offset)

    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers that cells stand for."""
        self._stood_for = integers if self.is_exact else self.noise.weights(integers)
        return self._stood_for

    def passed(self) -> Tensor | None:
        """Return which share of each result of the last `residual` was not clipped; None for all."""
        return None if self.is_exact else self.noise.passed()

    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor | None:
        """Return what corrected results have beyond the product with `weights`."""
        assert self._stood_for is not None, "weights come first"
        product = multiply(streamed, self._stood_for, None, geometry)
        if self.is_exact:
            self._wanted.append(measure_channels(product, geometry))
            return None
        added = self.noise.residual(streamed, integers, geometry, offset)
        on_chip = product if added is None else product + added
        found, found_mean = measure_channels(on_chip, geometry)
        wanted, wanted_mean = self._wanted[self._next] if self._wanted else (found, found_mean)
        self._next = (self._next + 1) % max(1, len(self._wanted))  # a layer may be used several times
        return (on_chip - found_mean).mul_(scale_to(wanted, found)).add_(wanted_mean).sub_(product)
