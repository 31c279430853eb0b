"""How much work calibration puts into a network, in one word."""

from __future__ import annotations

from typing import Literal, get_args

from mho.errors import ConfigError, suggest

Effort = Literal["fast", "good", "best"]
"""`fast`: steps of least squared error and corrected biases (`mho.quantization.calibration`). `good`: `quantize`
scales channels of activations (`mho.quantization.smoothing`), and rounding is learned, layer by layer
(`mho.quantization.reconstruction`). `best`: then whole blocks are fitted (`mho.quantization.block_fitting`)."""

EFFORTS: tuple[Effort, ...] = get_args(Effort)
DEFAULT_EFFORT: Effort = "fast"


def parse_effort(text: str) -> Effort:
    """Return the effort of that name. Raises `ConfigError`."""
    for effort in EFFORTS:
        if effort == text:
            return effort
    raise ConfigError(f"effort is {text!r}", expected=" or ".join(EFFORTS), hint=suggest(text, EFFORTS))
