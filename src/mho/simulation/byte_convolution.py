"""Exact convolutions of bytes: codes 0 .. 255 with weights -128 .. 127, by oneDNN's integer kernels.

With VNNI they take a quarter of the time of float32, or less, and their tensors have channels last in memory. Sums are
whole numbers in int32, and each becomes float32 by one rounding to nearest even. Without VNNI these kernels add pairs
of products in 16 bits, which saturate: `mho.simulation.contraction` has the routes for other processors.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.arithmetic.limits import FLOAT32_LIMIT, INT32_LIMIT
from mho.array.integer_product import LARGEST_BYTE, are_bytes, has_fast_bytes
from mho.program.geometry import ConvGeometry
from mho.simulation.contraction import PartialSums


def takes_bytes(matrix: NDArray[np.float32], codes: tuple[int, int], zero: int, *, is_exact: bool) -> bool:
    """Tell whether a layer's products can be taken of bytes here, exactly.

    Args:
        matrix: whole numbers [outputs, inputs of a group, kernel].
        codes: smallest and largest code.
        zero: the code that stands for 0.
        is_exact: whether the totals are needed as they are, not rounded to float32.
    """
    if not (are_bytes(matrix, (*codes, zero)) and has_byte_convolutions()):
        return False
    sums = PartialSums.of_matrix(matrix, 0, LARGEST_BYTE)
    # What is taken off for a zero that is not code 0 may be added before or after the rounding: then none may be left.
    return sums.largest(np.zeros(1, np.int64)) < (FLOAT32_LIMIT if is_exact or zero else INT32_LIMIT)


class ByteConvolution:
    """Convolves codes less the code of zero with one layer's weights."""

    def __init__(self, kernels: NDArray[Any], geometry: ConvGeometry, zero: int) -> None:
        """Take the weights of a layer that `takes_bytes`.

        Args:
            kernels: whole numbers [outputs, channels of a group, height, width].
            geometry: of the layer.
            zero: the code that stands for 0, and with which borders are padded.
        """
        self._kernels = torch.from_numpy(kernels.astype(np.int8))
        self._zero = zero
        self._ones = torch.ones(geometry.outputs)
        self._zeros = torch.zeros(geometry.outputs, dtype=torch.int32)
        # Some of oneDNN's kernels are wrong, or read outside their input, where windows lie in borders that they pad
        # themselves, and where the only window of a row has a stride: they get no borders and no such strides.
        top, left, bottom, right = geometry.pads
        self._border = left, right, top, bottom
        self._read = [
            stride * (windows - 1) + dilation * (kernel - 1) + 1
            for stride, windows, dilation, kernel in zip(
                geometry.strides, geometry.out_size, geometry.dilations, geometry.kernel, strict=True
            )
        ]
        strides = [
            1 if windows == 1 else stride for stride, windows in zip(geometry.strides, geometry.out_size, strict=True)
        ]
        self._where = strides, [0, 0], list(geometry.dilations), geometry.groups
        self._packed: dict[int, Tensor] = {}

    def run(self, codes: Tensor) -> Tensor:
        """Take uint8 [n, C, H, W] with channels last in memory, return float32 [n, O, oh, ow], too."""
        if any(self._border):
            codes = functional.pad(codes, self._border, value=self._zero)
        codes = codes[:, :, : self._read[0], : self._read[1]].contiguous(memory_format=torch.channels_last)
        result: Tensor = torch.ops.onednn.qconv_pointwise(
            codes, 1.0, self._zero, self._pack(codes), self._ones, self._zeros, None, *self._where,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return result

    def _pack(self, codes: Tensor) -> Tensor:
        """Return the weights in the order that the kernel for this many samples reads."""
        samples = len(codes)
        if samples not in self._packed:
            packed = torch.ops.onednn.qconv_prepack(
                self._kernels, self._ones, 1.0, self._zero, *self._where, list(codes.shape)
            )
            self._packed = {samples: packed}
        return self._packed[samples]


@cache
def has_byte_convolutions() -> bool:
    """Tell whether oneDNN's convolutions of bytes are fast here, and right: with the largest bytes, in all their forms.

    A setting such as ONEDNN_MAX_CPU_ISA may keep VNNI from being used where there is VNNI, and other versions of torch
    may have other operators, or take other arguments: then there are none.
    """
    found = all(hasattr(torch.ops.onednn, name) for name in ("qconv_prepack", "qconv_pointwise"))
    if not (found and has_fast_bytes()):
        return False
    forms = [(channels, groups, kernel, zero) for channels, groups in ((3, 1), (64, 1), (64, 64), (64, 4))
             for kernel in (1, 3) for zero in (0, 114)]  # fmt: skip
    try:
        return all(_is_right(*form) for form in forms)
    except (RuntimeError, TypeError, ValueError):
        return False


def _is_right(channels: int, groups: int, kernel: int, zero: int) -> bool:
    """Convolve extreme and mixed bytes, and compare with float64, in which sums are exact."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (4, channels, 7, 7), generator=generator).to(torch.uint8)
    weights = torch.randint(-128, 128, (64, channels // groups, kernel, kernel), generator=generator).to(torch.int8)
    codes[:2], weights[:16], weights[16:32] = LARGEST_BYTE, 127, -128
    pad = kernel // 2
    geometry = ConvGeometry(
        batch=1, channels=channels, height=7, width=7, outputs=64, kernel=(kernel, kernel), strides=(1, 1),
        pads=(pad, pad, pad, pad), dilations=(1, 1), groups=groups,
    )  # fmt: skip
    convolution = ByteConvolution(weights.numpy(), geometry, zero)
    totals = convolution.run(codes.contiguous(memory_format=torch.channels_last))
    right = functional.conv2d(codes.double() - zero, weights.double(), None, 1, pad, 1, groups)
    return torch.equal(totals, right.to(torch.float32))
