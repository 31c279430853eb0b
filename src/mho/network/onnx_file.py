"""From a file or a `ModelProto` to an ONNX graph whose tensors can be trusted to be there: no network semantics yet."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import InputFileError, MhoError, UnsupportedOperationError
from mho.input_files import check_memory, check_regular_file, read_file, tell_kind
from mho.network.onnx_limits import check_file_size, check_functions

if TYPE_CHECKING:
    import onnx
    import onnx_ir

MIN_OPSET, MAX_OPSET = 11, 24

# Its warnings hold names of the file as they are; without a handler they would be printed.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())


def load_model(source: str | Path | onnx.ModelProto) -> tuple[onnx_ir.Model, str]:
    """Load an ONNX model and check that its parts are there.

    Args:
        source: a path, or a model in memory. External data must lie in the folder of the file.

    Returns:
        The model with local functions inlined, and what to call it in errors.

    Raises:
        InputFileError: missing, unreadable, truncated, not ONNX, or external data missing, too short or elsewhere.
        UnsupportedOperationError: an opset outside 11..24.
    """
    import onnx_ir

    if isinstance(source, str | Path):
        path = Path(source)
        where = str(source)
        proto, folder = _parse(path), path.parent
    else:
        proto, folder, where = source, None, source.graph.name or "ONNX model"
    if not proto.graph.node or not proto.graph.output:
        raise InputFileError("holds no network", where=where, expected="an ONNX model", hint="is the file complete?")
    for value in proto.graph.output:
        if value.type.sequence_type.elem_type.HasField("map_type") or value.type.HasField("map_type"):
            raise UnsupportedOperationError(
                f"output {value.name!r} holds maps", where=where, expected="tensors",
                hint="export scores as an array (skl2onnx: options={'zipmap': False})",
            )  # fmt: skip
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        names = [attribute.name for attribute in node.attribute]
        if len(set(names)) < len(names):  # libraries differ in which one they take
            twice = max(names, key=names.count)
            raise InputFileError(f"{node.op_type} ({node.name}) has the attribute {twice!r} twice", where=where)
    try:
        model = onnx_ir.from_proto(proto)
    except Exception as error:  # the library raises many kinds for malformed files
        raise InputFileError(f"malformed ONNX: {_first_line(error)}", where=where) from error
    for tensor in _tensors(model):
        if isinstance(tensor, onnx_ir.ExternalTensor):
            _check_external_data(tensor, folder, where)
    return prepare_model(model, where), where


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside `path` that hold arrays of its model, sorted. Raises as `load_model`."""
    import onnx_ir

    model, _ = load_model(path)
    names = {str(tensor.location) for tensor in _tensors(model) if isinstance(tensor, onnx_ir.ExternalTensor)}
    return tuple(path.parent / name for name in sorted(names))


def prepare_model(model: onnx_ir.Model, where: str) -> onnx_ir.Model:
    """Check the opset and inline local functions.

    Raises:
        UnsupportedOperationError: an opset outside 11..24.
        InputFileError, MemoryBudgetError: functions that cannot be inlined.
    """
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    if opset is None or not MIN_OPSET <= opset <= MAX_OPSET:
        raise UnsupportedOperationError(
            f"ONNX opset {opset}",
            where=where,
            expected=f"opset {MIN_OPSET}..{MAX_OPSET}",
            hint="onnx.version_converter.convert_version changes it",
        )
    if model.functions:
        from onnx_ir.passes.common import InlinePass

        check_functions(model, where)
        try:
            model = InlinePass()(model).model
        except Exception as error:  # the library raises many kinds for malformed functions
            raise InputFileError(f"malformed functions: {_first_line(error)}", where=where) from error
    return model


def find_fault(source: str | Path | onnx.ModelProto) -> str:
    """Return the first fault that ONNX's own checker finds, shape inference included, or ""."""
    import onnx

    proto = onnx.load(source, load_external_data=False) if isinstance(source, str | Path) else source
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # protobuf, the checker and shape inference raise many kinds
        return _first_line(error)
    return ""


def tensor_to_array(tensor: Any, where: str) -> NDArray[Any]:
    """Return the numbers of an ONNX tensor, owned or immutable; types below a byte as int8 or uint8.

    Raises:
        InputFileError: the data do not fill the tensor's shape, or are no real numbers.
        MemoryBudgetError: it would take more memory than the budget.
    """
    import onnx_ir

    try:
        text = f"tensor {tensor.name!r} of {tensor.dtype.name} {list(tensor.shape)}"
        if tensor.dtype.name in ("STRING", "COMPLEX64", "COMPLEX128") or any(size < 0 for size in tensor.shape):
            raise InputFileError(text, where=where, expected="real numbers, in a shape of sizes from 0")
        check_memory(tensor.nbytes, text, where=where)
        array = np.asarray(tensor.numpy())
        if isinstance(tensor, onnx_ir.TensorProtoTensor) and array.size and not _has_data(tensor.raw):
            raise InputFileError(f"{text} has no data", where=where)
    except MhoError:
        raise
    except Exception as error:  # many kinds: short data, unknown types, unreadable files
        raise InputFileError(f"a tensor: {_first_line(error)}", where=where) from error
    if array.dtype == np.bool_:
        return np.asarray(array.view(np.uint8) != 0)  # whatever a byte holds
    if not isinstance(tensor, onnx_ir.TensorProtoTensor):
        # What a torch module or a mapped file owns may change under a frozen network.
        array = array.copy()
    if array.dtype.name in ("int4", "int2"):
        return array.astype(np.int8)
    if array.dtype.name in ("uint4", "uint2"):
        return array.astype(np.uint8)
    return array


def _has_data(proto: onnx.TensorProto) -> bool:
    """Return whether a tensor holds any number; the library takes one without for zeros."""
    held = {field.name for field, _ in proto.ListFields()} - {"external_data"}
    return any(name.endswith("_data") for name in held)


def integer_bounds(tensor: Any) -> tuple[int, int] | None:
    """Return the range of an integer tensor's type, None for other types."""
    return integer_type_bounds(tensor.dtype.name)


def integer_type_bounds(name: str) -> tuple[int, int] | None:
    """Return the range of ONNX's integer type of that name (INT8, UINT4, ...), None for other types."""
    signed = name.startswith("INT")
    if not (signed or name.startswith("UINT")):
        return None
    bits = int(name.removeprefix("U").removeprefix("INT"))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _parse(path: Path) -> onnx.ModelProto:
    import onnx

    data = read_file(path, expected="an ONNX file")
    check_file_size(data, str(path))
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own kinds
        kind = tell_kind(path, data)
        if kind and path.suffix.lower() != ".onnx":
            is_program = path.suffix.lower() == ".mho"
            hint = f"mho inspect {path} shows a program, mho simulate {path} --timing its time" if is_program else ""
            raise InputFileError(
                f"is {kind}", where=str(path), expected="a network: an ONNX file or a name", hint=hint
            ) from error
        raise InputFileError(
            f"not an ONNX model: {_first_line(error)}",
            where=str(path),
            expected="an ONNX file",
            hint="is the file complete?",
        ) from error


def _tensors(model: onnx_ir.Model) -> Iterator[Any]:
    import onnx_ir

    for value in model.graph.initializers.values():
        yield value.const_value
    for node in itertools.chain(model.graph, *(function for function in model.functions.values())):
        for attribute in node.attributes.values():
            if attribute.type == onnx_ir.AttributeType.TENSOR:
                yield attribute.value


def _check_external_data(tensor: onnx_ir.ExternalTensor, folder: Path | None, where: str) -> None:
    """Let `tensor` read from the model's folder, if exactly its data lie there."""
    if folder is None:
        raise InputFileError(
            f"tensor {tensor.name!r} lies in another file", where=where, hint="read the model from its path"
        )
    location = str(tensor.location)
    try:
        tensor.base_dir = folder
        place = (folder / location).resolve()
        is_inside, needed = place.is_relative_to(folder.resolve()), tensor.nbytes
    except (OSError, ValueError, RuntimeError, TypeError) as error:  # names with NUL, circles of links, odd shapes
        reason = _first_line(error)
        raise InputFileError(f"tensor {tensor.name!r} in {location!r}: {reason}", where=where) from error
    if not is_inside:
        raise InputFileError(
            f"tensor {tensor.name!r} points outside the model's folder: {location}",
            where=where,
            expected="external data beside the model",
        )
    try:
        size = check_regular_file(place)
    except InputFileError as error:
        raise InputFileError(f"external data {location!r}: {error.what}", where=where) from error
    offset, length = tensor.offset or 0, needed if tensor.length is None else tensor.length
    if offset < 0 or length != needed:
        raise InputFileError(
            f"tensor {tensor.name!r} has {length} bytes of external data from byte {offset}",
            where=where,
            expected=f"{needed} bytes for {tensor.dtype.name} {list(tensor.shape)}",
        )
    if size < offset + length:
        raise InputFileError(
            f"external data {location!r} end at byte {size}",
            where=where,
            expected=f"at least {offset + length} bytes for tensor {tensor.name!r}",
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
