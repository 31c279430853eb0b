"""Keeps torch from trading exactness for speed while whole numbers are multiplied in floating point."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Within it, float32 products are IEEE products: no bfloat16, no TF32, no Winograd, no autocast, no gradients."""
    # Before torch 2.9 these settings do not exist, and only the matrix product had a lower precision.
    found = (getattr(torch.backends.mkldnn, name, None) for name in ("matmul", "conv"))
    settings: list[Any] = [setting for setting in found if hasattr(setting, "fp32_precision")]
    before = [setting.fp32_precision for setting in settings]
    precision = None if settings else torch.get_float32_matmul_precision()
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        if precision is not None:
            torch.set_float32_matmul_precision("highest")
        # NNPACK would transform small convolutions (Winograd).
        with (
            torch.inference_mode(),
            torch.autocast("cpu", enabled=False),
            torch.backends.nnpack.flags(enabled=False),
        ):
            yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
