import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits

import mho
from mho.cli.main import main
from mho.data.loading import load_dataset
from mho.errors import MhoError
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.program.container import read_program
from mho.report.result import read_result
from mho.seeds import derive_seed
from mho.workflow.config import load_config
from mho.workflow.run import run

NETWORK = """
from torch import nn

def make(classes, input_shape):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )
"""

CONFIG = """
[run]
name = "tiny"
seed = 3
threads = 1

[network]
name = "net.py:make"

[data]
name = "npz"
root = "data.npz"
calibration = 40
validation = 60

[accelerator]
name = "pelke2026-4bit"

[float_training]
epochs = 12
batch_size = 32
learning_rate = 0.1

[evaluation.training]
steps = 2
batch_size = 32
learning_rate = 0.01

[search]
method = "random"
budget = 8
allowed_drop_points = 20
hold_first_last = "none"

[qat]
epochs = 3
batch_size = 32
learning_rate = 0.01

[simulation]
reference_images = 40
interpreter_images = 10
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A configuration beside its network and its data: bright squares in one of three places."""
    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 3
    images = generator.normal(0, 0.6, (400, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 : 2 + 2 * label + 1, 1:6] += 1.0
    np.savez(folder / "data.npz", x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    (folder / "net.py").write_text(NETWORK)
    (folder / "config.toml").write_text(CONFIG)
    return folder / "config.toml"


def figures(directory: Path) -> dict:
    """All figures but those that tell how long something took."""
    content = json.loads((directory / "result.json").read_text())

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in ("seconds", "digest", "key")}
        return [strip(item) for item in value] if isinstance(value, list) else value

    content["files"] = [entry for entry in content["files"] if not entry["path"].endswith("search.json")]
    del content["settings"]["run"], content["searches"]  # the latter are what else was searched in the directory
    return strip(content)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    """The directory of an uninterrupted run."""
    directory = tmp_path_factory.mktemp("run") / "whole"
    run(load_config(config, directory=directory))
    return directory


def test_a_run_ends_in_exact_engines_a_faster_policy_and_a_page(finished):
    result = read_result(finished / "result.json")
    assert all(check.passed for check in result.checks), result.checks
    assert len(result.checks) == 5
    exact = result.contender("found").integer_reference
    assert (exact, result.tested_on, result.unsampled) == (result.contender("found").test, "exact integers", "")
    assert f"integer-reference accuracy on the test samples of npz is {100 * exact.accuracy:.2f}" in result.sentence
    assert "converters of pelke2026-4bit are ideal: its chips answer the same" in result.sentence
    assert result.contender("found").speedup > 1
    assert result.contender("float").test.accuracy > 0.6
    assert result.contender("reference").test.count == 100
    assert result.search.evaluations[result.search.best].gain == pytest.approx(result.contender("found").speedup)
    assert sum(layer.found.latency_us for layer in result.layers) == pytest.approx(result.contender("found").latency_us)
    page = (finished / "report.html").read_text()
    assert result.sentence in page.replace("&#39;", "'")
    assert result.conversion.startswith("ideal ADC (needs ")
    assert result.conversion in page
    for file in result.files:
        assert (finished / file.path).stat().st_size == file.bytes


def test_a_run_on_a_chip_of_many_crossbars_answers_in_the_order_of_its_schedule(config, tmp_path):
    own = {"name": "chip", "chip": {"crossbars": 12}, "array": {"programming_error": 0.3}, "sources": {}}
    chip = load_accelerator("pelke2026-4bit").to_json() | own
    (config.parent / "chip.toml").write_text(to_toml(accelerator_from_json(chip, where="chip")))
    content = CONFIG.replace("pelke2026-4bit", "chip.toml").replace("budget = 8", "budget = 3")
    content = content.replace("epochs = 12", "epochs = 4") + "chips = 2\nchip_images = 60\n"
    (config.parent / "on_chip.toml").write_text(content)
    result = run(load_config(config.parent / "on_chip.toml", directory=tmp_path / "chip")).result
    assert [check.name for check in result.checks if "whole chip" in check.name and check.passed]
    assert all(check.passed for check in result.checks), result.checks
    assert any(file.path.endswith("chip.mho") for file in result.files)
    program = read_program(tmp_path / "chip" / "stages" / "program" / "chip.mho")
    assert sum(program.schedule.copies.values()) > len(program.layers)
    # Chips whose cells err answer too, as `mho simulate --seed` tells them.
    (reference, found) = result.chip_answers
    assert (reference.images, found.images) == (60, 60)
    dataset = load_dataset(load_config(config).data, np.random.default_rng(0))
    test = dataset.test.spread(100).spread(60)
    file = tmp_path / "chip" / "stages" / "program" / "program.mho"
    (logits,) = mho.simulate(file, test.images, seed=2).values()
    assert found.accuracies[1] == (logits.argmax(axis=1) == test.labels).mean()
    assert "On 2 sampled chips of chip, 60 test samples each: mean" in result.sentence
    assert "as fast on one crossbar of chip as" in result.sentence


def test_a_run_that_trains_for_arrays_is_judged_on_their_chips(config, tmp_path):
    noisy = load_accelerator("pelke2026-4bit").to_json() | {"name": "noisy", "array": {"programming_error": 0.08}}
    (config.parent / "noisy.toml").write_text(to_toml(accelerator_from_json(noisy, where="noisy")))
    content = CONFIG.replace("budget = 8", "budget = 2").replace("epochs = 12", "epochs = 4")
    (config.parent / "noisy_run.toml").write_text(content + '\n[qat.noise]\naccelerator = "noisy.toml"\n')
    result = run(load_config(config.parent / "noisy_run.toml", directory=tmp_path / "noisy")).result
    assert all(check.passed for check in result.checks), result.checks
    dataset = load_dataset(load_config(config).data, np.random.default_rng(derive_seed(result.seed, "splits")))
    test, file = dataset.test.spread(100), tmp_path / "noisy" / "stages" / "program" / "program.mho"
    right = 0
    for number in range(3):
        seed = derive_seed(result.seed, f"judged chip {number}")
        (logits,) = mho.simulate(
            file, test.images, seed=seed, hardware=config.parent / "noisy.toml", batch_size=100
        ).values()
        right += int((logits.argmax(axis=1) == test.labels).sum())
    (found,) = (one for one in result.contenders if one.name == "found")
    assert found.test.correct == round(right / 3)
    (logits,) = mho.simulate(file, test.images).values()
    exact = found.integer_reference
    assert exact.correct == (logits.argmax(axis=1) == test.labels).sum()
    assert f"integer-reference accuracy is {100 * exact.accuracy:.2f}" in result.sentence
    assert [len(one.accuracies) for one in result.chip_answers] == [5, 5]
    assert "On 5 sampled chips of noisy, 100 test samples each: mean" in result.sentence
    assert any("are those of 3 sampled chips of noisy, for whose cells" in note for note in result.notes)


@pytest.mark.parametrize("data", ["digits", "bytes"])
def test_the_files_of_a_run_take_samples_as_the_dataset_gives_them(config, tmp_path, capsys, data):
    content = CONFIG.replace("budget = 8", "budget = 2").replace("epochs = 12", "epochs = 3")
    if data == "digits":
        content = content.replace('name = "npz"\nroot = "data.npz"', 'name = "digits"\ntest = 200')
        bunch, order = load_digits(), np.random.default_rng(0).permutation(1797)[:200]
        samples, labels = (bunch.images[:, None] / 16)[order], bunch.target[order]
    else:
        with np.load(config.parent / "data.npz") as arrays:
            coded = {name: arrays[name] for name in arrays.files}
        coded |= {name: (coded[name] * 40 + 100).clip(0, 255).astype(np.uint8) for name in ("x_train", "x_test")}
        np.savez(config.parent / "bytes.npz", **coded)
        content = content.replace("data.npz", "bytes.npz")
        samples, labels = coded["x_test"], coded["y_test"]
    (config.parent / "raw.toml").write_text(content)
    result = run(load_config(config.parent / "raw.toml", directory=tmp_path)).result
    assert all(check.passed for check in result.checks), result.checks
    wanted, stages = result.contender("found").test, tmp_path / "stages"
    assert wanted.count == len(labels)
    program = stages / "program" / "program.mho"
    (outputs,) = mho.simulate(program, samples).values()
    assert int((outputs.argmax(axis=1) == labels).sum()) == wanted.correct
    np.savez(tmp_path / "raw.npz", **{read_program(program).inputs[0]: samples, "labels": labels})
    assert main(["simulate", str(program), "--inputs", str(tmp_path / "raw.npz")]) == 0
    assert f"{100 * wanted.accuracy:.2f} % with exact integers" in capsys.readouterr().out
    for stage, file in (("found", "quantized.onnx"), ("float", "float.onnx")):
        session = onnxruntime.InferenceSession(stages / stage / file)
        (theirs,) = session.run(None, {session.get_inputs()[0].name: samples.astype(np.float32)})
        right = (theirs.argmax(axis=1) == labels).mean()
        assert right == pytest.approx(result.contender(stage).test.accuracy, abs=0.02), "differs by roundings at most"
    told = {step.operation: step.numbers for step in result.data.normalization}
    assert set(told) == ({"sub", "mul"} if data == "digits" else {"mul", "add"})
    assert told.get("sub") == ((pytest.approx(0.3053),) if data == "digits" else None)


def test_a_finished_run_is_not_made_again(finished, config):
    before = (finished / "stages" / "float" / "float.onnx").stat().st_mtime_ns
    content = (finished / "result.json").read_bytes()
    run(load_config(config, directory=finished))
    assert (finished / "stages" / "float" / "float.onnx").stat().st_mtime_ns == before
    assert (finished / "result.json").read_bytes() == content


def test_what_a_report_can_do_without_is_left_out_with_its_reason(finished, config, monkeypatch, capsys):
    def refuse(*_, **__):
        raise MhoError("too large", where="this part", expected="less")

    for name in ("NetworkMap.of", "schedule_policies", "collect_worths", "collect_searches"):
        monkeypatch.setattr(f"mho.workflow.outcome.{name}", refuse)
    assert main(["run", str(config), "--directory", str(finished)]) == 0
    output, page = capsys.readouterr().out, (finished / "report.html").read_text()
    result = read_result(finished / "result.json")
    assert {one.reason for one in result.absent} == {"this part: too large; expected less"}
    for name in ("map of the network", "whole chip", "sensitive", "searches"):
        (told,) = (one for one in result.absent if name in one.part)
        assert f"left out: {told.part}: this part: too large; expected less" in output
        assert f"<li>{told.part}: {told.reason}</li>" in page
    assert result.map is None
    assert result.layers
    monkeypatch.undo()
    assert run(load_config(config, directory=finished)).result.absent == ()


def test_a_mapping_that_the_accelerator_cannot_run_ends_no_run(config, tmp_path):
    own = load_accelerator("pelke2026-4bit").to_json()
    own |= {"name": "eight", "converters": {**own["converters"], "adc_bits": 8}, "sources": {}}
    (config.parent / "eight.toml").write_text(to_toml(accelerator_from_json(own, where="eight")))
    content = CONFIG.replace("pelke2026-4bit", "eight.toml").replace("budget = 8", "budget = 2")
    (config.parent / "eight_run.toml").write_text(content.replace("epochs = 12", "epochs = 2"))
    finished = run(load_config(config.parent / "eight_run.toml", directory=tmp_path))
    best, paper = finished.result.mappings
    assert best.speedup == pytest.approx(finished.result.contender("found").speedup)
    assert (paper.mapping, paper.speedup) == ("paper", None)
    assert "need an ADC of" in paper.reason
    assert [len(one.accuracies) for one in finished.result.chip_answers] == [1, 1], "all chips are alike"
    page = re.sub(r"\s+", " ", html.unescape(finished.page.read_text()))
    assert f"impossible: {paper.reason}" in page


def test_chips_that_cannot_be_sampled_are_told_in_the_headline(config, tmp_path, monkeypatch, capsys):
    noisy = load_accelerator("pelke2026-4bit").to_json() | {"name": "noisy", "array": {"programming_error": 0.08}}
    (config.parent / "noisy.toml").write_text(to_toml(accelerator_from_json(noisy, where="noisy")))
    content = CONFIG.replace("pelke2026-4bit", "noisy.toml").replace("budget = 8", "budget = 2")
    path = config.parent / "unsampled.toml"
    path.write_text(content.replace("epochs = 12", "epochs = 1"))

    def refuse(*_, **__):
        raise MhoError("too large", where="chip 1", expected="less")

    with monkeypatch.context() as patched:
        patched.setattr("mho.evaluation.chips.run_prepared_chip", refuse)
        assert main(["run", str(path), "--directory", str(tmp_path)]) == 0
    why = "5 sampled chips of noisy: chip 1: too large; expected less"
    told = f"No chips of noisy were sampled, although cells, wires or converters are not ideal: {why}."
    assert told in re.sub(r"\s+", " ", capsys.readouterr().out)
    result = read_result(tmp_path / "result.json")
    assert (result.chip_answers, result.unsampled) == ((), why)
    assert f"not ideal: {why}" in html.unescape((tmp_path / "report.html").read_text())
    path.write_text(path.read_text() + "chips = 0\n")
    assert "not ideal: simulation.chips is 0." in run(load_config(path, directory=tmp_path)).result.sentence


def test_another_budget_goes_on_from_the_same_float_network_and_evaluations(finished, config, tmp_path):
    text = config.read_text().replace("budget = 8", "budget = 9")
    longer = config.with_name("longer.toml")
    longer.write_text(text)
    stages = json.loads((finished / "result.json").read_text())["stages"]
    result = run(load_config(longer, directory=finished)).result
    assert [s.digest for s in result.stages[:4]] == [s["digest"] for s in stages[:4]]
    (log,) = (finished / "evaluations").iterdir()
    assert len(log.read_text().splitlines()) == 1 + 9
    run(load_config(config, directory=finished))


def test_searches_in_the_directory_of_a_run_explain_keep_budgets_list_fronts_and_stand_in_its_report(
    finished, config, capsys
):
    told = config.with_name("explanation.json")
    command = ["search", str(config), "--directory", str(finished)]
    assert main([*command, "--explain", "--explanation", str(told)]) == 0
    text = capsys.readouterr().out
    assert "one crossbar" in text
    assert "Costs are exact" in text
    assert len(json.loads(told.read_text())["layers"]) == 4
    assert main([*command, "--cost-budget", "0.9"]) == 0
    assert "allowed) instead of" in capsys.readouterr().out
    found = json.loads((finished / "stages/search-random-8-within-0.9/search.json").read_text())
    assert found["best"]["cost"] <= found["cost_budget"] <= 0.9 * found["reference"]["cost"]
    assert main([*command, "--whole-front", "--method", "exact"]) == 0
    assert "policies of all costs" in capsys.readouterr().out
    again = run(load_config(config, directory=finished)).result
    assert [one.method for one in again.searches] == ["random", "exact", "random", "random"]
    assert again.searches[0].gain == pytest.approx(again.search.evaluations[again.search.best].gain)
    assert {own.layer for own in again.worths} == {layer.name for layer in again.layers}
    assert main([*command, "--cost-budget", "0.01"]) == 2
    assert "the cheapest policy costs" in capsys.readouterr().err


def test_an_onnx_file_can_be_trained_too(finished, config, tmp_path):
    text = CONFIG.replace('"net.py:make"', f'"{finished / "stages" / "float" / "float.onnx"}"')
    path = config.with_name("onnx.toml")
    path.write_text(text.replace("epochs = 12", "epochs = 1").replace("budget = 8", "budget = 2"))
    result = run(load_config(path, directory=tmp_path / "onnx")).result
    assert result.network.source == "float.onnx"
    assert [layer.name for layer in result.layers] == [
        layer.name for layer in read_result(finished / "result.json").layers
    ]
    assert any("weights were given" in note for note in result.notes)
    assert all(check.passed for check in result.checks)


def kill_when(command: list[str], reached: Callable[[], bool], environment: dict[str, str]) -> None:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not reached() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_figures(finished, config, tmp_path):
    directory = tmp_path / "killed"
    command = [
        sys.executable,
        "-c",
        "import sys; from mho.cli.main import main; sys.exit(main())",
        "run",
        str(config),
        "--directory",
        str(directory),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stages = directory / "stages"

    def evaluated() -> bool:
        return any(len(log.read_text().splitlines()) > 3 for log in (directory / "evaluations").glob("*.jsonl"))

    kill_when(command, lambda: (stages / "float.partial" / "checkpoint").exists(), environment)
    kill_when(command, evaluated, environment)
    kill_when(command, lambda: (stages / "found.partial" / "finalist-0" / "checkpoint").exists(), environment)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert figures(directory) == figures(finished)


def test_the_command_tells_the_result_and_where_the_report_is(finished, config, capsys):
    assert main(["run", str(config), "--directory", str(finished)]) == 0
    output = capsys.readouterr().out
    assert read_result(finished / "result.json").sentence in output
    assert f"report: {finished / 'report.html'}" in output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("budget", "bugdet", "did you mean 'budget'"),
        ("data.npz", "absent.npz", "absent.npz"),
        ("net.py:make", "net.py:mke", "did you mean 'make'"),
        ("net.py:make", "absent.onnx", "absent.onnx"),
        ("pelke2026-4bit", "pelke2026-5bit", "pelke2026-4bit"),
        ('hold_first_last = "none"', 'pins = {nothing = "4/4"}', "nothing"),
        ("calibration = 40", "calibration = 400", "data.calibration"),
    ],
)
def test_bad_input_gives_one_error_and_exit_code_2(config, tmp_path, capsys, old, new, message):
    assert old in CONFIG
    path = config.with_name("bad.toml")
    path.write_text(CONFIG.replace(old, new).replace("epochs = 12", "epochs = 1"))
    assert main(["run", str(path), "--directory", str(tmp_path / "bad")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
