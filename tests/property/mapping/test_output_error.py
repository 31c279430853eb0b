"""The predicted error of a mapping is that of sampled arrays, for all encodings, windows and slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from accelerators import make_accelerator
from mapped_networks import conv
from random_mappings import random_mapping
from random_networks import SeededChooser
from sampled_errors import sample_error

from mho.hardware.spec import Encoding
from mho.mapping.output_error import mapping_error
from mho.network.layers import MvmLayer
from mho.policy import BitWidths

LAYERS = (conv("conv", 4, 3, 5), conv("depthwise", 1, 1, 5, repeat=6), MvmLayer("linear", "linear", 16, 40, 1, 1))

DEVICES: dict[str, dict[str, Any]] = {
    "writes": {"array": {"programming_error": 0.002}},
    "reads": {"array": {"read_noise": 0.05}},
    "variation": {"array": {"cell_variation": 0.02, "on_off_ratio": 100}},
    "drift": {"array": {"drift_exponent": 0.05, "drift_exponent_std": 0.02}, "mapping": {"elapsed_s": 86_400}},
    "dacs": {"converters": {"dac_bits": 3, "dac_inl_lsb": 0.5}},
}


@pytest.mark.parametrize("device", DEVICES)
def test_predicted_errors_are_those_of_sampled_arrays(device: str) -> None:
    chooser, ratios = SeededChooser(3), []
    for encoding in Encoding:
        for _ in range(2):
            predicted, sampled = _compare(chooser, device, encoding)
            if predicted < 1:  # beyond, an output is all error
                ratios.append(predicted / sampled)
    assert len(ratios) >= 5
    assert 0.75 < np.median(ratios) < 1.35, ratios  # samples of small layers scatter by a third
    assert 0.4 < min(ratios) <= max(ratios) < 2.5, ratios


def _compare(chooser: SeededChooser, device: str, encoding: Encoding) -> tuple[float, float]:
    """Return the predicted and the sampled error of any mapping in an encoding."""
    content = {section: dict(values) for section, values in DEVICES[device].items()}
    dac_bits = content.get("converters", {}).pop("dac_bits", chooser.integer(1, 2))
    rules = content.setdefault("mapping", {})
    rules["allowed"] = {"encodings": sorted({"differential-columns", str(encoding)})}
    hardware = make_accelerator(
        rows=chooser.choice((32, 64)), cols=64, cell_bits=chooser.integer(1, 4), dac_bits=dac_bits, **content
    )
    layer, bits = chooser.choice(LAYERS), BitWidths(chooser.integer(2, 6), chooser.integer(2, 6))
    mapping = random_mapping(_Only(chooser, encoding), layer, bits, hardware)
    return mapping_error(mapping, hardware), sample_error(
        mapping, hardware, chips=3, images=3, seed=chooser.integer(0, 1000)
    )


class _Only:
    """Chooses one encoding, and all else by another chooser."""

    def __init__(self, chooser: SeededChooser, encoding: Encoding) -> None:
        self._chooser, self._encoding = chooser, encoding

    def integer(self, low: int, high: int) -> int:
        return self._chooser.integer(low, high)

    def choice(self, items: Any) -> Any:
        return self._encoding if self._encoding in items else self._chooser.choice(items)
