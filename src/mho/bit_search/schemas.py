"""The JSON schemas of what a search writes: its log of evaluations and its result."""

from __future__ import annotations

from typing import Any

from mho.bit_search.objective import Objective
from mho.policy import policy_schema

_NUMBER_OR_NULL = {"type": ["number", "null"]}


def record_schema() -> dict[str, Any]:
    """Return the JSON schema of one evaluation: a line of the log after its first, and an entry of a result."""
    properties: dict[str, Any] = {
        "index": {"type": "integer", "minimum": 0, "description": "Place in the log."},
        "policy": policy_schema(),
        "score": {**_NUMBER_OR_NULL, "description": "Loss on the calibration split; null where the training failed."},
        "accuracy": {**_NUMBER_OR_NULL, "description": "On the validation split, 0..1; null where it failed."},
        "objective": {"enum": [str(objective) for objective in Objective], "description": "What the cost is."},
        "cost": {"type": "integer", "minimum": 0, "description": "Of the policy under the objective, in `unit`."},
        "unit": {"enum": sorted({objective.unit for objective in Objective}), "description": "Of the cost."},
        "seed": {"type": "integer", "description": "Of the training."},
        "seconds": {"type": "number", "minimum": 0, "description": "What the evaluation took, s."},
        "method": {"type": "string", "description": "Which method proposed it first."},
        "fidelity": {"type": "string", "description": "How thoroughly it was measured, in words."},
        "status": {
            "enum": ["ok", "failed", "screened"],
            "description": "screened: not worth a full evaluation; its score is what a shorter one promises.",
        },
        "note": {"type": "string", "description": "Why it failed."},
        "seeds": {
            "type": "integer",
            "minimum": 2,
            "description": "Of how many measurements score and accuracy are the mean, where more than one.",
        },
    }
    return {
        "title": "EvaluationRecord",
        "description": "One evaluated policy. The log's first line names its format, version and problem instead.",
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key != "seeds"],
        "additionalProperties": False,
    }


def _noise_schema() -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "number"}, "description": "Of the seeds, the search's own first."}
    properties: dict[str, Any] = {
        "scores": numbers,
        "accuracies": numbers,
        "score_deviation": {**_NUMBER_OR_NULL, "description": "Standard deviation."},
        "accuracy_deviation": {**_NUMBER_OR_NULL, "description": "Standard deviation, 0..1."},
        "failed": {"type": "integer", "minimum": 0, "description": "Seeds that failed."},
    }
    spread = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"best": spread, "reference": spread},
        "required": ["best", "reference"],
        "additionalProperties": False,
    }


def search_schema() -> dict[str, Any]:
    """Return the JSON schema of `search.json`."""
    record = record_schema()
    properties: dict[str, Any] = {
        "method": {"type": "string"},
        "objective": {"enum": [str(objective) for objective in Objective], "description": "What was made least."},
        "reference_accuracy": {"type": "number", "description": "Of uniform 8/8 on the validation split, 0..1."},
        "allowed_drop": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Points (percent); null within a cost budget.",
        },
        "cost_budget": {
            "type": ["integer", "null"],
            "minimum": 1,
            "description": "What the best policy may cost, in the objective's unit; null: no limit but the accuracy.",
        },
        "whole_front": {"type": "boolean", "description": "Whether policies of all costs were looked for."},
        "reference": {"$ref": "#/$defs/record"},
        "best": {"anyOf": [{"$ref": "#/$defs/record"}, {"type": "null"}]},
        "front": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "Places of the Pareto front in records, cheapest first.",
        },
        "records": {"type": "array", "items": {"$ref": "#/$defs/record"}},
        "ended": {"type": "string", "description": "Why the search ended."},
        "given": {
            "type": "integer",
            "minimum": 0,
            "description": "How many records, those after the reference, come from earlier searches.",
        },
        "spent": {"type": "number", "minimum": 0, "description": "What the search took, in full evaluations."},
        "noise": {
            "anyOf": [_noise_schema(), {"type": "null"}],
            "description": "Best policy and reference, each seed by itself; null where nothing was repeated.",
        },
    }
    return {
        "title": "SearchResult",
        "description": "Every policy that a search tried or was given, in the order in which it got to know them.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": {"record": record},
    }
