"""What runs, searches and studies keep and read again: logs, folders of stages, probes, caches."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from damage import change_tree, copy_tree, damage_bytes, to_json
from fuzz_settings import TreeKind
from fuzzing import Files, Kind
from random_networks import Chooser
from small_programs import conv_network

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.log import EvaluationLog
from mho.bit_search.sensitivity_probes import Probes
from mho.cost_model.layer_tables import load_layer_table
from mho.policy import BitWidths, Policy
from mho.quantization.export import write_qcdq_onnx
from mho.workflow.run_directory import list_stages, open_run_directory
from mho.workflow.search_results import read_records
from mho.workflow.study_log import StudyLog

PROBLEM = {"network": "ab", "data": {"seed": 1}}
KEY = "0" * 64


def make_records(count: int = 5) -> list[EvaluationRecord]:
    """Return records of policies that differ."""
    bits = [BitWidths(2 + number % 7, 8 - number % 7) for number in range(count)]
    return [
        EvaluationRecord(
            Policy({"conv": one, "fc": BitWidths(8, 8)}), 0.5, 0.9, 1000 + number, 3, 0.5, "rl", number, "full", "ok"
        )
        for number, one in enumerate(bits)
    ]  # fmt: skip


class LinesKind(Kind):
    """A file of JSON lines."""

    file = ""
    bases: list[list[Any]]

    def draw(self, chooser: Chooser) -> Any:
        return copy_tree(chooser.choice(self.bases))

    def change(self, mutant: Any, chooser: Chooser) -> str:
        if chooser.integer(0, 3) or not mutant:
            return change_tree(mutant, chooser)
        place = chooser.integer(0, len(mutant) - 1)
        mutant[place], what = damage_bytes(to_json(mutant[place]), chooser)
        mutant[place] = mutant[place].decode("latin-1")
        mutant[place] = "\0raw:" + mutant[place].replace('"', "'") if chooser.integer(0, 1) else mutant[place]
        return f"line {place}: {what}"

    def files(self, mutant: Any) -> Files:
        return {self.file: b"".join(to_json(line) + b"\n" for line in mutant)}


class LogKind(LinesKind):
    """An evaluation log, read as one of another problem, then gone on with as that of a search."""

    name, file, rewrites = "evaluation-log", "log.jsonl", True

    def prepare(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.jsonl")
            log = EvaluationLog(path, PROBLEM)
            for record in make_records():
                log.append(record)
            lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.bases = [lines]

    def read(self, folder: Path) -> None:
        path = folder / self.file
        before = path.read_bytes()
        read = EvaluationLog.read(path)
        assert path.read_bytes() == before, "reading a log changed it"
        log = EvaluationLog(path, PROBLEM)
        assert log.records == read.records
        log.append(make_records(6)[-1].__class__(**{**vars(make_records(1)[0]), "fidelity": "of the fuzzer"}))
        assert len(EvaluationLog.read(path)) == len(log)


class StudyLogKind(LinesKind):
    """The log of a study."""

    name, file, rewrites = "study-log", "results.jsonl", True

    def prepare(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "results.jsonl")
            log = StudyLog(path)
            for number in range(5):
                log.append(hashlib.sha256(bytes([number])).hexdigest(), 30 + number, {"seed": number})
            self.bases = [[json.loads(line) for line in path.read_text().splitlines()]]

    def read(self, folder: Path) -> None:
        log = StudyLog(folder / self.file)
        log.append("of the fuzzer", 3, {})
        assert len(StudyLog(folder / self.file)) == len(log)


class SearchKind(TreeKind):
    """The records of a search that is finished."""

    name, file = "search-result", "search.json"

    def prepare(self) -> None:
        records = [record.to_json() for record in make_records()]
        self.bases = [
            {"records": records, "best": records[1], "reference": records[0], "cost_budget": None, "given": 0}
        ]

    def read(self, folder: Path) -> None:
        from mho.input_files import read_json

        read_records(read_json(folder / self.file, expected="a search"), self.file)


class ProbesKind(TreeKind):
    """What probing layers gave."""

    name, file = "probes", "probes.json"

    def prepare(self) -> None:
        probes = Probes(("a", "b"), (2, 4), np.arange(8.0).reshape(2, 2, 2), 10)
        self.bases = [probes.to_json()]

    def read(self, folder: Path) -> None:
        Probes.read(folder / self.file).prior()


class StageKind(Kind):
    """The folder of a run with finished and unfinished stages."""

    name, rewrites = "run-directory", True

    def prepare(self) -> None:
        with tempfile.TemporaryDirectory() as folder, open_run_directory(Path(folder)) as opened:
            made = opened.begin("network", KEY)
            (made / "out.txt").write_text("a")
            opened.commit("network", KEY, {"accuracy": 0.5, "notes": ["x"]}, 1.0)
            opened.begin("float", KEY)
            self.base = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in Path(folder).rglob("*")
                if path.is_file() and path.name != "lock"
            }
        self.base["stages/float.partial/clock.json"] = b'{"seconds": 3.5}'
        self.base["stages/float.partial/half.txt"] = b"half"

    def draw(self, chooser: Chooser) -> Any:  # noqa: ARG002
        trees = {name: json.loads(text) for name, text in self.base.items() if name.endswith(".json")}
        return {"trees": trees, "plain": {name: text for name, text in self.base.items() if name not in trees}}

    def change(self, mutant: Any, chooser: Chooser) -> str:
        if chooser.integer(0, 3):
            name = chooser.choice(sorted(mutant["trees"]))
            tree = [mutant["trees"][name]]
            what = change_tree(tree, chooser)
            mutant["trees"][name] = tree[0] if tree else None
            return f"{name}: {what}"
        name = chooser.choice([*mutant["plain"]])
        if chooser.integer(0, 1):
            mutant["plain"][name], what = damage_bytes(mutant["plain"][name] or b"x", chooser)
            return f"{name}: {what}"
        del mutant["plain"][name]
        mutant["plain"][chooser.choice((f"{name}/x", f"{name}x", "stages/network/more.txt", name))] = b"x"
        return f"{name} moved"

    def files(self, mutant: Any) -> Files:
        trees = {name: to_json(tree) for name, tree in mutant["trees"].items()}
        return {name: text for name, text in {**trees, **mutant["plain"]}.items() if not _is_below_a_file(name, mutant)}

    def read(self, folder: Path) -> None:
        with open_run_directory(folder) as opened:
            finished = opened.finished("network", KEY)
            for stage in list_stages(folder, ""):
                json.dumps(stage.figures, allow_nan=False)
            if finished is not None:
                assert json.dumps(finished.figures, allow_nan=False)
                assert finished.seconds >= 0
            assert opened.begin("float", KEY).is_dir()
            assert opened.clock("float").seconds >= 0


class TableKind(TreeKind):
    """The kept layer table of a network: what is damaged is made anew."""

    name, file, rewrites = "layer-table", "", True

    def prepare(self) -> None:
        self.shared = tempfile.TemporaryDirectory(prefix="mho-fuzz-")
        self.spec = str(Path(self.shared.name, "network.onnx"))
        write_qcdq_onnx(conv_network(), self.spec)
        with tempfile.TemporaryDirectory() as folder:
            self.table = load_layer_table(self.spec, input_shape=None, cache=Path(folder))
            (path,) = Path(folder).rglob("*.json")
            self.file = path.relative_to(folder).as_posix()
            self.bases = [json.loads(path.read_text())]

    def read(self, folder: Path) -> None:
        assert load_layer_table(self.spec, input_shape=None, cache=folder) == self.table


def _is_below_a_file(name: str, mutant: Any) -> bool:
    return any(parent.as_posix() in {**mutant["trees"], **mutant["plain"]} for parent in Path(name).parents)
