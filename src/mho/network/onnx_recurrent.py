"""LSTM, GRU and RNN, unrolled over their steps: one layer for what meets the inputs of all steps, one a step for what
meets the state. All gates are one matrix, and all steps share its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mho.network.draft import Unsupported
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import OnnxNode

_MOST_STEPS = 1 << 10
_FUNCTIONS = ("Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign", "Softplus", "Elu")
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class _Cell:
    """One direction: its functions, and names of weights [in, gates * H] and biases [gates * H] for ONNX nodes."""

    functions: tuple[str, ...]
    hidden: int
    weight: str
    recurrent: str
    bias: str
    recurrent_bias: str
    scales: tuple[str, str] = ("", "")
    zeros: tuple[str, str] = ("", "")

    def multiply(self, steps: Steps, x: str, *, state: bool) -> str:
        """Return the product of inputs or of a state with its weights; of integer weights as MatMulInteger has it."""
        weight, scale, zero = (self.weight, self.recurrent)[state], self.scales[state], self.zeros[state]
        if not scale:
            return steps("MatMul", x, weight)
        if steps.reader.is_fixed(x):  # a state to start from
            return steps("MatMul", x, steps("DequantizeLinear", weight, scale, zero, axis=-1))
        integers, unit, point = steps.several("DynamicQuantizeLinear", 3, x)
        product = steps("Cast", steps("MatMulInteger", integers, weight, point, zero), to=1)
        return steps("Mul", product, steps("Mul", unit, scale))


def _kind(node: OnnxNode) -> str:
    return node.op_type.removeprefix("DynamicQuantize")


def _recurrent(reader: GraphReader, node: OnnxNode) -> None:
    steps, kind = Steps(reader, node), _kind(node)
    if node.has_input(7) or any(key in node.attributes for key in ("clip", "activation_alpha", "activation_beta")):
        raise Unsupported("has peepholes, or activations with bounds or parameters")
    x, is_batch_first = steps.operand(0), node.flag("layout", 0)
    if is_batch_first:
        x = steps("Transpose", x, perm=(1, 0, 2))
    count, batch, _ = steps.shape(x)
    _check_lengths(reader, node, count)
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    ways = directions.get(node.text("direction", "forward"))
    if ways is None:
        raise Unsupported(f"has the direction {node.text('direction', '')!r}")
    runs = []
    for number, is_reversed in enumerate(ways):
        cell = _read_cell(steps, number, len(ways))
        states = [_initial(steps, index, number, batch, cell.hidden, is_batch_first) for index in (5, 6)]
        runs.append(_run(steps, cell, x, states[: 2 if kind == "LSTM" else 1], is_reversed))
    # [steps, directions, batch, hidden], and the last states [directions, batch, hidden].
    rows = [steps.reshape(steps("Concat", *run[0], axis=0), count, 1, batch, -1) for run in runs]
    results = [steps("Concat", *rows, axis=1)]
    for index in range(2 if kind == "LSTM" else 1):
        results.append(steps("Concat", *(steps.reshape(run[1][index], 1, batch, -1) for run in runs), axis=0))
    if is_batch_first:
        results = [steps("Transpose", results[0], perm=(2, 0, 1, 3))] + [
            steps("Transpose", one, perm=(1, 0, 2)) for one in results[1:]
        ]
    for index, result in enumerate(results):
        steps.finish(result, index)


def _check_lengths(reader: GraphReader, node: OnnxNode, count: int) -> None:
    if count > _MOST_STEPS:
        raise Unsupported(f"runs {count} steps; mho unrolls at most {_MOST_STEPS}")
    if node.has_input(4):
        lengths = reader.whole_numbers(node, 4, "lengths of sequences") or ()
        if set(lengths) != {count}:
            raise Unsupported(f"runs sequences of {list(lengths)} of {count} steps")


def _read_cell(steps: Steps, number: int, directions: int) -> _Cell:
    node, reader = steps.node, steps.reader
    kind, gates = _kind(node), _GATES[_kind(node)]
    given = node.attributes.get("activations")
    names = tuple(given) if given else _DEFAULTS[kind] * directions
    each = len(_DEFAULTS[kind])
    functions = tuple(str(name) for name in names[number * each : (number + 1) * each])
    if len(names) != each * directions or any(name not in _FUNCTIONS for name in functions):
        raise Unsupported(f"has the activations {list(names)}")
    recurrent = reader.constant(node, 2, "weights")[number]
    is_dynamic = kind != node.op_type
    recurrent = recurrent.T if is_dynamic else recurrent
    hidden = recurrent.shape[-1]
    if recurrent.shape != (gates * hidden, hidden) or node.integer("input_forget", 0):
        raise Unsupported(f"has recurrent weights {list(recurrent.shape)}")
    zeros = np.zeros(2 * gates * hidden, np.float32)
    bias = reader.constant(node, 3, "biases")[number] if node.has_input(3) else zeros
    halves = [bias[: gates * hidden], bias[gates * hidden :]]
    if kind != "GRU" or not node.flag("linear_before_reset", 0):
        halves = [halves[0] + halves[1], np.zeros(0, np.float32)]
    return _Cell(
        functions, hidden, _part(steps, 1, number, directions), _part(steps, 2, number, directions),
        steps.constant(halves[0]), steps.constant(halves[1]) if halves[1].size else "",
        *(_parameters(steps, number, at) if is_dynamic else ("", "") for at in (8, 9)),
    )  # fmt: skip


def _parameters(steps: Steps, number: int, first: int) -> tuple[str, str]:
    """Return scales or zero points of one direction, of weights and of recurrent ones: one, or one an output."""
    arrays = [steps.reader.constant(steps.node, index, "scales")[number] for index in (first, first + 2)]
    return steps.constant(np.asarray(arrays[0])), steps.constant(np.asarray(arrays[1]))


def _part(steps: Steps, index: int, number: int, directions: int) -> str:
    """Return the weights of one direction, [in, gates * H]; the same constant keeps its name for its layer."""
    name = steps.operand(index)
    if directions > 1:
        name = steps("Slice", name, steps.whole(number), steps.whole(number + 1), steps.whole(0))
    name = steps("Squeeze", name, steps.whole(0))
    return name if _kind(steps.node) != steps.node.op_type else steps("Transpose", name, perm=(1, 0))


def _initial(steps: Steps, index: int, number: int, batch: int, hidden: int, is_batch_first: int) -> str:
    if not steps.operand(index) or (index == 6 and _kind(steps.node) != "LSTM"):
        return steps.constant(np.zeros((batch, hidden), np.float32))
    axis = 1 if is_batch_first else 0
    part = steps("Slice", steps.operand(index), steps.whole(number), steps.whole(number + 1), steps.whole(axis))
    return steps("Squeeze", part, steps.whole(axis))


def _run(
    steps: Steps, cell: _Cell, x: str, states: Sequence[str], is_reversed: bool
) -> tuple[list[str], tuple[str, ...]]:
    """Return the outputs of the steps in order, [batch, hidden] each, and the last states."""
    count = steps.shape(x)[0]
    step = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}[_kind(steps.node)]
    inputs = steps("Add", cell.multiply(steps, x, state=False), cell.bias)
    outputs, current = [""] * count, tuple(states)
    for at in range(count)[:: -1 if is_reversed else 1]:
        own = steps("Slice", inputs, steps.whole(at), steps.whole(at + 1), steps.whole(0))
        current = step(steps, cell, steps("Squeeze", own, steps.whole(0)), current)
        outputs[at] = current[0]
    return outputs, current


def _gates(steps: Steps, name: str, hidden: int) -> Callable[[int], str]:
    return lambda i: steps("Slice", name, steps.whole(i * hidden), steps.whole((i + 1) * hidden), steps.whole(-1))


def _lstm_step(steps: Steps, cell: _Cell, own: str, states: tuple[str, ...]) -> tuple[str, ...]:
    """Gates in the order input, output, forget, cell."""
    f, g, h = cell.functions
    hidden, memory = states
    gate = _gates(steps, steps("Add", own, cell.multiply(steps, hidden, state=True)), cell.hidden)
    kept = steps("Mul", steps(f, gate(2)), memory)
    memory = steps("Add", kept, steps("Mul", steps(f, gate(0)), steps(g, gate(3))))
    return steps("Mul", steps(f, gate(1)), steps(h, memory)), memory


def _gru_step(steps: Steps, cell: _Cell, own: str, states: tuple[str, ...]) -> tuple[str, ...]:
    """Gates in the order update, reset, hidden."""
    f, g = cell.functions
    (state,) = states
    mine, size = _gates(steps, own, cell.hidden), cell.hidden
    if cell.recurrent_bias or steps.node.flag("linear_before_reset", 0):
        product = steps("MatMul", state, cell.recurrent)
        theirs = _gates(steps, steps("Add", product, cell.recurrent_bias) if cell.recurrent_bias else product, size)
        update, reset = (steps(f, steps("Add", mine(i), theirs(i))) for i in (0, 1))
        fresh = steps(g, steps("Add", mine(2), steps("Mul", reset, theirs(2))))
    else:  # two matrices: the last gate multiplies the state after the reset
        weights = [
            steps("Slice", cell.recurrent, *(steps.whole(v) for v in (i * size, j * size, 1)))
            for i, j in ((0, 2), (2, 3))
        ]
        theirs = _gates(steps, steps("MatMul", state, weights[0]), size)
        update, reset = (steps(f, steps("Add", mine(i), theirs(i))) for i in (0, 1))
        fresh = steps(g, steps("Add", mine(2), steps("MatMul", steps("Mul", reset, state), weights[1])))
    rest = steps("Sub", steps.number(1.0), update)
    return (steps("Add", steps("Mul", rest, fresh), steps("Mul", update, state)),)


def _rnn_step(steps: Steps, cell: _Cell, own: str, states: tuple[str, ...]) -> tuple[str, ...]:
    return (steps(cell.functions[0], steps("Add", own, steps("MatMul", states[0], cell.recurrent))),)


CONVERTERS: dict[str, Converter] = dict.fromkeys((*_GATES, "DynamicQuantizeLSTM"), _recurrent)
