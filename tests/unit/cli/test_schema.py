import json
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource

from mho.cli.main import main
from mho.cost_model.document import CostDocument
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, PolicyError
from mho.hardware.loading import list_presets, load_accelerator
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.schemas import SCHEMAS, json_schema, schema_file_name, schema_text

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_up_to_date(name):
    published = (PUBLISHED / schema_file_name(name)).read_text(encoding="utf-8")
    assert published == schema_text(name, linked=True), "run: mho schema --write docs/schemas"


def test_nothing_else_is_published():
    assert {path.name for path in PUBLISHED.iterdir()} == {schema_file_name(name) for name in SCHEMAS}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(json_schema(name))


def test_files_of_schemas_refer_to_each_other():
    files = {path.name: Resource.from_contents(json.loads(path.read_text())) for path in PUBLISHED.iterdir()}
    cost = jsonschema.Draft202012Validator(files["cost.schema.json"].contents, registry=Registry(files))
    hardware, layers = load_accelerator("pelke2026-4bit"), (MvmLayer("a", "linear", 10, 64, 1, 1),)
    found = cost_network(layers, Policy.uniform(("a",), BitWidths(4, 4)), hardware)
    document = json.loads(json.dumps(CostDocument.of("net", found, found, hardware).model_dump(mode="json")))
    cost.validate(document)
    document["accelerator"]["crossbar"]["rows"] = "many"
    with pytest.raises(jsonschema.ValidationError, match="many"):
        cost.validate(document)


@pytest.mark.parametrize("name", list_presets())
def test_presets_obey_the_schema(name):
    jsonschema.validate(load_accelerator(name).to_json(), json_schema("accelerator"))


@pytest.mark.parametrize("bits", [-1, 0, 1, 8, 9, 15, 16, 17, "8", 4.5, None])
@pytest.mark.parametrize("key", ["weight_bits", "act_bits"])
def test_the_policy_schema_takes_what_the_reader_takes(key, bits):
    content = {"layers": {"conv": {"weight_bits": 4, "act_bits": 4, key: bits}}}
    try:
        Policy.from_json(content)
        readable = True
    except PolicyError:
        readable = False
    assert jsonschema.Draft202012Validator(json_schema("policy")).is_valid(content) is readable


@pytest.mark.parametrize(
    "content", [{}, [], {"layers": []}, {"layers": {}, "x": 1}, {"layers": {"a": {"act_bits": 3}}}]
)
def test_the_policy_schema_refuses_what_the_reader_refuses(content):
    with pytest.raises(PolicyError):
        Policy.from_json(content)
    assert not jsonschema.Draft202012Validator(json_schema("policy")).is_valid(content)


def test_a_written_policy_obeys_the_schema():
    jsonschema.validate(Policy.uniform(["a", "b"], BitWidths(16, 1)).to_json(), json_schema("policy"))


def test_the_command_lists_and_prints(capsys):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out.split() == list(SCHEMAS)
    assert main(["schema", "policy"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema("policy")


def test_the_command_writes_all(tmp_path, capsys):
    assert main(["schema", "--write", str(tmp_path / "new")]) == 0
    for name in SCHEMAS:
        assert (tmp_path / "new" / schema_file_name(name)).read_text() == schema_text(name, linked=True)


def test_a_folder_that_cannot_be_made_is_exit_code_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["schema", "--write", str(tmp_path / "file")]) == 2
    assert "error: " in capsys.readouterr().err


def test_an_unknown_schema_is_met_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'policy'"):
        json_schema("polic")
