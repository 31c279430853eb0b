"""From a file or a `ModelProto` to an ONNX graph whose tensors can be trusted to be there: no network semantics yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import InputFileError, UnsupportedOperationError

if TYPE_CHECKING:
    import onnx
    import onnx_ir

MIN_OPSET, MAX_OPSET = 11, 23


def load_model(source: str | Path | onnx.ModelProto) -> tuple[onnx_ir.Model, str]:
    """Load an ONNX model and check that its parts are there.

    Args:
        source: a path, or a model in memory. External data must lie in the folder of the file.

    Returns:
        The model with local functions inlined, and what to call it in errors.

    Raises:
        InputFileError: missing, unreadable, truncated, not ONNX, or external data missing, too short or elsewhere.
        UnsupportedOperationError: an opset outside 11..23.
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
    try:
        model = onnx_ir.from_proto(proto)
    except Exception as error:  # the library raises many kinds for malformed files
        raise InputFileError(f"malformed ONNX: {_first_line(error)}", where=where) from error
    if folder is not None:
        onnx_ir.external_data.set_base_dir(model.graph, folder)
    _check_external_data(model, folder, where)
    return prepare_model(model, where), where


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside `path` that hold arrays of its model, sorted. Raises as `load_model`."""
    import onnx_ir

    model, _ = load_model(path)
    names = {str(tensor.location) for tensor in _tensors(model) if isinstance(tensor, onnx_ir.ExternalTensor)}
    return tuple(path.parent / name for name in sorted(names))


def prepare_model(model: onnx_ir.Model, where: str) -> onnx_ir.Model:
    """Check the opset and inline local functions. Raises `UnsupportedOperationError`."""
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

        model = InlinePass()(model).model
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
        InputFileError: the data do not fill the tensor's shape.
    """
    import onnx_ir

    try:
        array = np.asarray(tensor.numpy())
    except Exception as error:  # many kinds: short data, unknown types, unreadable files
        raise InputFileError(f"tensor {tensor.name!r}: {_first_line(error)}", where=where) from error
    if not isinstance(tensor, onnx_ir.TensorProtoTensor):
        # What a torch module or a mapped file owns may change under a frozen network.
        array = array.copy()
    if array.dtype.name in ("int4", "int2"):
        return array.astype(np.int8)
    if array.dtype.name in ("uint4", "uint2"):
        return array.astype(np.uint8)
    return array


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

    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputFileError(what, where=str(path), expected="an ONNX file")
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be read", where=str(path)) from error
    except Exception as error:  # protobuf raises its own kinds
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


def _check_external_data(model: onnx_ir.Model, folder: Path | None, where: str) -> None:
    import onnx_ir

    for tensor in _tensors(model):
        if not isinstance(tensor, onnx_ir.ExternalTensor):
            continue
        if folder is None:
            raise InputFileError(
                f"tensor {tensor.name!r} lies in another file", where=where, hint="read the model from its path"
            )
        place = (folder / str(tensor.location)).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise InputFileError(
                f"tensor {tensor.name!r} points outside the model's folder: {tensor.location}",
                where=where,
                expected="external data beside the model",
            )
        if not place.is_file():
            raise InputFileError(f"external data {str(tensor.location)!r} are missing", where=where)
        end = (tensor.offset or 0) + (tensor.length if tensor.length is not None else tensor.nbytes)
        if place.stat().st_size < end:
            raise InputFileError(
                f"external data {str(tensor.location)!r} end at byte {place.stat().st_size}",
                where=where,
                expected=f"at least {end} bytes for tensor {tensor.name!r}",
            )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
