"""Keeps torch from trading exactness for speed while the executor multiplies whole numbers in floating point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FLOAT32_LIMIT = 1 << 24
"""Sums of whole numbers are exact in float32, in any order, where no partial sum passes this."""
FLOAT64_LIMIT = 1 << 53
"""The same for float64."""


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Within it, float32 products are IEEE products: no bfloat16, no TF32, no Winograd, no autocast, no gradients."""
    matmul, conv = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, conv.fp32_precision
    matmul.fp32_precision = conv.fp32_precision = "ieee"
    try:
        # NNPACK would transform small convolutions (Winograd).
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.backends.nnpack.flags(enabled=False),
        ):
            yield
    finally:
        matmul.fp32_precision, conv.fp32_precision = before
