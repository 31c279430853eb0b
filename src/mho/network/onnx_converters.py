"""All converters by ONNX operation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mho.network import onnx_digital, onnx_movement, onnx_mvm, onnx_quantizers
from mho.network.onnx_graph import Converter

CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        **onnx_mvm.CONVERTERS,
        **onnx_digital.CONVERTERS,
        **onnx_movement.CONVERTERS,
        **onnx_quantizers.CONVERTERS,
    }
)
"""Every ONNX operation on activations that mho reads."""
