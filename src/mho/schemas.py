"""The JSON schemas of the files that mho reads and writes, published in docs/schemas.

Each entry of `SCHEMAS` says where the schema of a file lives: a pydantic model, or a function that returns the schema.
To publish another file's, add a line and run ``mho schema --write docs/schemas``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
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
        "schedule": "mho.report.schedule_schema:schedule_schema",
        "search": "mho.bit_search.schemas:search_schema",
        "study": "mho.workflow.study_config:StudyConfig",
        "study-result": "mho.report.study_document:StudyResult",
    }
)
"""Name of a schema -> "module:object"."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(name: str) -> dict[str, Any]:
    """Return a published schema. Raises `ConfigError` for an unknown name."""
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


def schema_text(name: str) -> str:
    """Return the content of a schema's file. Raises `ConfigError` for an unknown name."""
    return json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n"


def schema_file_name(name: str) -> str:
    """Return the name of a schema's file in docs/schemas."""
    return f"{name}.schema.json"
