"""Writing TOML: values exactly as they are, and files to start from, with a comment for every key of a model."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

_WIDTH = 100
"""Characters of a line of comments."""


def toml_lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield a table's own values, then the tables in it, each under its dotted name; TOML has no word for None."""
    given = {key: value for key, value in table.items() if value is not None}
    for key, value in given.items():
        if not isinstance(value, Mapping):
            yield f"{toml_key(key)} = {toml_value(value)}"
    for key, value in given.items():
        below = f"{name}.{key}" if name else key
        if isinstance(value, Mapping) and (lines := tuple(toml_lines(value, below))):
            yield from ("", f"[{below}]", *lines)


def toml_key(key: str) -> str:
    """Return a key, in quotes where it needs them."""
    return key if key.replace("_", "").isalnum() and key.isascii() else _toml_text(key)


def toml_value(value: Any) -> str:
    """Return a number, a truth, a text or a list of these as TOML has it."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml_value, value))}]"
    return _toml_text(str(value)) if isinstance(value, (str, Path)) else str(value)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_template(model: type[BaseModel], content: Mapping[str, Any], *, heading: Sequence[str]) -> str:
    """Return the text of a TOML file that holds `content`, with a comment for every key that `model` knows.

    Keys that `content` does not give, or gives with their default value, are commented out, each with that value.

    Args:
        model: of the file; its nested models are tables.
        content: values by key, tables within each other.
        heading: lines of the comment at the beginning.
    """
    lines = [*(f"# {line}".rstrip() for line in heading), "", *_template(model, content, "")]
    return "\n".join(lines) + "\n"


def _template(model: type[BaseModel], content: Mapping[str, Any], name: str) -> Iterator[str]:
    tables = {}
    for key, field in model.model_fields.items():
        if (below := _table_of(field.annotation)) is not None or _is_mapping(field.annotation):
            tables[key] = below
            continue
        yield from _comment(field.description or "")
        value, default = content.get(key), None if field.is_required() else field.get_default()
        is_own = value is not None and value != default
        shown = value if value is not None else default
        yield ("" if is_own else "# ") + f"{toml_key(key)} ={'' if shown is None else ' ' + toml_value(shown)}"
    for key, below in tables.items():
        title, own = f"{name}.{key}" if name else key, content.get(key)
        is_there = own is not None or model.model_fields[key].default_factory is not None
        yield ""
        yield from _comment(model.model_fields[key].description or "")
        if below is None:
            yield f"{'' if own else '# '}[{title}]"
            yield from toml_lines(own or {}, title)
        elif is_there or not _is_optional(model.model_fields[key].annotation):
            yield f"[{title}]"
            yield from _template(below, own or {}, title)
        else:
            yield f"# [{title}]"
            yield "# (its keys: mho schema, and the documentation)"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH, break_on_hyphens=False)]


def _table_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a key that is a table; None of other keys."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _is_optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) in (dict, Mapping)
