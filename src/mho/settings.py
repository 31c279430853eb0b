"""Reading what people write by hand: a TOML file becomes a frozen pydantic model, or one error with all problems.

The models own keys, types and ranges. This module owns the text of the error: file, dotted key, what was found, the
valid range, and the nearest known key for a misspelt one. It knows no model.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from mho.errors import ConfigError, InputFileError, suggest
from mho.input_files import check_content, check_regular_file, read_text

Model = TypeVar("Model", bound=BaseModel)
Schema = Mapping[str, Any]

MAX_COUNT = 1_000_000_000
"""The most that a key counts (images, steps, epochs)."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]

MAX_TOML_BYTES = 1 << 19
_SHOWN_LINE = 80
"""Characters of a line that are shown."""
_MAX_DOTS = 400
"""Of a line: parsing a key of n parts takes time and memory of n^2."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file; fractions become exact `Decimal`.

    Raises:
        InputFileError: missing, no TOML, over 512 KiB long, or as `mho.input_files.check_content`.
    """
    expected = "a TOML file"
    if (size := check_regular_file(path, expected=expected)) > MAX_TOML_BYTES:
        raise InputFileError(f"{size:,} bytes long", where=str(path), expected=f"at most {MAX_TOML_BYTES:,} bytes")
    text = read_text(path, expected=expected)
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise InputFileError(
            f"a line with over {_MAX_DOTS} dots", where=str(path), hint="write long lists over several lines"
        )
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        what, hint = _explain_toml(str(error), text)
        raise InputFileError(what, where=str(path), expected=expected, hint=hint) from error
    check_content(content, where=str(path))
    return content


def _explain_toml(message: str, text: str) -> tuple[str, str]:
    """Return what is wrong with a text that is not TOML, with the line that it is about, and what is often meant."""
    place = re.search(r"\(at line (\d+), column \d+\)", message)
    lines = text.split("\n")
    if place is None or not 0 < int(place[1]) <= len(lines):
        return f"not TOML: {message}", ""
    line = lines[int(place[1]) - 1].strip()[:_SHOWN_LINE]
    key, is_value, value = (part.strip() for part in line.partition("#")[0].partition("="))
    hint = ""
    if is_value and re.fullmatch(r"[+-]?\d+,\d+", value):
        hint = f"numbers have a decimal point, not a comma: {key} = {value.replace(',', '.')}"
    elif is_value and value in ("True", "False"):
        hint = f"small letters: {key} = {value.lower()}"
    elif is_value and re.fullmatch(r"[^\W\d][\w./ -]*", value):
        hint = f'text needs quotes: {key} = "{value}"'
    return f"not TOML: {message}: {line}", hint


def parse_settings(model: type[Model], content: Any, *, where: str) -> Model:
    """Validate `content` (tables of a TOML or JSON file) as `model`.

    Args:
        model: what the content must be.
        content: nested dictionaries, lists and scalars.
        where: the file, for messages.

    Raises:
        ConfigError: names every unknown, missing or impossible key at once, dotted, with its valid range.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _explain(model, error, where) from error


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    schema = _json_schema(model)
    problems: dict[str, tuple[str, str, str]] = {}
    for detail in error.errors(include_url=False):
        problem = _explain_one(schema, detail)
        problems.setdefault(problem[0], problem)
    # Of a value that fits no member of a union, what is wrong within it helps more than that it is no other.
    for key in [key for key in problems if any(other.startswith(f"{key}.") for other in problems)]:
        del problems[key]
    if len(problems) == 1:
        key, what, expected = next(iter(problems.values()))
        hint = _hint(schema, key) if what.startswith("unknown key") else ""
        return ConfigError(what, where=f"{where}: {key}" if key else where, expected=expected, hint=hint)
    lines = [f"{len(problems)} problems"]
    for key, what, expected in problems.values():
        line = f"  {key}: {what}" if key else f"  {what}"
        hint = _hint(schema, key) if what.startswith("unknown key") else ""
        lines.append(line + (f"; expected {expected}" if expected else "") + (f"; {hint}" if hint else ""))
    return ConfigError("\n".join(lines), where=where)


def explain_value(error: ValidationError, schema: Schema) -> tuple[str, str]:
    """Return what is wrong with the one value that pydantic refuses, and what was expected.

    Args:
        error: of pydantic.
        schema: JSON schema of the value.
    """
    return f"is {_show(error.errors(include_url=False)[0]['input'])}", describe_values(schema, schema)


@cache
def _json_schema(model: type[BaseModel]) -> Schema:
    """Return the JSON schema of a model; making it takes tens of milliseconds."""
    return model.model_json_schema()


def _explain_one(schema: Schema, detail: Any) -> tuple[str, str, str]:
    """Return the dotted key, what is wrong with it and what was expected."""
    keys, field = _walk(schema, detail["loc"], into_tables=not detail["type"].endswith("_type"))
    expected = describe_values(schema, field)
    if detail["type"] == "extra_forbidden":
        return ".".join((*keys, str(detail["loc"][-1]))), "unknown key", ""
    if detail["type"] == "missing":
        return ".".join(keys), "missing", expected
    if detail["type"] == "value_error":
        return ".".join(keys), str(detail["ctx"]["error"]), "" if field.get("type") == "object" else expected
    return ".".join(keys), f"is {_show(detail['input'])}", expected


def _walk(schema: Schema, location: Sequence[int | str], *, into_tables: bool) -> tuple[tuple[str, ...], Schema]:
    """Follow a pydantic error location through the schema; stops at what are not keys (members of unions).

    Args:
        schema: of the model.
        location: keys, indices, and what pydantic calls members of unions.
        into_tables: go on into a last member that is a table: the value is a table too.
    """
    keys: list[str] = []
    here: Schema = schema
    for number, step in enumerate(location, start=1):
        here = _resolve(schema, here)
        options = [_resolve(schema, option) for option in here.get("anyOf", [])]
        below = next((found for option in (here, *options) if (found := _step(option, step)) is not None), None)
        if below is None:
            name = re.search(r"(\w+)]?$", str(step))  # such as function-after[_check_ends(), Range]
            reference = {"$ref": f"#/$defs/{name[1]}"} if name else {}
            if (number == len(location) and not into_tables) or reference not in here.get("anyOf", []):
                break
            here = reference
            continue
        keys.append(str(step))
        here = below
    return tuple(keys), _with_own_text(schema, here)


def _step(schema: Schema, step: int | str) -> Schema | None:
    if isinstance(step, int):
        items = schema.get("items")
        return items if isinstance(items, Mapping) else None
    properties = schema.get("properties", {})
    if step in properties:
        return dict(properties[step])
    for pattern, part in schema.get("patternProperties", {}).items():
        if re.search(pattern, step):
            return dict(part)
    extra = schema.get("additionalProperties")
    return extra if isinstance(extra, Mapping) else None


def _resolve(schema: Schema, part: Schema) -> Schema:
    reference = part.get("$ref")
    return schema["$defs"][reference.removeprefix("#/$defs/")] if reference else part


def _with_own_text(schema: Schema, part: Schema) -> Schema:
    return {**_resolve(schema, part), **part}


def describe_values(schema: Schema, field: Schema) -> str:
    """Describe which values a field of a JSON schema may take: ``a whole number, 1..8 or "ideal"``."""
    field = _resolve(schema, field)
    if "anyOf" in field:
        options = (option for option in field["anyOf"] if option.get("type") != "null")  # a key may be left out
        return " or ".join(filter(None, (describe_values(schema, option) for option in options)))
    if "enum" in field:
        return "one of " + ", ".join(repr(value) for value in field["enum"])
    if "const" in field:
        return repr(field["const"])
    kind = _KINDS.get(str(field.get("type")), "")
    limits = _limits(field)
    return f"{kind}, {limits}" if kind and limits else kind or limits


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


def _limits(field: Schema) -> str:
    if field.get("minLength") == 1:
        return "not empty"
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low}..{high}"
    bounds = ((low, "at least"), (above, "above"), (high, "at most"), (below, "below"))
    return ", ".join(f"{word} {bound}" for bound, word in bounds if bound is not None)


def _show(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hint(schema: Schema, key: str) -> str:
    """Suggest the nearest key beside a misspelt one, or its real place where it stands in the wrong table."""
    parent, _, name = key.rpartition(".")
    known = list(_known_keys(schema, schema, ""))
    siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == parent]
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    if hint := suggest(name, siblings):
        return hint
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    return f"known here: {', '.join(siblings)}" if siblings else ""


def _known_keys(schema: Schema, part: Schema, prefix: str) -> Iterator[str]:
    for name, below in _resolve(schema, part).get("properties", {}).items():
        yield prefix + name
        yield from _known_keys(schema, below, f"{prefix}{name}.")
