"""The JSON schemas of the files that mho reads and writes, published in docs/schemas.

Each entry of `SCHEMAS` says where the schema of a file lives: a pydantic model, or a function that returns the schema.
To publish another file's, add a line and run ``mho schema --write docs/schemas``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from mho.errors import ConfigError, suggest

SCHEMAS: Mapping[str, str] = MappingProxyType(
    {
        "accelerator": "mho.hardware.spec:Accelerator",
        "comparison": "mho.report.comparison_document:Comparison",
        "cost": "mho.cost_model.document:CostDocument",
        "explanation": "mho.bit_search.explanation:explanation_schema",
        "evaluation": "mho.bit_search.schemas:record_schema",
        "map": "mho.report.map_document:MapDocument",
        "mix": "mho.workflow.mix_config:MixConfig",
        "policy": "mho.policy:policy_schema",
        "result": "mho.report.result:RunResult",
        "run": "mho.workflow.config:RunConfig",
        "run-comparison": "mho.report.run_comparison_document:RunComparison",
        "schedule": "mho.report.schedule_document:ScheduleDocument",
        "search": "mho.bit_search.schemas:search_schema",
        "study": "mho.workflow.study_config:StudyConfig",
        "study-result": "mho.report.study_document:StudyResult",
    }
)
"""Name of a schema -> "module:object"."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARTS = "#/$defs/"


def json_schema(name: str) -> dict[str, Any]:
    """Return a published schema, complete in itself. Raises `ConfigError` for an unknown name."""
    if name not in SCHEMAS:
        raise ConfigError(
            f"there is no schema {name!r}",
            expected=f"one of {', '.join(SCHEMAS)}",
            hint=suggest(name, SCHEMAS),
        )
    module, _, attribute = SCHEMAS[name].partition(":")
    home = getattr(importlib.import_module(module), attribute)
    schema = home.model_json_schema() if hasattr(home, "model_json_schema") else home()
    return {"$schema": _DIALECT, **schema}


def linked_schema(name: str) -> dict[str, Any]:
    """Return a schema as its file has it: parts that other files publish are references to those, by file name."""
    schema = json_schema(name)
    links = {
        part: other
        for part, content in schema.get("$defs", {}).items()
        for other in SCHEMAS
        if other != name and content == _content(other)
    }
    linked = _link(schema, links)
    kept = _reachable(_without(linked, "$defs"), linked.get("$defs", {}))
    if "$defs" in linked:
        linked["$defs"] = {part: content for part, content in linked["$defs"].items() if part in kept}
    return linked


@cache
def _content(name: str) -> dict[str, Any]:
    """Return a published schema as it is inside another one."""
    return _without(json_schema(name), "$schema", "$defs")


def _without(schema: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _link(content: Any, links: Mapping[str, str]) -> Any:
    """Return a schema with references to other files in the place of those to parts that these publish."""
    if isinstance(content, list):
        return [_link(one, links) for one in content]
    if not isinstance(content, dict):
        return content
    other = links.get(str(content.get("$ref")).removeprefix(_PARTS))
    linked = {key: _link(value, links) for key, value in content.items()}
    return linked if other is None else {**linked, "$ref": schema_file_name(other)}


def _reachable(content: Any, parts: Mapping[str, Any]) -> set[str]:
    """Return the names of the parts that a schema refers to, also through each other."""
    found: set[str] = set()
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref")).removeprefix(_PARTS)
            if name in parts and name not in found:
                found.add(name)
                waiting.append(parts[name])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def schema_text(name: str, *, linked: bool = False) -> str:
    """Return a schema as text, complete or `linked`, as its file is. Raises `ConfigError` for an unknown name."""
    content = linked_schema(name) if linked else json_schema(name)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def schema_file_name(name: str) -> str:
    """Return the name of a schema's file in docs/schemas."""
    return f"{name}.schema.json"
