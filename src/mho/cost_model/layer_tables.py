"""Layer tables of networks by name or file, kept between runs, so that costing a known network needs no framework.

Exporting a torch module takes seconds; its layer table is a few kilobytes. A kept table is used only for the same
network, input shape, library versions and the same code of mho; one that does not read back is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import MhoError
from mho.input_files import read_file, read_json
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import BitWidths, Policy

_FORMAT = 3
_LIBRARIES = ("torch", "torchvision", "onnx", "onnx-ir", "onnxscript", "numpy")
_DERIVING_PACKAGES = ("mho.network", "mho.models", "mho.arithmetic")
_EXTERNAL_DATA_MARK = b"location"
"""Key with which an ONNX file names the files that hold its arrays."""


@dataclass(frozen=True)
class LayerTable:
    """The MVM layers of a network in execution order.

    Attributes:
        layers: what the network has; may be empty.
        policy: the widths that the network itself has, where it is quantized.
        note: what the user should know about the cache, or nothing.
    """

    layers: tuple[MvmLayer, ...]
    policy: Policy | None = None
    note: str = ""


def load_layer_table(spec: str, *, input_shape: tuple[int, ...] | None, cache: Path | None) -> LayerTable:
    """Derive the layer table of a network, or take it from the cache.

    Args:
        spec: an ONNX file, ``torchvision:NAME`` or a name of `mho.models`.
        input_shape: of one sample; None for the network's own.
        cache: folder to keep tables in; None keeps nothing.

    Raises:
        MhoError: the network cannot be found or read.
    """
    key = _cache_key(spec, input_shape) if cache is not None else None
    if cache is None or key is None:
        return _derive(spec, input_shape)
    path = cache / "layer-tables" / f"{hashlib.sha256(_to_bytes(key)).hexdigest()}.json"
    if (kept := _read(path, key)) is not None:
        return kept
    table = _derive(spec, input_shape)
    try:
        write_atomically(path, _to_bytes(_to_content(table, key)))
    except OSError as error:
        return replace(table, note=f"the layer table could not be kept in {cache}: {error.strerror}")
    return table


def _derive(spec: str, input_shape: tuple[int, ...] | None) -> LayerTable:
    from mho.network.loading import load_network

    network = load_network(spec, input_shape=input_shape)
    return LayerTable(derive_layer_table(network), network_policy(network))


def network_policy(network: Network) -> Policy | None:
    """Return the widths that a quantized network has; None where a layer is float.

    Raises:
        PolicyError: a layer has widths that no policy can name, such as 12.
    """
    widths: dict[str, BitWidths] = {}
    for node in network.mvm_nodes:
        if node.quantization is None:
            return None
        widths[node.name] = BitWidths(node.quantization.weight.bits, node.quantization.input.bits)
    return Policy(widths) if widths else None


def _cache_key(spec: str, input_shape: tuple[int, ...] | None) -> dict[str, Any] | None:
    """Return everything that a layer table depends on; None where that is not known."""
    if os.path.isfile(spec):  # noqa: PTH113 - unlike Path.is_file, takes names that no file can have
        content = read_file(spec, expected="an ONNX file")
        if _EXTERNAL_DATA_MARK in content:
            return None
        spec = f"{Path(spec).name}, sha256 {hashlib.sha256(content).hexdigest()}"
    elif ":" in spec and not spec.startswith("torchvision:"):
        return None
    return {
        "format": _FORMAT,
        "spec": spec,
        "input_shape": list(input_shape) if input_shape is not None else None,
        "versions": {name: _version(name) for name in _LIBRARIES},
        "code": _code_hash(),
    }


@cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


@cache
def _code_hash() -> str:
    """Hash the code that derives layer tables: another version of it may derive another table."""
    code = hashlib.sha256()
    for package in _DERIVING_PACKAGES:
        for path in sorted(Path(str(files(package))).glob("*.py")):
            code.update(f"{package}/{path.name}\n".encode() + path.read_bytes())
    return code.hexdigest()


def _to_content(table: LayerTable, key: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        "layers": [layer.to_json() for layer in table.layers],
        "policy": table.policy.to_json() if table.policy is not None else None,
    }
    return {"key": key, "sha256": hashlib.sha256(_to_bytes(kept)).hexdigest(), **kept}


def _read(path: Path, key: Mapping[str, Any]) -> LayerTable | None:
    """Return the kept table; None where there is none or it is damaged."""
    try:
        content = read_json(path, expected="a layer table")
        layers = tuple(MvmLayer.from_json(layer) for layer in content["layers"])
        policy = content["policy"]
        table = LayerTable(layers, Policy.from_json(policy) if policy is not None else None)
    except (ValueError, KeyError, TypeError, MhoError):
        return None
    return table if content == _to_content(table, key) else None


def _to_bytes(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
