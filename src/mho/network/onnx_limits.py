"""What parsing an ONNX file and inlining its functions would take, counted before anything is built."""

from __future__ import annotations

import graphlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from mho.errors import InputFileError
from mho.input_files import check_memory, memory_budget_bytes

if TYPE_CHECKING:
    import onnx_ir

_NODE_BYTES, _FIELD_BYTES = 32 << 10, 1 << 10
"""What a node takes at most while a network is read, and any other field: its objects in several forms."""

_MAX_SAME_NAMES = 1 << 26
"""Sum of the squares of how often each name occurs: the inliner tries name_2, name_3, ... for each."""


def check_file_size(data: bytes, where: str) -> None:
    """Refuse a file whose fields would take more memory than the budget; protobuf turns two bytes into hundreds.

    Walks over the encoded messages without building them. What is malformed is left to the parser.

    Raises:
        MemoryBudgetError: it would.
    """
    import onnx

    budget, needed = memory_budget_bytes(), len(data)
    messages: list[tuple[Any, int, int]] = [(onnx.ModelProto.DESCRIPTOR, 0, len(data))]
    while messages and needed <= budget:
        kind, at, end = messages.pop()
        if kind.name == "NodeProto":
            needed += _NODE_BYTES
        fields = kind.fields_by_number
        try:
            while at < end and needed <= budget:
                key, at = _number(data, at)
                needed += _FIELD_BYTES
                field, form = fields.get(key >> 3), key & 7
                size = {1: 8, 5: 4}.get(form, 0)
                if form == 0:
                    _, at = _number(data, at)
                elif form == 2:
                    size, at = _number(data, at)
                    if field is not None and field.message_type is not None:
                        messages.append((field.message_type, at, min(at + size, end)))
                    elif field is not None and field.type not in (field.TYPE_BYTES, field.TYPE_STRING):
                        needed += 8 * size  # packed numbers, of a byte or more
                at += size
        except IndexError:
            continue
    check_memory(needed, "what the file describes", where=where)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the base-128 number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 or shift == 63:
            return value, at
        shift += 7


def check_functions(model: onnx_ir.Model, where: str) -> None:
    """Refuse functions that call themselves, and functions that inline to more nodes than the budget holds.

    Raises:
        InputFileError, MemoryBudgetError: so it is.
    """
    functions = model.functions
    called = {key: Counter(node.op_identifier() for node in body.all_nodes()) for key, body in functions.items()}
    try:
        order = list(graphlib.TopologicalSorter({k: set(v) & set(functions) for k, v in called.items()}).static_order())
    except graphlib.CycleError as error:
        cycle = " -> ".join(name for _, name, _ in error.args[1])
        raise InputFileError(f"a function calls itself: {cycle}", where=where) from error
    # From callers to callees: how often each is instantiated.
    times = Counter(node.op_identifier() for node in model.graph.all_nodes())
    for key in reversed(order):
        for callee, count in called[key].items():
            times[callee] += count * times[key]
    nodes = sum(times.values())
    check_memory(nodes * _NODE_BYTES, f"inlining functions to {min(nodes, 1 << 62)} nodes", where=where)
    names: Counter[str] = Counter()
    for key, body in functions.items():
        for node in body.all_nodes():
            for name in (node.name, *(value.name for value in node.outputs)):
                names[name or ""] += times[key]
    if sum(count * count for count in names.values()) > _MAX_SAME_NAMES:
        name, count = names.most_common(1)[0]
        raise InputFileError(f"inlining functions would repeat the name {name!r} {count} times", where=where)
