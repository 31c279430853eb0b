"""`TrainableNetwork`: a torch module that runs any Network, in float or with every MVM layer on its integer grids.

It trains whatever can be read. It holds no formula: nodes are modules (`mho.quantization.modules`), grids are
quantizers, steps come from a calibration table, and what leaves it is made in `mho.quantization.folding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mho.argument_checks import check_arguments
from mho.arithmetic.batching import accepted_shapes, shape_error
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError, InputFileError, PolicyError, file_errors
from mho.network.graph import Network, Node
from mho.network.input_normalization import list_inputs
from mho.network.properties import non_negative_tensors
from mho.policy import BitWidths, Policy
from mho.quantization import folding
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.joint_inputs import JointInputs
from mho.quantization.modules import MvmModule, SharedConstants, build_module, takes_squeezed
from mho.quantization.quantizers import weight_bounds
from mho.quantization.shared_constants import separate_constants
from mho.quantization.step_search import set_streamed_grid
from mho.quantization.tensor_files import copy_tensors, read_tensors, tensors_of, write_tensors


@dataclass(frozen=True)
class Step:
    """One node: which module maps which tensors to which, and which tensors are not needed afterwards.

    `name` is the node's. `changes` holds, for each operand, 0 or how many leading axes of size 1 it must gain (1) or
    lose (-1).
    """

    name: str
    module: nn.Module
    operands: tuple[str, ...]
    changes: tuple[int, ...]
    output: str
    finished: tuple[str, ...]

    def take(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the operands as the module takes them."""
        return [_change_rank(tensors[name], change) for name, change in zip(self.operands, self.changes, strict=True)]


class TrainableNetwork(nn.Module):
    """A Network that can be trained, calibrated and quantized.

    Parameters and statistics have the names of their nodes (``layer1.0.conv1.weight``). A network whose layers carry
    integers starts from exactly these, quantized; a float network starts in float.

    Args:
        network: float or quantized.
        policy: bit widths to quantize to, once `mho.quantization.calibration.calibrate` has found steps, as
            `mho.trainable` does at once; None to start as the network is.

    Raises:
        DataError: the network is no `Network`, or the policy no `Policy`.
        UnsupportedOperationError: an operation that cannot be trained.
        PolicyError: the policy does not name the network's layers.
    """

    def __init__(self, network: Network, policy: Policy | None = None) -> None:
        super().__init__()
        for name, value, kind in (("network", network, Network), ("policy", policy, Policy | None)):
            if not isinstance(value, kind):
                raise DataError(f"{name} is a {type(value).__name__}", where="TrainableNetwork", expected=f"{kind}")
        self._network = network = separate_constants(network)
        self._non_negative = non_negative_tensors(network)
        constants = SharedConstants(network.constants)
        self._node_modules: dict[str, nn.Module] = {}
        for node in network.nodes:
            self._node_modules[node.name] = module = build_module(network, node, constants)
            _attach(self, _path(node), module)
        self._squeezed = {tensor.name for tensor in network.inputs if tensor.shape[:1] == (1,)}
        self._squeezed |= {node.output for node in network.nodes if takes_squeezed(network, node)}
        self._steps = self._plan()
        self._channels_last = any(node.op == "conv" for node in network.nodes)
        self._input_names = [tensor.name for tensor in network.inputs]
        self._input_shapes = [tensor.shape for tensor in network.inputs]
        self._outputs = [tensor.name for tensor in network.outputs]
        self._drop_axis = [t.shape[:1] == (1,) and t.name not in self._squeezed for t in network.outputs]
        self._calibration: CalibrationTable | None = None
        self._policy: Policy | None = None
        self._awaits_calibration = False
        self._freeze_steps_of_inputs()
        if policy is not None:
            self.set_policy(policy)

    @property
    def network(self) -> Network:
        """The network that this was made from, untouched by training (constants as `separate_constants` has them)."""
        return self._network

    @property
    def mvm_modules(self) -> dict[str, MvmModule]:
        """The MVM layers by name, in execution order."""
        return {name: m for name, m in self._node_modules.items() if isinstance(m, MvmModule)}

    @property
    def policy(self) -> Policy | None:
        """The bit widths that are set (or were imported); None where any layer is in float."""
        modules = self.mvm_modules
        if self._policy is not None or not modules or not all(m.quantized for m in modules.values()):
            return self._policy
        return Policy(
            {n: BitWidths(int(m.weight_quantizer.bits), int(m.input_quantizer.bits)) for n, m in modules.items()}
        )

    def is_non_negative(self, layer: str) -> bool:
        """Whether the streamed operand of `layer` can never be negative, so that its grid is unsigned."""
        return self._network.node(layer).inputs[0] in self._non_negative

    def set_policy(self, policy: Policy | None) -> None:
        """Quantize every layer to `policy` with calibrated steps and biases, or (None) compute in float.

        Writes buffers only: nothing is allocated and nothing compiled anew. Learned steps are forgotten. Before a
        calibration the widths are kept and `forward` refuses.

        Raises:
            PolicyError: a layer is unknown or missing.
        """
        modules = self.mvm_modules
        if policy is not None:
            if not isinstance(policy, Policy):
                raise PolicyError(f"a {type(policy).__name__} is not a policy", expected="a Policy, such as Policy.of")
            policy.check_against(modules)
        self._policy = policy
        self._awaits_calibration = policy is not None and self._calibration is None
        for name, module in modules.items():
            module.quantized = policy is not None
            if policy is not None and self._calibration is not None:
                self._set_widths(name, module, policy[name], self._calibration)

    def set_calibration(self, table: CalibrationTable) -> None:
        """Use the steps of `table`, now (where a policy is set) and for later policies.

        Raises:
            PolicyError: a layer is missing, or has another number of outputs.
        """
        for name, module in self.mvm_modules.items():
            if name not in table.layers:
                raise PolicyError("the calibration table lacks this layer", where=name)
            found = table.layers[name].step_shape
            if found != module.weight_quantizer.base_step.shape:
                raise PolicyError("the calibration table is of another network", where=name)
        self._calibration = table
        if self._policy is not None:
            self.set_policy(self._policy)

    @contextmanager
    def in_float(self) -> Iterator[None]:
        """Compute in float within the block, whatever policy is set."""
        modules = list(self.mvm_modules.values())
        before = [module.quantized for module in modules], self._awaits_calibration
        self._awaits_calibration = False
        for module in modules:
            module.quantized = False
        try:
            yield
        finally:
            for module, quantized in zip(modules, before[0], strict=True):
                module.quantized = quantized
            self._awaits_calibration = before[1]

    @contextmanager
    def layer_at(self, name: str, widths: BitWidths) -> Iterator[None]:
        """Quantize one layer to calibrated `widths` within the block, whatever the others compute in.

        Raises:
            PolicyError: nothing was calibrated.
        """
        if self._calibration is None:
            raise PolicyError("the steps are unknown", where=name, hint="calibrate first")
        module = self.mvm_modules[name]
        before, quantized = {key: one.clone() for key, one in _grids_of(module).items()}, module.quantized
        module.quantized = True
        self._set_widths(name, module, widths, self._calibration)
        try:
            yield
        finally:
            module.quantized = quantized
            for key, one in _grids_of(module).items():
                one.data.copy_(before[key])

    def forward(self, *inputs: Tensor | JointInputs) -> Tensor | tuple[Tensor, ...]:
        """Run the network.

        Args:
            inputs: one float32 tensor for each network input, in order: [N, *S], or [N, *S[1:]] where S[0] is 1; or all
                of them together.

        Returns:
            The output, or a tuple of several, without the leading axis of S where that is 1.

        Raises:
            DataError: a tensor of another shape.
            PolicyError: a policy is set but nothing was calibrated.
        """
        if self._awaits_calibration:
            raise PolicyError(
                "a policy is set but the steps are unknown", hint="call mho.quantization.calibration.calibrate first"
            )
        tensors = self.take_inputs(inputs)
        self.run(self._steps, tensors)
        results = tuple(self.output_of(tensors, name) for name in self._outputs)
        return results[0] if len(results) == 1 else results

    def output_of(self, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """Return one of the network's outputs, as `forward` does, of what `run` left."""
        return tensors[name].squeeze(1) if self._drop_axis[self._outputs.index(name)] else tensors[name]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The nodes in execution order, as `run` takes them."""
        return self._steps

    def run(self, steps: Iterable[Step], tensors: dict[str, Tensor]) -> None:
        """Run consecutive steps on `tensors`, by name; those that no later step needs are removed."""
        for step in steps:
            tensors[step.output] = step.module(*step.take(tensors))
            for name in step.finished:
                del tensors[name]

    def to_network(self) -> Network:
        """Return the float network with the constants as trained; BatchNorm stays a node of its own."""
        return folding.make_float_network(self._network, self._node_modules)

    def to_quantized_network(self) -> Network:
        """Return the network in integers: BatchNorm right after an MVM layer folded into its scales and bias.

        Raises:
            PolicyError: a layer is in float.
        """
        if self._awaits_calibration:
            raise PolicyError("a policy is set but the steps are unknown", hint="calibrate first")
        return folding.make_quantized_network(self._network, self._node_modules)

    def state_tensors(self) -> dict[str, Tensor]:
        """Return parameters, statistics and grids by name, each shared tensor once; they alias the module's."""
        return tensors_of(self)

    def load_state_tensors(self, tensors: Mapping[str, Tensor], *, where: str = "state") -> None:
        """Copy `tensors` (as `state_tensors` gave them) into the module. Raises `InputFileError`."""
        copy_tensors(tensors, self, where=where)

    @check_arguments()
    def save(self, path: str | Path) -> None:
        """Write parameters, statistics and grids as safetensors, atomically. Raises `InputFileError`."""
        quantized = [name for name, module in self.mvm_modules.items() if module.quantized]
        with file_errors(path, "cannot be written"):
            write_tensors(Path(path), self.state_tensors(), {"quantized_layers": quantized})

    @check_arguments()
    def load(self, path: str | Path) -> None:
        """Read what `save` wrote. Raises `InputFileError`."""
        tensors, description = read_tensors(Path(path))
        if not isinstance(description.get("quantized_layers"), list):
            raise InputFileError("not the state of a network", where=str(path))
        self.load_state_tensors(tensors, where=str(path))
        self._policy, self._awaits_calibration = None, False
        for name, module in self.mvm_modules.items():
            module.quantized = name in description["quantized_layers"]
        self._policy = self.policy

    def _set_widths(self, name: str, module: MvmModule, widths: BitWidths, table: CalibrationTable) -> None:
        weight_bits, act_bits = widths.weight_bits, widths.act_bits
        set_streamed_grid(module.input_quantizer, act_bits, table.act_grid(name, act_bits))
        step = table.weight_step(name, weight_bits)
        module.weight_quantizer.set_bounds(weight_bits, *weight_bounds(weight_bits), step)
        correction = table.bias_correction(name, weight_bits)
        if module.bias_correction is not None and correction is not None:
            module.bias_correction.copy_(correction)

    def take_inputs(self, given: tuple[Tensor | JointInputs, ...]) -> dict[str, Tensor]:
        """Return the tensors, by name, that the first of `steps` starts from. Raises `DataError`."""
        inputs = tuple(tensor for one in given for tensor in (one.tensors if isinstance(one, JointInputs) else (one,)))
        if len(inputs) != len(self._input_names):
            raise DataError(f"{len(inputs)} inputs", where=self._network.name, expected=str(len(self._input_names)))
        taken = {}
        for name, shape, x in zip(self._input_names, self._input_shapes, inputs, strict=True):
            if not x.dim() or tuple(x.shape[1:]) not in accepted_shapes(shape):
                raise shape_error(x.shape, shape, where=name)
            if tuple(x.shape[1:]) == shape and shape[:1] == (1,):
                x = x.squeeze(1)
            if self._channels_last and x.dim() == 4:
                x = _to_channels_last(x)
            taken[name] = x
        return taken

    def _plan(self) -> tuple[Step, ...]:
        needed = {tensor.name for tensor in self._network.outputs}
        steps = []
        for node in reversed(self._network.nodes):
            operands = tuple(name for name in node.inputs if name not in self._network.constants)
            finished = tuple(name for name in dict.fromkeys((*operands, node.output)) if name not in needed)
            needed.update(operands)
            squeezed = node.output in self._squeezed
            changes = tuple((name in self._squeezed) - squeezed for name in operands)
            steps.append(Step(node.name, self._node_modules[node.name], operands, changes, node.output, finished))
        return tuple(reversed(steps))

    def _freeze_steps_of_inputs(self) -> None:
        """Keep the steps of the network's own inputs calibrated: learning them would cost an input gradient."""
        inputs = list_inputs(self._network)
        for node in self._network.mvm_nodes:
            if node.inputs[0] in inputs:
                self.mvm_modules[node.name].input_quantizer.log_ratio.requires_grad_(False)


def _grids_of(module: MvmModule) -> dict[str, Tensor]:
    """Return what a layer's widths set, by name; the tensors are the module's own."""
    quantizers = {"input": module.input_quantizer, "weight": module.weight_quantizer}
    found = {f"{kind}.{key}": one for kind, own in quantizers.items() for key, one in own.state_dict().items()}
    return found if module.bias_correction is None else {**found, "bias_correction": module.bias_correction}


def _path(node: Node) -> str:
    """Return the path of a node's module: the layer's name, or that of the weight that a digital operation learns."""
    scale = node.inputs[1] if OPERATIONS[node.op].learned else ""
    return scale.removesuffix(".weight") if scale.endswith(".weight") else node.name


def _change_rank(x: Tensor, change: int) -> Tensor:
    return x if change == 0 else x.unsqueeze(1) if change > 0 else x.squeeze(1)


def _to_channels_last(x: Tensor) -> Tensor:
    """Return [N, C, H, W] in the memory format of quick convolutions; one-channel images too, unlike torch's `to`."""
    count, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(count, -1).view(count, height, width, channels).permute(0, 3, 1, 2)


def _attach(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register `module` under the path that the dots of `name` spell."""
    *parents, last = name.split(".")
    place = root
    for part in parents:
        key = _free_key(place, part, reuse=True)
        if key not in place._modules:
            place.add_module(key, nn.Module())
        place = place.get_submodule(key)
    place.add_module(_free_key(place, last, reuse=False), module)


def _free_key(place: nn.Module, part: str, *, reuse: bool) -> str:
    """Return `part`, with underscores added while it is empty or means something else to torch."""
    key = part or "_"
    while not reuse if key in place._modules else hasattr(place, key):
        key += "_"
    return key
