"""What arrays do to the layers of networks by the statistical model, kept for all policies that have a layer in common.

Where weights lie and the moments of their cells depend on widths alone. Errors of converters depend on weights too, and
are measured on inputs of the network as it was before it was trained: so they do not depend on other layers' widths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from mho.array.conductances import Conditions
from mho.data.dataset import Split
from mho.errors import PolicyError
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.array_noise import ArrayNoise, NoiseMethod
from mho.quantization.converter_errors import count_samples
from mho.quantization.modules import MvmModule
from mho.quantization.mvm_products import Geometry
from mho.quantization.qat import TrainableNetwork
from mho.quantization.quantizers import Quantizer
from mho.quantization.statistical_noise import StatisticalNoise

_Key = tuple[str, BitWidths, LayerArrays | None, bytes]

_MOST_WEIGHTS = 1 << 23
"""Of the layers that are kept for other policies: each takes some 70 bytes, on all virtual chips together."""


class StatisticalLayers:
    """Layers of one network on arrays, by name, widths, where they lie, and weights."""

    def __init__(
        self,
        hardware: Accelerator,
        conditions: Conditions,
        seen: Split,
        list_arrays: Callable[[Network, Policy], dict[str, LayerArrays]],
        seed: int,
    ) -> None:
        """Prepare.

        Args:
            hardware: cells, wires and converters.
            conditions: when and how cells are read.
            seen: samples that errors of converters are measured on.
            list_arrays: tells where the weights of a network lie, the same object wherever a layer lies in the same way
                (`mho.evaluation.machine_arrays`).
            seed: of the chip that they are measured on.
        """
        self._hardware, self._conditions, self._seen = hardware, conditions, seen
        self._list_arrays, self._seed = list_arrays, seed
        self._inputs: dict[str, tuple[Tensor, ...]] = {}
        self._layers: dict[_Key, StatisticalNoise | None] = {}

    def find(self, trainable: TrainableNetwork) -> dict[str, StatisticalNoise]:
        """Return what arrays do to each layer of a network; layers on which they do nothing are left out.

        Raises:
            PolicyError: the network is in float.
            MhoError: it cannot be mapped.
        """
        if trainable.policy is None:
            raise PolicyError("the network is in float", expected="a policy for every layer")
        modules = trainable.mvm_modules
        widths = {name: trainable.policy[name] for name in modules}
        arrays = self._list_arrays(trainable.network, Policy(widths))
        keys = {name: (name, bits, arrays.get(name), _digest(modules[name])) for name, bits in widths.items()}
        if any(key not in self._layers for key in keys.values()):
            self._add_layers(trainable, arrays, keys)
        found = {name: self._layers[key] for name, key in keys.items()}
        self._keep_latest(keys.values(), {name: module.weight for name, module in modules.items()})
        return {name: layer for name, layer in found.items() if layer is not None}

    def _keep_latest(self, used: Iterable[_Key], weights: Mapping[str, Tensor | None]) -> None:
        """Forget the layers that were used longest ago, where those that are kept have too many weights."""
        for key in used:
            self._layers[key] = self._layers.pop(key)
        left = _MOST_WEIGHTS
        for key in reversed(tuple(self._layers)):
            stored = weights[key[0]]
            left -= 0 if stored is None or self._layers[key] is None else stored.numel()
            if left < 0:
                del self._layers[key]

    def _add_layers(
        self, trainable: TrainableNetwork, arrays: Mapping[str, LayerArrays], keys: Mapping[str, _Key]
    ) -> None:
        """Find out what arrays do to layers that are new, and measure the errors of their converters."""
        noise = ArrayNoise(
            self._hardware, arrays, conditions=self._conditions, method=NoiseMethod.STATISTICAL, trains=False
        )
        with torch.no_grad(), noise.on(trainable):
            for name, key in keys.items():
                if key in self._layers:
                    continue
                layer = noise.layers.get(name)
                assert layer is None or isinstance(layer, StatisticalNoise), "the method makes no other"
                self._layers[key] = layer
                if layer is not None and layer.has_meter:
                    if not self._inputs:
                        self._inputs = _record_inputs(trainable.network, self._seen, arrays)
                    layer.set_chip(self._seed)
                    _measure(trainable.mvm_modules[name], layer, self._inputs[name])


def _measure(module: MvmModule, layer: StatisticalNoise, operands: tuple[Tensor, ...]) -> None:
    """Measure the errors of a layer's converters on some inputs, and keep them."""

    def observe(
        x: Tensor, weight: Tensor, _: Tensor | None, input_q: Quantizer, weight_q: Quantizer, geometry: Geometry
    ) -> Tensor:
        integers = input_q.centred_codes(x), weight_q.centred_codes(weight)
        layer.observe(*integers, geometry, input_q.code_of_zero())
        return x

    was_training = module.training
    module.eval()
    module.evaluated_by = observe
    try:
        module(*operands)
    finally:
        module.evaluated_by = None
        module.train(was_training)
    layer.keep_errors(layer.errors)


def _record_inputs(network: Network, seen: Split, arrays: Mapping[str, LayerArrays]) -> dict[str, tuple[Tensor, ...]]:
    """Return inputs of each layer, as many as measurements take."""
    untrained = TrainableNetwork(network).eval()
    found: dict[str, tuple[Tensor, ...]] = {}

    def keep(name: str, operands: tuple[Tensor, ...]) -> None:
        found[name] = tuple(operand[: count_samples(arrays[name])].clone() for operand in operands)

    for name in arrays:
        module = untrained.mvm_modules[name]
        module.register_forward_pre_hook(lambda _, operands, name=name: keep(name, operands))
    with torch.no_grad():
        untrained(torch.from_numpy(seen.inputs(slice(None))))
    return found


def _digest(module: MvmModule) -> bytes:
    """Return what tells the integers and codes of a layer from those of other trainings."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (*module.parameters(), *module.buffers()):
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.digest()
