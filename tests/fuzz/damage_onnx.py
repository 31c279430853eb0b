"""One change of an ONNX model: a field, a wire, an attribute, a constant, an input, a node, a function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from damage import HOSTILE_TEXTS
from onnx import TensorProto, helper
from random_networks import Chooser

from mho.network.onnx_reader import CONVERTERS

_INTEGERS = (0, 1, -1, 2, 3, 7, 8, 100, 65_537, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-42, 1e-38, 3.4e38, -3.4e38, 1e30, math.inf, -math.inf, math.nan)
_TEXTS = tuple(text.encode("utf-8", "replace") for text in HOSTILE_TEXTS)
_OPERATIONS = (
    *sorted(CONVERTERS),
    "Shape",
    "Size",
    "ConstantOfShape",
    "Range",
    "Constant",
    "Loop",
    "If",
    "CumSum",
    "NonZero",
)


def change_model(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Change one thing of a model in place."""
    return chooser.choice(_CHANGES)(model, chooser)


def _change_field(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Change any field of any message."""
    message = chooser.choice(_messages(model))
    fields = [one for one, _ in message.ListFields()] if chooser.integer(0, 3) else []
    field = chooser.choice(fields or list(message.DESCRIPTOR.fields))
    shown = f"{message.DESCRIPTOR.name}.{field.name}"
    if _is_repeated(field):
        return f"{shown}: {_change_list(getattr(message, field.name), field, model, chooser)}"
    if field.message_type is not None:
        alike = [one for one in _messages(model) if one.DESCRIPTOR is field.message_type]
        if alike and chooser.integer(0, 1) and not _holds(chooser_pick := chooser.choice(alike), message):
            getattr(message, field.name).CopyFrom(type(chooser_pick).FromString(chooser_pick.SerializeToString()))
            return f"{shown} is another's"
        message.ClearField(field.name)
        return f"{shown} is left out"
    value = _value(field, chooser)
    _set(message, field.name, value)
    return f"{shown} is {value!r:.60}"


def _change_list(items: Any, field: Any, model: onnx.ModelProto, chooser: Chooser) -> str:
    place = chooser.integer(0, len(items) - 1) if len(items) else 0
    kind = chooser.integer(0, 3)
    if kind == 0 and len(items):
        del items[place]
        return f"item {place} is left out"
    if field.message_type is not None:
        if len(items) and kind < 3:
            other = chooser.integer(0, len(items) - 1)
            first, second = items[place].SerializeToString(), items[other].SerializeToString()
            items[place].ParseFromString(second)
            if kind == 1:
                items[other].ParseFromString(first)
            else:
                items.add().ParseFromString(first)
            return f"items {place} and {other} {'swapped' if kind == 1 else 'are alike, with one more'}"
        items.add()
        return "an empty item more"
    if kind == 1 and len(items):
        items.extend(list(items) * (1 if len(items) > 100 else chooser.choice((1, 1, 20))))
        return "longer"
    value = _value(field, chooser)
    try:
        if len(items) and kind == 2:
            items[place] = value
        else:
            items.append(value)
    except (ValueError, TypeError):
        return "nothing"
    return f"{value!r:.60} at {place}"


def _set(message: Any, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except (ValueError, TypeError):
        message.ClearField(name)


def _value(field: Any, chooser: Chooser) -> Any:
    if field.enum_type is not None:
        return chooser.integer(0, 25)
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return chooser.choice(_FLOATS)
    if field.cpp_type == field.CPPTYPE_STRING:
        text = chooser.choice(_TEXTS)
        return text if field.type == field.TYPE_BYTES else text.decode("utf-8", "replace")
    if field.cpp_type == field.CPPTYPE_BOOL:
        return bool(chooser.integer(0, 1))
    return chooser.choice(_INTEGERS)


def _is_repeated(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", False)) if hasattr(field, "is_repeated") else field.label == 3


def _messages(message: Any) -> list[Any]:
    """Return a message and all messages in it; of long lists only some."""
    found = [message]
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in list(value)[:60] if _is_repeated(field) else [value]:
                found += _messages(one)
    return found


def _holds(outer: Any, inner: Any) -> bool:
    return any(one is inner for one in _messages(outer)) or outer is inner


def _rewire(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Let a node read another tensor."""
    nodes = [node for node in model.graph.node if node.input]
    names = [
        *(one.name for one in model.graph.initializer),
        *(name for one in model.graph.node for name in one.output),
        "x",
        "",
    ]
    if not nodes:
        return "nothing"
    node = chooser.choice(nodes)
    place, name = chooser.integer(0, len(node.input) - 1), chooser.choice(names)
    node.input[place] = name
    return f"{node.op_type} reads {name!r} at {place}"


def _rename_operation(model: onnx.ModelProto, chooser: Chooser) -> str:
    if not model.graph.node:
        return "nothing"
    node, op = chooser.choice(model.graph.node), chooser.choice(_OPERATIONS)
    shown, node.op_type = f"{node.op_type} becomes {op}", op
    return shown


def _set_attribute(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Change a number of an attribute, or add an attribute that another node has."""
    held = [(node, one) for node in model.graph.node for one in node.attribute]
    if not held:
        return "nothing"
    node, attribute = chooser.choice(held)
    if chooser.integer(0, 4) == 0:
        other = chooser.choice(model.graph.node)
        other.attribute.add().CopyFrom(attribute)
        return f"{other.op_type} has {attribute.name} too"
    number = chooser.choice(_INTEGERS)
    if attribute.ints:
        attribute.ints[chooser.integer(0, len(attribute.ints) - 1)] = number
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = number = chooser.choice(_FLOATS)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = number
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = number = chooser.choice(_TEXTS)
    else:
        node.attribute.remove(attribute)
        return f"{node.op_type} lacks {attribute.name}"
    return f"{node.op_type}.{attribute.name} has {number!r:.60}"


def _set_constant(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Change numbers, the type or the shape of a constant."""
    held = [
        *model.graph.initializer,
        *(one.t for node in model.graph.node for one in node.attribute if one.HasField("t")),
    ]
    if not held:
        return "nothing"
    tensor = chooser.choice(held)
    kind = chooser.integer(0, 5)
    if kind == 0:
        tensor.data_type = chooser.integer(0, 25)
        return f"{tensor.name} is of type {tensor.data_type}"
    if kind == 1:
        return _reshape_constant(tensor, chooser)
    try:
        array = onnx.numpy_helper.to_array(tensor).copy()
    except Exception:  # changed before
        return "nothing"
    if not array.size or array.dtype.kind not in "fiu":
        return "nothing"
    number = chooser.choice(_FLOATS if array.dtype.kind == "f" else _INTEGERS)
    bounds = None if array.dtype.kind == "f" else np.iinfo(array.dtype)
    with np.errstate(all="ignore"):
        value = np.asarray(number).astype(array.dtype) if bounds is None else min(max(number, bounds.min), bounds.max)
        place = chooser.integer(0, array.size - 1)
        array.reshape(-1)[place : place + chooser.choice((1, 1, array.size))] = value
        if array.dtype.kind == "f" and kind == 2:
            array = (array * np.float32(chooser.choice((-1, 1e-38, 1e38, 1e-42, 1e20)))).astype(array.dtype)
    tensor.raw_data = array.tobytes()
    return f"{tensor.name} holds {number!r} at {place}"


def _reshape_constant(tensor: onnx.TensorProto, chooser: Chooser) -> str:
    dims = list(tensor.dims)
    if dims and chooser.integer(0, 1):
        dims = chooser.choice((dims[::-1], [1, *dims], [*dims, 1], [math.prod(dims)], [0, *dims], [*dims, 2**62]))
    else:
        dims = [*dims[:-1], chooser.choice(_INTEGERS)]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return f"{tensor.name} has shape {dims}"


def _set_input(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Change the shape of an input."""
    inputs = [one for one in model.graph.input if one.type.tensor_type.shape.dim]
    if not inputs:
        return "nothing"
    dims = chooser.choice(inputs).type.tensor_type.shape.dim
    dim = chooser.choice(dims)
    if chooser.integer(0, 4) == 0:
        dim.dim_param = chooser.choice(_TEXTS[:8]).decode("utf-8", "replace")
        return f"the input has an axis {dim.dim_param!r}"
    dim.dim_value = chooser.choice(_INTEGERS)
    return f"the input has an axis of {dim.dim_value}"


def _move_node(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Repeat, swap or remove nodes."""
    nodes = list(model.graph.node)
    if not nodes:
        return "nothing"
    place, other = chooser.integer(0, len(nodes) - 1), chooser.integer(0, len(nodes) - 1)
    kind = chooser.integer(0, 2)
    if kind == 0:
        nodes[place], nodes[other] = nodes[other], nodes[place]
    elif kind == 1:
        copied = onnx.NodeProto.FromString(nodes[place].SerializeToString())
        if chooser.integer(0, 1):
            copied.output[:] = [f"{name}_again" for name in copied.output]
            model.graph.output.add().name = copied.output[0]
        nodes.insert(other, copied)
    else:
        del nodes[place]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return f"nodes {place} and {other} {('swapped', 'copied', 'removed')[kind]}"


def _enlarge(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Add what makes much of little before the last node: shapes that are filled, repeats, joined copies."""
    graph, kind = model.graph, chooser.integer(0, 3)
    source = graph.output[0].name if graph.output else "x"
    times, count = chooser.choice((2, 1000, 2**20, 2**40)), chooser.choice((1, 4, 16))
    added = []
    for number in range(count):
        name = f"large{number}"
        if kind == 0:
            value = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
            shape = onnx.numpy_helper.from_array(np.array([times, 3], np.int64), f"{name}.shape")
            graph.initializer.append(shape)
            added.append(helper.make_node("ConstantOfShape", [shape.name], [name], value=value))
        elif kind == 1:
            added.append(helper.make_node("Concat", [source] * min(times, 40), [name], axis=-1))
            source = name
        elif kind == 2:
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([times], np.int64), f"{name}.n"))
            added.append(helper.make_node("Expand", [source, f"{name}.n"], [name]))
            source = name
        else:
            pads = np.array([0, times], np.int64)
            graph.initializer.append(onnx.numpy_helper.from_array(pads, f"{name}.pads"))
            flat = helper.make_node("Flatten", [source], [f"{name}.flat"], axis=0)
            added += [flat, helper.make_node("Pad", [f"{name}.flat", f"{name}.pads"], [name])]
            source = name
    graph.node.extend(added)
    graph.output.add().name = added[-1].output[0]
    return f"{count} times {added[-1].op_type} by {times}"


def _add_function(model: onnx.ModelProto, chooser: Chooser) -> str:
    """Add functions that call each other several times, one of them perhaps itself."""
    depth, calls = chooser.choice((1, 3, 20)), chooser.choice((1, 2, 8))
    is_recursive = chooser.integer(0, 2) == 0
    opset = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    for level in range(depth):
        callee = ("own", f"f{level + 1}") if level + 1 < depth else ("own", "f0") if is_recursive else ("", "Relu")
        body = [
            helper.make_node(callee[1], ["a" if not k else f"b{k - 1}"], [f"b{k}"], domain=callee[0])
            for k in range(calls)
        ]
        model.functions.append(helper.make_function("own", f"f{level}", ["a"], [f"b{calls - 1}"], body, opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    source = model.graph.output[0].name if model.graph.output else "x"
    model.graph.node.append(helper.make_node("f0", [source], ["called"], domain="own"))
    model.graph.output.add().name = "called"
    return f"{depth} functions of {calls} calls{', recursive' if is_recursive else ''}"


_CHANGES = (
    *(_change_field,) * 6, *(_rewire,) * 2, *(_rename_operation,) * 2, *(_set_attribute,) * 4, *(_set_constant,) * 4,
    _set_input, *(_move_node,) * 2, _enlarge, _add_function,
)  # fmt: skip
