"""The MVM layers of the executor: each proven product as exact tensor arithmetic on whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.arithmetic import requantize
from mho.program.geometry import ConvGeometry, LinearGeometry, MatmulGeometry
from mho.program.instructions import Dequantize, LastStep, QuantizeInput, Requantize
from mho.program.layer_proof import LayerProduct
from mho.program.program import Program
from mho.simulation.byte_convolution import ByteConvolution, takes_bytes
from mho.simulation.byte_product import ByteProduct
from mho.simulation.contraction import PartialSums, Route, choose_route, contract
from mho.simulation.quantize_input import quantize, quantize_to_bytes


class LayerRunner(Protocol):
    """Runs one layer on a batch: `sources` name its operands, `output` what it makes."""

    route: Route
    sources: tuple[str, ...]
    output: str

    def run(self, operands: list[Tensor]) -> Tensor:
        """Take float32 tensors [N, *S], return float32 [N, *output shape]."""


def make_runner(program: Program, product: LayerProduct) -> LayerRunner:
    """Make what runs the layer that `product` was proven to be."""
    if isinstance(product.geometry, ConvGeometry):
        return ConvRunner(program, product, product.geometry)
    if isinstance(product.geometry, LinearGeometry):
        return LinearRunner(program, product)
    return MatmulRunner(program, product, product.geometry)


def _quantize(x: Tensor, item: QuantizeInput, shift: int) -> Tensor:
    """Return the codes of `x` less `shift`, whole numbers in float32."""
    integers = quantize(item, x)
    return integers if item.offset == shift else integers.add_(item.offset - shift)


def _codes(item: QuantizeInput) -> tuple[int, int]:
    """Return the smallest and largest code."""
    return item.qmin + item.offset, item.qmax + item.offset


def _reach(item: QuantizeInput, shift: int) -> tuple[int, int]:
    """Return the smallest and largest code less `shift`, the border's and 0 included."""
    codes = (item.qmin, item.qmax, item.zero_point)
    return min(0, min(codes) + item.offset - shift), max(0, max(codes) + item.offset - shift)


class _LastStep(Protocol):
    """What becomes of totals."""

    is_exact: bool

    def apply(self, total: Tensor) -> Tensor:
        """Return the output of totals, exact or rounded to float32."""


def _last_step(program: Program, item: LastStep, shape: tuple[int, ...]) -> _LastStep:
    return _Requantizing(program, item, shape) if isinstance(item, Requantize) else _Scaling(program, item, shape)


class _Requantizing:
    """Of an integer-only digital unit: int64 totals to integers."""

    is_exact = True

    def __init__(self, program: Program, item: Requantize, shape: tuple[int, ...]) -> None:
        self._item = item
        self._multipliers, self._offsets = (
            _tensor(program.constants[name]).to(torch.int64).reshape(shape) for name in (item.multiplier, item.offset)
        )

    def apply(self, total: Tensor) -> Tensor:
        return requantize.requantize(total, self._multipliers, self._offsets, self._item)


class _Scaling:
    """The last step: float32 totals times multipliers, plus a bias, each rounded."""

    is_exact = False

    def __init__(self, program: Program, item: Dequantize, shape: tuple[int, ...]) -> None:
        self.multiplier = _tensor(program.constants[item.multiplier]).reshape(shape)
        bits = self.multiplier.view(torch.int32).reshape(-1)
        if bool((bits == bits[0]).all()):
            self.multiplier = self.multiplier.reshape(-1)[:1].clone()
        self.bias = _tensor(program.constants[item.bias]).reshape(shape) if item.bias else None

    def apply(self, total: Tensor) -> Tensor:
        """Scale `total` in place."""
        total.mul_(self.multiplier)
        return total if self.bias is None else total.add_(self.bias)


class _StaticLayer:
    """What layers with weights share: the recovered matrix for inputs less the code of zero, its route and residual."""

    def __init__(self, program: Program, product: LayerProduct) -> None:
        self.input = product.input
        self.sources: tuple[str, ...] = (product.input.source,)
        self.output = product.dequantize.target
        self.zero = product.input.zero_point + product.input.offset
        assert product.matrix is not None
        self.matrix = product.matrix
        self.correction = program.constants[product.dequantize.correction]
        sums = self.matrix.sum(axis=2, dtype=np.float64).astype(np.int64)
        residual = self.correction + self.zero * sums
        self.residual = torch.from_numpy(residual) if residual.any() else None
        self.target = program.buffers[product.dequantize.target].shape

    def choose_route(self, matrix: NDArray[np.float32], layer: str, *, may_split: bool = True) -> Route:
        """Choose how `matrix` [outputs, inputs, kernel] is multiplied exactly."""
        return choose_route(PartialSums.of_matrix(matrix, *_reach(self.input, self.zero)), layer, may_split=may_split)


class ConvRunner(_StaticLayer):
    """A convolution."""

    def __init__(self, program: Program, product: LayerProduct, geometry: ConvGeometry) -> None:
        super().__init__(program, product)
        self.geometry = geometry
        per_group = geometry.channels // geometry.groups
        matrix = self.matrix.reshape(geometry.outputs, per_group, -1)
        kernels = self.matrix.reshape(geometry.outputs, per_group, *geometry.kernel)
        self.scaling = _last_step(program, product.dequantize, (1, geometry.outputs, 1, 1))
        is_exact = self.scaling.is_exact or self.residual is not None
        self._of_bytes: ByteConvolution | None = None
        if takes_bytes(matrix, _codes(self.input), self.zero, is_exact=is_exact):
            self.route = Route(torch.uint8, (0, per_group))
            self._of_bytes = ByteConvolution(kernels, geometry, self.zero)
        else:
            self.route = self.choose_route(matrix, product.name, may_split=geometry.groups == 1)
            floats = torch.from_numpy(kernels)
            self._kernels = {
                part.start: floats[:, part].to(self.route.dtype).contiguous() for part in self.route.parts()
            }
            # A sum of nothing but -0 is -0 in floating point; adding +0 makes it the integer's +0.
            self._zeros = torch.zeros(geometry.outputs, dtype=self.route.dtype)
        del self.matrix
        if self.residual is not None:
            self.residual = self.residual.reshape(1, -1, 1, 1)
        top, left, bottom, right = geometry.pads
        self._border = (left, right, top, bottom) if (top, left) != (bottom, right) else None
        self._padding = (0, 0) if self._border else (top, left)

    def run(self, operands: list[Tensor]) -> Tensor:
        """Take [N, B, C, H, W], return [N, B, O, oh, ow]; products of bytes leave channels last in memory."""
        x = operands[0].flatten(0, 1)
        product = self._multiply_floats(x) if self._of_bytes is None else self._multiply_bytes(x, self._of_bytes)
        total = contract(self.route, product, self.residual, is_exact=self.scaling.is_exact)
        return self.scaling.apply(total).unflatten(0, (-1, self.geometry.batch))

    def _multiply_bytes(self, x: Tensor, convolution: ByteConvolution) -> Callable[[slice], Tensor]:
        codes = quantize_to_bytes(self.input, x.contiguous(memory_format=torch.channels_last))
        return lambda _: convolution.run(codes)

    def _multiply_floats(self, x: Tensor) -> Callable[[slice], Tensor]:
        x = _quantize(x.contiguous(), self.input, self.zero)
        if self._border:
            x = functional.pad(x, self._border)
        x = x.to(self.route.dtype)

        def product(part: slice) -> Tensor:
            geometry = self.geometry
            channels = x if geometry.groups > 1 else x[:, part]
            return functional.conv2d(
                channels, self._kernels[part.start], self._zeros,
                geometry.strides, self._padding, geometry.dilations, geometry.groups,
            )  # fmt: skip

        return product


class LinearRunner(_StaticLayer):
    """A dense layer."""

    def __init__(self, program: Program, product: LayerProduct) -> None:
        super().__init__(program, product)
        matrix = self.matrix[0]
        self._of_bytes = ByteProduct.find(matrix, self.correction.reshape(-1), _codes(self.input))
        if self._of_bytes:
            self.route = Route(torch.uint8, (0, matrix.shape[1]))
            self.residual = None
        else:
            self.route = self.choose_route(matrix[:, :, None], product.name)
            self.weights = torch.from_numpy(matrix).to(self.route.dtype)
            self.zeros = torch.zeros(matrix.shape[0], dtype=self.route.dtype)
        del self.matrix
        if self.residual is not None:
            self.residual = self.residual.reshape(1, -1)
        self.scaling = _last_step(program, product.dequantize, (1, matrix.shape[0]))

    def run(self, operands: list[Tensor]) -> Tensor:
        """Take [N, ..., K], return [N, ..., outputs]."""
        x = operands[0].reshape(-1, operands[0].shape[-1])
        product = self._multiply_floats(x) if self._of_bytes is None else self._multiply_bytes(x, self._of_bytes)
        total = contract(self.route, product, self.residual, is_exact=self.scaling.is_exact)
        return self.scaling.apply(total).reshape(-1, *self.target)

    def _multiply_bytes(self, x: Tensor, product: ByteProduct) -> Callable[[slice], Tensor]:
        codes = quantize_to_bytes(self.input, x.contiguous())
        return lambda _: product.run(codes)

    def _multiply_floats(self, x: Tensor) -> Callable[[slice], Tensor]:
        x = _quantize(x, self.input, self.zero).to(self.route.dtype)
        return lambda part: functional.linear(x[:, part], self.weights[:, part], self.zeros)


class MatmulRunner:
    """A product of two activations.

    total = sum (v + A) u + f * sum u + s * sum v + c, with streamed codes u, stored integers v, the encoding's addend
    A, factors f and s and the correction c, is sum (v - a)(u - b) + (c - K a b) with a = -(A + f) and b = -s.
    """

    def __init__(self, program: Program, product: LayerProduct, geometry: MatmulGeometry) -> None:
        assert product.stored is not None
        dequantize = product.dequantize
        self.sources: tuple[str, ...] = (product.input.source, product.stored.source)
        self.output = dequantize.target
        self.input, self.stored, self.geometry = product.input, product.stored, geometry
        correction = program.constants[dequantize.correction].astype(np.int64)
        self.zero = -dequantize.stored_factor
        # It was proven that all outputs take sums of inputs alike.
        factor = int(program.constants[dequantize.sum_factors].flat[0]) if dequantize.sum_factors else 0
        self.stored_zero = -product.stored_addend - factor
        residual = correction - geometry.inputs * self.zero * self.stored_zero
        residual = residual[:, None, :]
        self.residual = torch.from_numpy(residual) if residual.any() else None
        low, high = _reach(self.input, self.zero)
        stored_low, stored_high = _reach(self.stored, self.stored_zero)
        largest = max(-low, high) * max(-stored_low, stored_high)
        terms = np.full((1, geometry.inputs), float(largest))
        self.route = choose_route(PartialSums(terms, terms, np.arange(geometry.inputs + 1)), product.name)
        self.scaling = _last_step(program, dequantize, (geometry.repeat, 1, geometry.outputs))
        self.target = program.buffers[dequantize.target].shape

    def run(self, operands: list[Tensor]) -> Tensor:
        """Take [N, ..., M, K] and [N, ..., K, outputs], return [N, ..., M, outputs]."""
        geometry, dtype = self.geometry, self.route.dtype
        u = _quantize(operands[0], self.input, self.zero).reshape(
            -1, geometry.repeat, geometry.positions_count, geometry.inputs
        )
        v = _quantize(operands[1], self.stored, self.stored_zero).reshape(
            -1, geometry.repeat, geometry.inputs, geometry.outputs
        )
        u, v = u.to(dtype), v.to(dtype)
        total = contract(
            self.route,
            lambda part: torch.matmul(u[..., part], v[..., part, :]).add_(0),
            self.residual,
            is_exact=self.scaling.is_exact,
        )
        return self.scaling.apply(total).reshape(-1, *self.target)


def _tensor(constant: NDArray[Any]) -> Tensor:
    """Return a tensor of its own (torch wants arrays that may be written to)."""
    return torch.from_numpy(np.array(constant))
