"""Records of the operations on one element of each operand: activations, arithmetic, selection, rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import Attributes, Shape, get_float, get_int
from mho.arithmetic.operation import (
    Attribute,
    Operation,
    RequiredWindows,
    Use,
    always,
    as_first,
    as_operands,
    unknown,
)
from mho.arithmetic.required_windows import of_aligned, pad_rank
from mho.arithmetic.shapes import ShapeError, broadcast, infer_broadcast


def keeps_aligned_samples(use: Use) -> bool:
    """Whether no constant has several samples: a rule for `Operation.keeps_samples`."""
    rank = len(use.shape)
    constants = [value.shape for value in use.constants.values()]
    return len(use.shapes) == 1 or (rank > 1 and all(len(shape) < rank or shape[0] == 1 for shape in constants))


def _elementwise(name: str, *, non_negative: Callable[[Use, Sequence[bool]], bool], **facts: Any) -> Operation:
    rules = {"shape": infer_broadcast, "required_windows": of_aligned, "keeps_samples": keeps_aligned_samples} | facts
    return Operation(name=name, kernels="elementwise", non_negative=non_negative, is_elementwise=True, **rules)


def _binary(name: str, non_negative: Callable[[Use, Sequence[bool]], bool], onnx: str, **facts: Any) -> Operation:
    return _elementwise(name, non_negative=non_negative, onnx=onnx, operands=(2, 2), **facts)


def _alpha(default: float) -> dict[str, Attribute]:
    return {"alpha": Attribute("float", default)}


def _shape_of_first(shapes: Sequence[Shape], attributes: Attributes) -> Shape:
    del attributes
    if broadcast(*shapes) != shapes[0]:
        raise ShapeError(f"{list(shapes[1])} does not broadcast to {list(shapes[0])}")
    return shapes[0]


def _where_windows(use: Use, operands: Sequence[RequiredWindows | None]) -> RequiredWindows:
    if 2 not in use.constants:
        return of_aligned(use, operands)
    first, second = (np.zeros((1,) * len(use.shape), np.int32) if o is None else o for o in operands[:2])
    return pad_rank(np.where(use.constants[2], first, second), len(use.shape))


def _check_mask(shapes: Sequence[Shape], attributes: Attributes, constants: Mapping[int, NDArray[Any]]) -> None:
    """A mask that is constant is of type bool."""
    del shapes, attributes
    if 2 in constants and constants[2].dtype != np.bool_:
        raise ShapeError("its third operand is no mask of type bool")


def _clip_sign(use: Use, known: Sequence[bool]) -> bool:
    low, high = (get_float(use.attributes, key) for key in ("min", "max"))
    return low >= 0 or (known[0] and high >= 0)


def _product_sign(use: Use, known: Sequence[bool]) -> bool:
    return all(known) or len(set(use.inputs)) == 1


def _quantizer_sign(use: Use, known: Sequence[bool]) -> bool:
    return known[0] or get_int(use.attributes, "qmin") >= get_int(use.attributes, "zero_point")


def _by_attribute(key: str, holds: Callable[[float], bool]) -> Callable[[Use, Sequence[bool]], bool]:
    """Rule: not negative where the first operand is not, or where an attribute alone makes it so."""

    def rule(use: Use, known: Sequence[bool]) -> bool:
        return known[0] or holds(get_float(use.attributes, key))

    return rule


OPERATIONS = (
    _elementwise("relu", non_negative=always, onnx="Relu", takes_integers=True),
    _elementwise(
        "clip", non_negative=_clip_sign, onnx="Clip", takes_integers=True,
        attributes={key: Attribute("float", is_operand=True) for key in ("min", "max")},
    ),
    _elementwise(
        "leaky_relu", non_negative=_by_attribute("alpha", lambda alpha: alpha <= 0), onnx="LeakyRelu",
        attributes=_alpha(0.01),
    ),
    _elementwise(
        "prelu", non_negative=as_first, onnx="PRelu", operands=(2, 2), shape=_shape_of_first, learned=("slope",)
    ),
    _elementwise(
        "thresholded_relu", non_negative=_by_attribute("alpha", lambda alpha: alpha >= 0), onnx="ThresholdedRelu",
        attributes=_alpha(1.0),
    ),
    _elementwise("elu", non_negative=as_first, onnx="Elu", attributes=_alpha(1.0)),
    _elementwise("celu", non_negative=as_first, onnx="Celu", attributes=_alpha(1.0)),
    _elementwise(
        "selu", non_negative=lambda use, known: known[0] and get_float(use.attributes, "gamma") >= 0, onnx="Selu",
        attributes={
            "alpha": Attribute("float", 1.67326319217681884765625),
            "gamma": Attribute("float", 1.05070102214813232421875),
        },
    ),
    _elementwise("softplus", non_negative=always, onnx="Softplus"),
    _elementwise("softsign", non_negative=as_first, onnx="Softsign"),
    _elementwise("mish", non_negative=as_first, onnx="Mish"),
    _elementwise("sigmoid", non_negative=always, onnx="Sigmoid"),
    _elementwise(
        "hard_sigmoid", non_negative=always, onnx="HardSigmoid",
        attributes={"alpha": Attribute("float", 0.2), "beta": Attribute("float", 0.5)},
    ),
    _elementwise("hard_swish", non_negative=as_operands, onnx="HardSwish"),
    _elementwise("silu", non_negative=as_operands),
    _elementwise("tanh", non_negative=unknown, onnx="Tanh"),
    _elementwise(
        "gelu", non_negative=unknown, onnx="Gelu",
        attributes={"approximate": Attribute("text", "none", choices=("none", "tanh"))},
    ),
    _elementwise("erf", non_negative=unknown, onnx="Erf"),
    _elementwise("exp", non_negative=always, onnx="Exp"),
    _elementwise("log", non_negative=unknown, onnx="Log"),
    _elementwise("sqrt", non_negative=always, onnx="Sqrt"),
    _elementwise("reciprocal", non_negative=as_operands, onnx="Reciprocal"),
    _elementwise("neg", non_negative=unknown, onnx="Neg"),
    _elementwise("abs", non_negative=always, onnx="Abs"),
    _elementwise(
        "pow", non_negative=_by_attribute("exponent", lambda exponent: exponent % 2 == 0), onnx="Pow",
        attributes={"exponent": Attribute("float", is_operand=True)},
    ),
    _binary("add", as_operands, "Add"),
    _binary("sub", unknown, "Sub"),
    _binary("mul", _product_sign, "Mul"),
    _binary("div", as_operands, "Div"),
    _binary("minimum", as_operands, "Min", takes_integers=True),
    _binary("maximum", lambda _, known: any(known), "Max", takes_integers=True),
    _binary("equal", always, "Equal"),
    _binary("less", always, "Less"),
    _binary("less_or_equal", always, "LessOrEqual"),
    _elementwise("is_nan", non_negative=always, onnx="IsNaN"),
    _elementwise("floor", non_negative=as_operands, onnx="Floor"),
    _elementwise("ceil", non_negative=as_operands, onnx="Ceil"),
    _elementwise("round", non_negative=as_operands, onnx="Round"),
    _elementwise("sign", non_negative=as_operands, onnx="Sign"),
    _elementwise("sin", non_negative=unknown, onnx="Sin"),
    _elementwise("cos", non_negative=unknown, onnx="Cos"),
    _elementwise(
        "where", non_negative=lambda _, known: all(known[:2]), operands=(3, 3), required_windows=_where_windows,
        check_constants=_check_mask, takes_integers=True,
    ),
    _elementwise(
        "cast", non_negative=as_operands, attributes={"to": Attribute("text", choices=("float16", "bfloat16"))}
    ),
    _elementwise(
        "fake_quantize", non_negative=_quantizer_sign,
        attributes={
            "scale": Attribute("float"), **{key: Attribute("int") for key in ("zero_point", "qmin", "qmax")},
        },
    ),
)  # fmt: skip
