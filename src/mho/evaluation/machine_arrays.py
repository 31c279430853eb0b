"""Where the weights of networks lie on the machine that is described, for one policy after the other.

On one crossbar that is the mapping of its programs, but for writes that layers share. On several, it is that of the
plan by which a search costs the policy (`mho.scheduling.chip_cost`): options of layers on the chip, or tiles that are
rewritten, and layers on digital units. A plan takes a fraction of a second where the schedule of the program, which is
searched for longer and simulated, takes many; finalists and results have the program itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays, arrays_of_layer
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.mapping.network_mapping import map_network
from mho.network.graph import Network
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.cost_objective import CostObjective


class MachineArrays:
    """Maps one network under many policies.

    Args:
        accelerator: the machine.
        model: how layers are mapped.
    """

    def __init__(self, accelerator: Accelerator, model: MappingModel) -> None:
        self._accelerator, self._model = accelerator, model
        self._chip: ChipCostModel | None = None
        self._mappings: dict[tuple[str, BitWidths], LayerMapping] = {}
        self._arrays: dict[tuple[str, LayerMapping], LayerArrays] = {}

    def find(self, network: Network, policy: Policy) -> dict[str, LayerArrays]:
        """Return where the weights of each layer lie; layers that the digital unit multiplies are left out.

        Args:
            network: float or quantized; always the same one.
            policy: bit widths of every layer.

        Returns:
            By name, in execution order; the same object wherever a layer lies in the same way.

        Raises:
            PolicyError, MappingError: as `mho.mapping.network_mapping.map_network`.
        """
        grids = {node.name: node.quantization for node in network.mvm_nodes}
        found = {}
        for name, mapping in self.map_layers(network, policy).items():
            if mapping.is_digital:
                continue
            if (name, mapping) not in self._arrays:
                grid = grids[name]
                is_own = grid is not None and grid.weight.bits == mapping.bits.weight_bits
                zeros = grid.weight.zero_points if grid is not None and is_own else None
                self._arrays[name, mapping] = arrays_of_layer(mapping, self._accelerator, zeros)
            found[name] = self._arrays[name, mapping]
        return found

    def map_layers(self, network: Network, policy: Policy) -> Mapping[str, LayerMapping]:
        """Return how each layer lies in crossbars, by name, those of the digital unit too. Raises as `find`."""
        if self._accelerator.chip.crossbars > 1:
            if self._chip is None:
                self._chip = ChipCostModel(network, self._accelerator, CostObjective.LATENCY, model=self._model)
            return self._chip.map_layers(policy)
        if any(pair not in self._mappings for pair in policy.layers.items()):
            mapped = map_network(derive_layer_table(network), policy, self._accelerator, self._model)
            self._mappings |= {(one.layer.name, one.bits): one for one in mapped.layers}
        return {name: self._mappings[name, bits] for name, bits in policy.layers.items()}
