"""Settings that people write: accelerators, runs, studies and mixes in TOML, policies and results in JSON."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerators import make_accelerator
from damage import change_tree, copy_tree, to_json, to_toml
from fuzzing import Files, Kind
from random_networks import Chooser
from small_programs import conv_network

import mho
from mho.hardware.loading import list_presets, load_accelerator
from mho.hardware.loading import to_toml as accelerator_toml
from mho.network.layers import derive_layer_table
from mho.policy import Policy
from mho.report.result import RunResult, read_result
from mho.workflow.config import load_config
from mho.workflow.mix_config import load_mix, load_runs
from mho.workflow.run import check_search
from mho.workflow.search_execution import SearchExecution
from mho.workflow.study_config import load_study
from mho.workflow.study_plan import plan_study

EXAMPLES = Path(__file__).parents[2] / "examples"
NETWORK = conv_network()
POLICY = {"layers": {"conv": {"weight_bits": 4, "act_bits": 3}}}


class TreeKind(Kind):
    """A file whose content is a tree of tables and lists.

    Attributes:
        file: name of the file.
        encode: writes the tree.
        bases: well-formed trees.
    """

    file = ""
    encode: Callable[[Any], bytes] = staticmethod(to_json)
    bases: list[Any]

    def draw(self, chooser: Chooser) -> Any:
        return [copy_tree(chooser.choice(self.bases))]  # within a list, so that the whole may be changed

    def change(self, mutant: Any, chooser: Chooser) -> str:
        return change_tree(mutant, chooser)

    def files(self, mutant: Any) -> Files:
        return {self.file: type(self).encode(mutant[0] if mutant else {})}


class TomlKind(TreeKind):
    """A TOML file, whose content is always a table."""

    encode = staticmethod(to_toml)

    def draw(self, chooser: Chooser) -> Any:
        return copy_tree(chooser.choice(self.bases))

    def files(self, mutant: Any) -> Files:
        return {self.file: to_toml(mutant)}


class AcceleratorKind(TomlKind):
    """Costs a small network on what was read, and writes it again."""

    name, file = "accelerator", "chip.toml"

    def prepare(self) -> None:
        presets = [load_accelerator(name) for name in list_presets()]
        small = make_accelerator(16, 12, crossbars=8)
        self.bases = [tomllib.loads(accelerator_toml(one)) for one in (*presets, small, small)]
        self.layers = derive_layer_table(NETWORK)

    def read(self, folder: Path) -> None:
        path = folder / self.file
        hardware = mho.accelerator(path)
        (again := folder / "again.toml").write_text(accelerator_toml(hardware), encoding="utf-8")
        assert mho.accelerator(again) == hardware
        again.unlink()
        mho.cost(NETWORK, hardware, "4/3")

    def arguments(self, folder: Path) -> list[str]:
        return ["inspect", str(folder / self.file)]


class RunKind(TomlKind):
    """Checks all that is checked before data is read."""

    name, file = "run-settings", "run.toml"

    def prepare(self) -> None:
        self.bases = [tomllib.loads(path.read_text(encoding="utf-8")) for path in _examples("*.toml") if _is_run(path)]
        for one in self.bases:
            one["data"]["root"] = "."

    def read(self, folder: Path) -> None:
        config = load_config(folder / self.file)
        config.to_json()
        check_search(config, SearchExecution())


class StudyKind(TomlKind):
    """Plans all points of the study."""

    name, file = "study", "study.toml"

    def prepare(self) -> None:
        self.bases = [tomllib.loads(path.read_text(encoding="utf-8")) for path in _examples("studies/*.toml")]

    def read(self, folder: Path) -> None:
        config = load_study(folder / self.file)
        config.to_json()
        plan_study(config, load_accelerator("pelke2026-4bit"), where="study")


class MixKind(TomlKind):
    """Loads the runs that the mix names."""

    name, file = "mix", "mix.toml"

    def prepare(self) -> None:
        self.bases = [tomllib.loads((EXAMPLES / "mix_cifar10.toml").read_text(encoding="utf-8"))]
        self.shared = tempfile.TemporaryDirectory(prefix="mho-fuzz-")
        for one in self.bases[0]["networks"].values():
            run = tomllib.loads((EXAMPLES / one["run"]).read_text(encoding="utf-8"))
            run["data"]["root"] = "."
            path = Path(self.shared.name, one["run"])
            path.write_bytes(to_toml(run))
            one["run"] = str(path)

    def read(self, folder: Path) -> None:
        config = load_mix(folder / self.file)
        config.to_json()
        load_runs(config)


class PolicyKind(TreeKind):
    """Costs a small network with the policy that was read."""

    name, file, bases = "policy", "policy.json", [POLICY]

    def prepare(self) -> None:
        adc = copy_tree(POLICY)
        adc["layers"]["conv"]["adc_bits"] = 5
        self.bases = [POLICY, adc]

    def read(self, folder: Path) -> None:
        policy = Policy.load(folder / self.file)
        assert Policy.from_json(policy.to_json()) == policy
        policy.check_against(NETWORK.layer_names)
        mho.cost(NETWORK, "pelke2026-4bit", policy)

    def arguments(self, folder: Path) -> list[str]:
        file = str(folder / self.file)
        return ["cost", str(EXAMPLES / "studies" / "digits.onnx"), "--accelerator", "pelke2026-4bit", "--policy", file]


class ResultKind(TreeKind):
    """Reads the result of a run."""

    name, file = "result", "result.json"

    def prepare(self) -> None:
        schema = RunResult.model_json_schema()
        result, hardware = _sample(schema, schema), make_accelerator().to_json()
        result["accelerator"] = result["map"]["accelerator"] = hardware
        self.bases = [result]

    def read(self, folder: Path) -> None:
        read_result(folder / self.file)


def _examples(pattern: str) -> list[Path]:
    return sorted(EXAMPLES.glob(pattern))


def _is_run(path: Path) -> bool:
    return "[run]" in path.read_text(encoding="utf-8")


def _sample(schema: dict[str, Any], part: dict[str, Any]) -> Any:
    """Return a small value that a JSON schema of pydantic allows."""
    if "$ref" in part:
        return _sample(schema, schema["$defs"][part["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in part:
        return _sample(schema, part["anyOf"][0])
    if "const" in part or "enum" in part:
        return part.get("const", part.get("enum", [None])[0])
    kind = part.get("type")
    if kind == "object":
        return {key: _sample(schema, below) for key, below in part.get("properties", {}).items()}
    if kind == "array":
        items = part.get("prefixItems") or [part["items"]] * max(2, part.get("minItems", 0))
        return [_sample(schema, item) for item in items]
    if kind in ("integer", "number"):
        return part.get("minimum", part.get("exclusiveMinimum", 0) + 1)
    return {"string": "name", "boolean": True}.get(str(kind))
