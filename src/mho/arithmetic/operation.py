"""The record of an operation: all that mho knows about one, in one value. No torch here.

The families (elementwise.py, products.py, ...) hold the records, `operations.OPERATIONS` holds them all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_float, get_floats, get_int, get_ints, get_text
from mho.arithmetic.shapes import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    Kernel = Callable[[Sequence[Tensor], Attributes], Tensor]

RequiredWindows = NDArray[np.int32]
"""Of each element of a tensor, how many windows of a producer it requires: see `mho.arithmetic.required_windows`."""

ShapeRule = Callable[[Sequence[Shape], Attributes], Shape]
ConstantsRule = Callable[[Sequence[Shape], Attributes, Mapping[int, NDArray[Any]]], None]


@dataclass(frozen=True)
class Attribute:
    """One attribute of an operation, and how ONNX has it.

    Attributes:
        kind: of its value; flags are whole numbers 0 and 1.
        default: what ONNX means where a node leaves it out; None where it cannot.
        choices: all texts that it may be; () for any.
        onnx: its name in ONNX; "" for the same, None where ONNX has none and means `default`.
        is_operand: whether ONNX has it as a constant operand, after the tensors, instead of an attribute.
    """

    kind: Literal["int", "float", "text", "ints", "floats"]
    default: float | str | None = None
    choices: tuple[str, ...] = ()
    onnx: str | None = ""
    is_operand: bool = False

    def get(self, attributes: Attributes, name: str) -> Any:
        """Return the value. Raises `KeyError`, `TypeError` for another kind, `ShapeError` for no choice."""
        getters: dict[str, Callable[[Attributes, str], Any]] = {
            "int": get_int, "float": get_float, "text": get_text, "ints": get_ints, "floats": get_floats,
        }  # fmt: skip
        value = getters[self.kind](attributes, name)
        if self.choices and value not in self.choices:
            raise ShapeError(f"{name} is {value!r}, not {' or '.join(self.choices)}")
        return value


@dataclass(frozen=True, eq=False)
class Use:
    """One use of an operation in a network.

    Attributes:
        inputs: names of the operands.
        shapes: of the operands.
        constants: the operands that are constants, by number.
        shape: of the result.
        attributes: of the operation.
    """

    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    constants: Mapping[int, NDArray[Any]]
    shape: Shape
    attributes: Attributes


def any_constants(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    """Any operand may be a constant, none must: for `Operation.check_constants`."""
    del shapes, attributes, constants


def as_operands(use: Use, known: Sequence[bool]) -> bool:
    """The result is not negative where no operand is: a rule for `Operation.non_negative`."""
    del use
    return all(known)


def as_first(use: Use, known: Sequence[bool]) -> bool:
    """The result is not negative where the first operand is not."""
    del use
    return known[0]


def always(use: Use, known: Sequence[bool]) -> bool:
    """The result is never negative."""
    del use, known
    return True


def unknown(use: Use, known: Sequence[bool]) -> bool:
    """The result may be negative."""
    del use, known
    return False


def each_apart(use: Use) -> bool:
    """The operation treats each index of the leading axis alone, whatever its operands: for `keeps_samples`."""
    del use
    return True


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        name: as in `Node.op`.
        kernels: module of `mho.arithmetic.kernels` that computes it.
        operands: fewest and most operands; None for any number.
        attributes: of its nodes.
        shape: per-sample output shape from the operands' shapes and the attributes.
        required_windows: of the result, from those of each operand; None for one that depends on no window. Not all
            are None.
        non_negative: whether the result cannot be negative, given whether each operand cannot.
        keeps_samples: whether index i of the result's leading axis depends on index i of the operands' alone.
        onnx: ONNX operation that has the same operands in the same order, and then those that are attributes here; ""
            where it needs another form.
        is_elementwise: whether each result depends on one element of each operand, wherever it lies.
        is_mvm: whether its products run in crossbars.
        moves: whether each result is an element of the first operand (of any, for concat): a grid stays what it is.
        scratch: shape of what is made between operands and result: a padded operand, all taps of a window.
        check_constants: raises `ShapeError` where an operand that must be a constant is none, or has values that the
            operation cannot take; its arguments are the operands' shapes, which fit, the attributes, and the operands
            that are constants, by number.
        takes_integers: whether it computes on centred integers of one scale as on other numbers, exactly; movements do,
            too.
        is_lowered: whether it stands in networks and programs of integer-only digital units alone, where
            `mho.network.integer_lowering` puts it: no file of a network has it, and nothing trains it.
        learned: what training learns: names of the operands after the first; () where constants stay as they are.
    """

    name: str
    kernels: str
    shape: ShapeRule
    required_windows: Callable[[Use, Sequence[RequiredWindows | None]], RequiredWindows]
    non_negative: Callable[[Use, Sequence[bool]], bool]
    keeps_samples: Callable[[Use], bool]
    operands: tuple[int, int | None] = (1, 1)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    onnx: str = ""
    is_elementwise: bool = False
    is_mvm: bool = False
    moves: bool = False
    scratch: Callable[[Sequence[Shape], Shape, Attributes], Shape] | None = None
    check_constants: ConstantsRule = any_constants
    takes_integers: bool = False
    is_lowered: bool = False
    learned: tuple[str, ...] = ()

    @cached_property
    def run(self) -> Kernel:
        """Operands in the node's order (activations [N, *S], constants as they are) and attributes -> [N, *S']."""
        return self._kernel("run") or self._missing()

    @cached_property
    def train(self) -> Kernel:
        """The differentiable form; equal to `run` within float32 rounding."""
        return self._kernel("train") or self.run

    def infer_shape(self, shapes: Sequence[Shape], attributes: Attributes) -> Shape:
        """Return the per-sample output shape.

        Raises:
            ShapeError: the operands or attributes do not fit.
            KeyError, TypeError: an attribute is missing or of another type.
        """
        fewest, most = self.operands
        if len(shapes) < fewest or (most is not None and len(shapes) > most):
            raise ShapeError(f"{self.name} of {len(shapes)} operands")
        for name, attribute in self.attributes.items():
            attribute.get(attributes, name)
        return self.shape(shapes, attributes)

    def _kernel(self, form: str) -> Kernel | None:
        module = importlib.import_module(f"mho.arithmetic.kernels.{self.kernels}")
        kernel: Kernel | None = getattr(module, f"{form}_{self.name}", None)
        return kernel

    def _missing(self) -> Kernel:
        raise NotImplementedError(f"mho.arithmetic.kernels.{self.kernels} has no run_{self.name}")
