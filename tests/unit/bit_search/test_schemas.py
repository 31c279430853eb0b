"""What a search writes is what its published schemas say."""

from __future__ import annotations

import json

import jsonschema
import pytest
from search_problem import search

from mho.schemas import json_schema


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "log.jsonl"
    return search("random", 6, log_path=path), path


def test_a_result_is_valid(result):
    jsonschema.validate(json.loads(json.dumps(result[0].to_json())), json_schema("search"))


def test_every_line_of_a_log_after_the_first_is_valid(result):
    lines = result[1].read_text().splitlines()[1:]
    assert len(lines) == 6
    for line in lines:
        jsonschema.validate(json.loads(line), json_schema("evaluation"))


def test_what_is_missing_is_not_valid(result):
    record = result[0].records[0].to_json()
    del record["cost"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, json_schema("evaluation"))
