import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_run import HEAD, write_tiny_run

from mho.bit_search.qat_evaluator import QatEvaluator
from mho.cli.main import main
from mho.errors import MhoError
from mho.policy import Policy
from mho.program.container import read_program
from mho.program.program import BufferKind
from mho.report.result import read_result
from mho.workflow.config import load_config
from mho.workflow.run import run

QUICK = (
    HEAD
    + """[float_training]
epochs = 3
batch_size = 32
learning_rate = 0.1

[search]
method = "random"
budget = 3
allowed_drop = 0
min_weight_bits = 1
max_weight_bits = 1
min_act_bits = 1
max_act_bits = 2
hold_first_last = "none"

[qat]
steps = 2
learning_rate = 0.01

[simulation]
executor_images = 40
interpreter_images = 2
"""
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = write_tiny_run(tmp_path_factory.mktemp("tiny"))
    path.write_text(QUICK)
    return path


@pytest.fixture(scope="module")
def directory(config, tmp_path_factory) -> Path:
    """A directory with a finished run, whose float network further runs share."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    run(load_config(config, directory=folder))
    return folder


def execute(config: Path, directory: Path, capsys, *more: str) -> tuple[int, str]:
    code = main(["run", str(config), "--directory", str(directory), *more])
    shown = capsys.readouterr()
    return code, re.sub(r"\s+", " ", shown.out + shown.err).replace("\u202f", " ")


def test_a_run_whose_accuracy_is_out_of_reach_ends_with_the_nearest_policy_and_says_so(config, directory, capsys):
    code, text = execute(config, directory, capsys)
    assert code == 0
    result = read_result(directory / "result.json")
    assert re.match(
        r"No policy of \d evaluated reaches an accuracy of .* the best beside uniform 8/8 ", result.sentence
    )
    assert "With the nearest bit widths that were found, net.py:make answers" in result.sentence
    assert result.search.missed in text
    found = Policy.load(directory / "stages" / "found" / "policy.json")
    tried = result.search.evaluations[1:]
    assert all(bits.weight_bits == 1 for bits in found.layers.values())
    assert result.search.evaluations[result.search.best].accuracy == max(one.accuracy for one in tried)
    assert result.search.missed in (directory / "report.html").read_text()


def test_a_search_alone_tells_that_no_policy_keeps_the_goal_and_writes_none(config, directory, capsys, tmp_path):
    command = ["search", str(config), "--directory", str(directory)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["best"], found["missed"][:15]) == (None, "No policy of 3 ")
    assert len(found["front"]) > 0
    assert main([*command, "--output", str(tmp_path / "policy.json")]) == 2
    assert "no policy to write" in capsys.readouterr().err
    assert not (tmp_path / "policy.json").exists()


def test_a_given_policy_is_trained_compiled_and_simulated_without_a_search(config, directory, capsys, tmp_path):
    layers = Policy.load(directory / "stages" / "found" / "policy.json").layers
    given = Policy.uniform(layers, "4/6")
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(given.to_json()))
    code, text = execute(config, directory, capsys, "--policy", str(file))
    assert code == 0
    assert "With the bit widths that were given, net.py:make answers" in text
    assert Policy.load(directory / "stages" / "found" / "policy.json") == given
    result = read_result(directory / "result.json")
    assert (result.search.method, result.search.missed, len(result.search.evaluations)) == ("given", "", 2)
    file.write_text(json.dumps(Policy({name: given[name] for name in list(layers)[:2]}).to_json()))
    code, text = execute(config, directory, capsys, "--policy", str(file))
    assert code == 2
    assert re.search(r"search\.policy: layers without bit widths: ", text)


def test_a_digital_unit_without_floats_gets_networks_and_programs_of_integers_alone(
    config, directory, capsys, tmp_path
):
    layers = Policy.load(directory / "stages" / "found" / "policy.json").layers
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(Policy.uniform(layers, "4/6").to_json()))
    code, text = execute(config, directory, capsys, "--policy", str(file), "--arithmetic", "integer")
    assert (code, "5 of 5 checks passed" in text) == (0, True)
    program = read_program(directory / "stages" / "program" / "program.mho")
    floats = {name for name, buffer in program.buffers.items() if buffer.kind is BufferKind.FLOAT}
    assert floats == {*program.inputs, *program.outputs}


def test_a_failed_search_ends_in_a_report_of_what_it_evaluated_and_goes_on(
    config, directory, capsys, monkeypatch, tmp_path
):
    place = shutil.copytree(directory, tmp_path / "failed")
    shutil.rmtree(place / "stages" / "search")
    shutil.rmtree(place / "evaluations")
    genuine = QatEvaluator.evaluate
    for evaluated, reason in ((0, "the disk is gone"), (2, "the network is gone")):
        calls = []

        def evaluate(self, policy, calls=calls, evaluated=evaluated, reason=reason):
            calls.append(policy)
            if len(calls) > evaluated:
                raise MhoError(reason, where="evaluation")
            return genuine(self, policy)

        with monkeypatch.context() as patched:
            patched.setattr(QatEvaluator, "evaluate", evaluate)
            code, text = execute(config, place, capsys)
        assert code == 1
        result = read_result(place / "result.json")
        assert result.search.failed == f"evaluation: {reason}"
        assert result.sentence.startswith(
            f"The search failed (evaluation: {reason}); what it had evaluated before counts."
        )
        assert len(result.search.evaluations) == max(1, evaluated)
        assert "the search failed; the same command goes on with it" in text
    code, text = execute(config, place, capsys)
    assert (code, read_result(place / "result.json").search.failed) == (0, "")
