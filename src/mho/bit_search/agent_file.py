"""A saved agent: its networks and what it knows of sensitivities, to start a search elsewhere where it left off.

What an evaluation teaches does not depend on the accelerator: on the same network, sensitivities hold as they are. On
another network those of its layers are predicted from the features of layers (`bit_search.layer_features`): each from
the layers of the saved network that are most like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mho.bit_search.layer_features import LAYER_FEATURES
from mho.bit_search.learners import Algorithm
from mho.bit_search.operands import BITS, WITH_ADC
from mho.bit_search.sensitivity import UNKNOWN_STD, FloatArray, SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.errors import InputFileError, file_errors
from mho.policy import MAX_BITS
from mho.quantization.tensor_files import read_tensors, write_tensors

FORMAT, VERSION = "mho-search-agent", 1
NEIGHBOURHOOD = 0.25
"""Distance between features (each 0..1) at which one layer tells exp(-1/2) of what it would tell of itself."""
_NETWORK = "network:"
_LARGEST = 100
"""Of features (0..1), logarithms of sensitivities and their deviations; what is learned stays far below."""
_SAME_STD, _SLOPE_STD = 0.2, 0.1
"""What may differ where the same network is searched again: other budgets and trainings."""
_LIKE_STD, _LIKE_SLOPE_STD = 0.4, 0.3


@dataclass(frozen=True, eq=False)
class SavedAgent:
    """What an agent has learned.

    Attributes:
        algorithm: how it learned.
        networks: weights by name.
        layer_names: of the network that it learned on, in execution order.
        features: float32 [layers, features] of these layers.
        log_sensitivities, deviations: float64 [layers, operands], see `mho.bit_search.sensitivity.SensitivityModel`.
        profiles: float64 [operands, 8].
        evaluations: how many policies it learned from.
    """

    algorithm: Algorithm
    networks: Mapping[str, Tensor]
    layer_names: tuple[str, ...]
    features: NDArray[np.float32]
    log_sensitivities: FloatArray
    deviations: FloatArray
    profiles: FloatArray
    evaluations: int

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically. Raises `InputFileError` where it cannot be written."""
        tensors = {_NETWORK + name: tensor for name, tensor in self.networks.items()}
        tensors |= {name: torch.from_numpy(np.array(getattr(self, name))) for name in _ARRAYS}
        description = {
            "format": FORMAT,
            "version": VERSION,
            "algorithm": str(self.algorithm),
            "layers": list(self.layer_names),
            "evaluations": self.evaluations,
        }
        with file_errors(path, "cannot be written"):
            write_tensors(Path(path), tensors, description)

    @classmethod
    def load(cls, path: str | Path) -> SavedAgent:
        """Read a file that `save` wrote.

        Raises:
            InputFileError: missing, damaged, of another version, or no agent.
        """
        tensors, description = read_tensors(Path(path))
        _check_description(description, str(path))
        names, layers = tuple(description["layers"]), len(description["layers"])

        def read(name: str, columns: tuple[int, int]) -> FloatArray:
            tensor = tensors.get(name)
            if tensor is None or tuple(tensor.shape) != columns or not bool((tensor.abs() <= _LARGEST).all()):
                raise InputFileError(
                    f"{name!r} is missing or damaged",
                    where=str(path),
                    expected=f"numbers {list(columns)}, none beyond {_LARGEST}",
                )
            return tensor.numpy().astype(np.float64)

        profiles = tensors.get("profiles")
        has_adc = profiles is not None and len(profiles) == len(WITH_ADC)
        operands = len(WITH_ADC if has_adc else BITS)
        deviations = read("deviations", (layers, operands))
        if (deviations <= 0).any():
            raise InputFileError("a deviation is not above 0", where=str(path))
        return cls(
            Algorithm(description["algorithm"]),
            {name[len(_NETWORK) :]: tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)},
            names,
            read("features", (layers, len(LAYER_FEATURES))).astype(np.float32),
            read("log_sensitivities", (layers, operands)),
            deviations,
            read("profiles", (operands, MAX_BITS)),
            description["evaluations"],
        )

    def prior_for(self, space: SearchSpace) -> SensitivityPrior:
        """Return what the agent knows of the layers of a space: of its own network, or of one that is like it."""
        is_same = space.layer_names == self.layer_names and np.array_equal(space.features, self.features)
        if is_same:
            stds = np.sqrt(self.deviations**2 + _SAME_STD**2)
            source = f"an agent of the same network ({self.evaluations} evaluations)"
            return SensitivityPrior(self.log_sensitivities, stds, 1.0, _SLOPE_STD, self.profiles, source)
        distances = np.linalg.norm(space.features[:, None] - self.features[None], axis=2) / NEIGHBOURHOOD
        kernel = np.exp(-(distances**2) / 2)  # [layers, saved layers]
        weights = kernel / np.maximum(kernel.sum(axis=1, keepdims=True), 1e-12)
        offsets = self.log_sensitivities - self.log_sensitivities.mean()
        predicted = weights @ offsets
        spread = np.sqrt(weights @ self.deviations**2 + weights @ offsets**2 - predicted**2 + _LIKE_STD**2)
        # A layer that is like none of the saved ones is as unknown as without an agent.
        near = np.minimum(kernel.max(axis=1, keepdims=True), 1.0)
        stds = near * np.minimum(spread, UNKNOWN_STD) + (1 - near) * UNKNOWN_STD
        source = f"an agent of another network ({self.evaluations} evaluations)"
        return SensitivityPrior(near * predicted, stds, 1.0, _LIKE_SLOPE_STD, self.profiles, source)


_ARRAYS = ("features", "log_sensitivities", "deviations", "profiles")


def _check_description(description: Mapping[str, Any], where: str) -> None:
    if description.get("format") != FORMAT:
        raise InputFileError("not a saved agent", where=where, hint="mho search --save-agent writes one")
    if description.get("version") != VERSION:
        raise InputFileError(f"version {description.get('version')!r}", where=where, expected=f"version {VERSION}")
    layers, evaluations = description.get("layers"), description.get("evaluations")
    if not isinstance(layers, list) or not layers or not all(isinstance(name, str) for name in layers):
        raise InputFileError("the layers are missing or damaged", where=where)
    if description.get("algorithm") not in list(Algorithm) or not isinstance(evaluations, int):
        raise InputFileError(
            f"algorithm {description.get('algorithm')!r} or the number of evaluations is damaged", where=where
        )
