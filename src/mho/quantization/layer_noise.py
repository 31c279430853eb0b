"""What array noise does to one layer while it trains: the interface between layers and arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from mho.quantization.mvm_products import Geometry


class LayerNoise(ABC):
    """What arrays do to one layer on one chip."""

    @abstractmethod
    def set_chip(self, chip: int) -> None:
        """Take another chip, whose seed is `chip`."""

    def observe(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> None:  # noqa: B027
        """See the operands of a product before it is computed: what depends on data follows from them.

        Args: as for `residual`.
        """

    @abstractmethod
    def weights(self, integers: Tensor) -> Tensor:
        """Return the integers that cells stand for, float32, of centred integers of the stored operand.

        These are [outputs, ...] of weights, or [N, ..., K, P] of an activation, which is written for each sample.
        """

    @abstractmethod
    def residual(self, streamed: Tensor, integers: Tensor, geometry: Geometry, offset: int) -> Tensor | None:
        """Return what results have beyond the product with `weights`, in integers; None for nothing.

        Args:
            streamed: centred integers of the streamed operand.
            integers: of the stored one, as given to `weights`.
            geometry: of the product.
            offset: added to `streamed`, it gives codes.
        """

    def passed(self) -> Tensor | None:
        """Return which share of each result of the last `residual` was not clipped, float32 0..1; None for all."""
        return None

    def clear_ranges(self) -> None:  # noqa: B027 - ideal ADCs have none
        """Find ranges of calibrated ADCs anew at the next product."""
