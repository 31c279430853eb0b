"""How much work calibration puts into a network, in one word, and what each word stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from mho.errors import ConfigError, suggest

Effort = Literal["fast", "good", "best"]
"""How much work; `steps_of` says which steps that is."""

EFFORTS: tuple[Effort, ...] = get_args(Effort)
DEFAULT_EFFORT: Effort = "fast"


@dataclass(frozen=True)
class EffortSteps:
    """What an effort does beyond steps of least squared error and corrected biases (`mho.quantization.calibration`).

    Attributes:
        smooths: where a network is quantized in one call, channels of its activations are scaled first
            (`mho.quantization.smoothing`).
        fits_layers: every layer is fitted to what the float network's layer gives, in order of execution
            (`mho.quantization.reconstruction`).
        descent_steps: then every block of layers is fitted, by so many steps of gradient descent
            (`mho.quantization.block_fitting`); 0: blocks are not fitted. Needs `fits_layers`.
    """

    smooths: bool = False
    fits_layers: bool = False
    descent_steps: int = 0

    def __post_init__(self) -> None:
        if self.descent_steps < 0 or (self.descent_steps and not self.fits_layers):
            raise ValueError(f"descent_steps is {self.descent_steps}; expected 0 or more, 0 where no layer is fitted")

    @property
    def fits_blocks(self) -> bool:
        """Whether blocks of layers are fitted."""
        return self.descent_steps > 0


_STEPS: Mapping[Effort, EffortSteps] = MappingProxyType(
    {
        "fast": EffortSteps(),
        "good": EffortSteps(smooths=True, fits_layers=True),
        "best": EffortSteps(smooths=True, fits_layers=True, descent_steps=200),
    }
)


def steps_of(effort: Effort) -> EffortSteps:
    """Return what an effort does."""
    return _STEPS[effort]


def effort_key(effort: Effort) -> dict[str, Any]:
    """Return what cached results depend on through the effort, as JSON; nothing for the default."""
    return {} if effort == DEFAULT_EFFORT else {"effort": effort}


def parse_effort(text: str) -> Effort:
    """Return the effort of that name. Raises `ConfigError`."""
    for effort in EFFORTS:
        if effort == text:
            return effort
    raise ConfigError(f"effort is {text!r}", expected=" or ".join(EFFORTS), hint=suggest(text, EFFORTS))
