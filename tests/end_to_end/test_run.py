import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits
from tiny_run import CONFIG, write_tiny_run

import mho
from mho.cli.main import main
from mho.data.loading import load_dataset
from mho.deploy.image import build_image
from mho.errors import MhoError
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.program.container import read_program
from mho.report.result import read_result
from mho.seeds import derive_seed
from mho.workflow.config import load_config
from mho.workflow.run import run


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A configuration beside its network and its data: bright squares in one of three places."""
    return write_tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    """The directory of an uninterrupted run."""
    directory = tmp_path_factory.mktemp("run") / "whole"
    run(load_config(config, directory=directory))
    return directory


def changed(config: Path, *changes: tuple[str, str], more: str = "") -> Path:
    """Write the configuration with other words in it, and more at its end."""
    text = CONFIG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = config.with_name("changed.toml")
    path.write_text(text + more)
    return path


def hardware(config: Path, name: str, **changes) -> str:
    """Write an accelerator beside the configuration, and return its file's name."""
    content = load_accelerator("pelke2026-4bit").to_json()
    converters = {**content["converters"], **changes.pop("converters", {})}
    content |= {"name": name, "converters": converters, "sources": {}, **changes}
    (config.parent / f"{name}.toml").write_text(to_toml(accelerator_from_json(content, where=name)))
    return f"{name}.toml"


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the finished run: stages that do not depend on what a test changes are taken from it."""
    return shutil.copytree(finished, tmp_path / "copy")


ANY_DROP = ("allowed_drop = 20", "allowed_drop = 100")
SHORT = ("epochs = 12", "epochs = 3"), ("budget = 8", "budget = 2")


def test_a_run_ends_in_exact_engines_a_faster_policy_and_a_page(finished):
    result = read_result(finished / "result.json")
    assert all(check.passed for check in result.checks), result.checks
    assert (len(result.checks), result.absent) == (5, ())
    exact = result.candidate("found").integer_reference
    assert (exact, result.tested_on, result.unsampled) == (result.candidate("found").test, "exact integers", "")
    assert f"integer-reference accuracy on the test samples of npz is {100 * exact.accuracy:.2f}" in result.sentence
    assert "Chips of pelke2026-4bit compute these integers exactly." in result.sentence
    assert result.candidate("found").speedup > 1
    assert result.candidate("float").test.accuracy > 0.6
    assert result.candidate("reference").test.count == 100
    assert result.search.evaluations[result.search.best].gain == pytest.approx(result.candidate("found").speedup)
    assert sum(layer.found.latency_us for layer in result.layers) == pytest.approx(result.candidate("found").latency_us)
    page = (finished / "report.html").read_text()
    assert result.sentence in page.replace("&#39;", "'")
    assert result.conversion.startswith("ideal ADC (needs ")
    assert result.conversion in page
    for file in result.files:
        assert (finished / file.path).stat().st_size == file.bytes


def test_a_result_tells_errors_by_class_sensitivities_cost_splits_and_sizes(finished):
    result = read_result(finished / "result.json")
    for errors, candidate in zip(result.errors, result.candidates, strict=True):
        assert sum(one.correct for one in errors.classes) == candidate.test.correct
        assert sum(one.count for one in errors.confusions) == candidate.test.count - candidate.test.correct
        loss = sum(one.count * one.loss for one in errors.classes) / candidate.test.count
        assert loss == pytest.approx(candidate.test.loss, rel=1e-4)
    assert result.sensitivities.samples == 40
    widths = [bits for layer in result.layers for bits in (layer.found.weight_bits, layer.found.act_bits)]
    assert [one.bits for one in result.sensitivities.operands] == widths
    steps = [(one.less, one.more) for one in result.sensitivities.operands]
    assert all(less is None or less.cost <= 0 for less, _ in steps)
    assert any(more is not None and more.cost > 0 for _, more in steps)
    for split, candidate in zip(result.splits, result.candidates[1:], strict=True):
        assert sum(split.time_us.values()) == pytest.approx(candidate.latency_us)
    *_, reference, found = result.sizes
    assert found.weight_bits == pytest.approx(result.candidate("found").weight_bits * found.weights)
    assert (found.program_bytes, reference.tiles) == (
        (finished / "stages" / "program" / "program.mho").stat().st_size,
        result.candidate("reference").tiles,
    )
    image = build_image(read_program(finished / "stages" / "program" / "program.mho"))
    assert (found.flash_bytes, found.ram_bytes) == (len(image.content), image.memory.arena.size)
    same = mho.compare_runs(finished, finished)
    assert (same.better, same.settings, same.accuracies[0].difference) == (None, (), 0.0)
    assert same.accuracies[0].test == "McNemar's exact test on the same 100 samples"


def check_files(directory: Path, samples: np.ndarray, labels: np.ndarray, capsys) -> None:
    """Check that programs and networks take samples as the dataset gives them, and are as accurate as the run says."""
    result, stages = read_result(directory / "result.json"), directory / "stages"
    assert all(check.passed for check in result.checks), result.checks
    exact = {
        name: result.candidate(name).integer_reference or result.candidate(name).test for name in ("found", "float")
    }
    wanted, program = exact["found"], stages / "program" / "program.mho"
    assert wanted.count == len(labels)
    (outputs,) = mho.simulate(program, samples).values()
    assert int((outputs.argmax(axis=1) == labels).sum()) == wanted.correct
    np.savez(directory / "raw.npz", **{read_program(program).inputs[0]: samples, "labels": labels})
    assert main(["simulate", str(program), "--inputs", str(directory / "raw.npz")]) == 0
    assert f"{100 * wanted.accuracy:.2f} % with exact integers" in capsys.readouterr().out
    for stage, file in (("found", "quantized.onnx"), ("float", "float.onnx")):
        session = onnxruntime.InferenceSession(stages / stage / file)
        (theirs,) = session.run(None, {session.get_inputs()[0].name: samples.astype(np.float32)})
        right = (theirs.argmax(axis=1) == labels).mean()
        assert right == pytest.approx(exact[stage].accuracy, abs=0.02), "differs by roundings at most"


def test_a_run_on_a_chip_of_many_crossbars_answers_in_the_order_of_its_schedule(config, tmp_path, capsys):
    """Its data are bytes, and its cells err."""
    with np.load(config.parent / "data.npz") as arrays:
        coded = {name: arrays[name] for name in arrays.files}
    coded |= {name: (coded[name] * 40 + 100).clip(0, 255).astype(np.uint8) for name in ("x_train", "x_test")}
    np.savez(config.parent / "bytes.npz", **coded)
    chip = hardware(config, "chip", chip={"crossbars": 12}, array={"programming_error": 0.3})
    few_widths = ('hold_first_last = "none"', 'hold_first_last = "none"\nmin_weight_bits = 6\nmin_act_bits = 7')
    changes = *SHORT, ("pelke2026-4bit", chip), ("data.npz", "bytes.npz"), few_widths
    path = changed(config, *changes, more="chips = 2\nchip_images = 60\n")
    result = run(load_config(path, directory=tmp_path)).result
    check_files(tmp_path, coded["x_test"], coded["y_test"], capsys)
    assert {step.operation for step in result.data.normalization} == {"mul", "add"}
    assert [check.name for check in result.checks if "in schedule order" in check.name]
    program = read_program(tmp_path / "stages" / "program" / "program.mho")
    assert sum(program.schedule.copies.values()) > len(program.layers)
    assert mho.timing(program).latency_ps / 1e6 == result.candidate("found").latency_us
    (before, after) = result.chip
    assert (after.regime, after.writes, before.speedup) == ("weight-stationary", 0, 1)
    assert (after.latency_us, after.speedup) == (
        result.candidate("found").latency_us,
        result.candidate("found").speedup,
    )
    # The sampled chips are those of `mho simulate --seed`.
    (reference, found) = result.chip_accuracies
    assert (reference.images, found.images) == (60, 60)
    index = np.arange(60) * 100 // 60
    (logits,) = mho.simulate(tmp_path / "stages/program/program.mho", coded["x_test"][index], seed=2).values()
    assert found.accuracies[1] == (logits.argmax(axis=1) == coded["y_test"][index]).mean()
    assert "On 2 sampled chips of chip, it gets" in result.sentence
    assert (result.tested_on, result.candidate("found").test.count) == ("2 sampled chips of chip", 120)
    assert result.candidate("found").test.accuracy == pytest.approx(found.mean)
    assert "evaluated by the statistical model of chip" in result.search.fidelity
    choice = result.mapping_choice
    assert choice.tried[0].max_error == "none"
    used = choice.tried[choice.chosen].max_error
    rules = result.accelerator["mapping"]
    assert used == str(rules["max_error"]), "all later stages use what was chosen"
    assert [one.index for one in result.agreement.policies] == [0, 1]
    assert result.agreement.rank_correlation is None, "two policies have no ranks to speak of"
    # Such cells lose more than is allowed: the run says by how much, what of the chip costs it, and how to go on.
    target, errors = result.target, result.error_sources
    assert (target.is_reached, [one.name for one in errors.sources]) == (False, ["errors of writes"])
    assert errors.sources[0].accuracy == errors.exact_accuracy, "there is no other kind of errors"
    assert f"It misses the {100 * target.accuracy:.2f}" in result.sentence
    assert main(["study", str(tmp_path / "stages/errors/study.toml"), "--check"]) == 0
    assert "as fast on chip as" in result.sentence
    assert f"stay in {after.used_crossbars} of 12 crossbars" in result.sentence


def test_a_run_that_trains_an_onnx_file_for_arrays_is_evaluated_on_their_chips(finished, config, tmp_path):
    noisy = hardware(config, "noisy", array={"programming_error": 0.08})
    network = str(finished / "stages" / "float" / "float.onnx")
    changes = *SHORT, ("net.py:make", network), ANY_DROP
    path = changed(config, *changes, more=f'\n[qat.noise]\naccelerator = "{noisy}"\n')
    result = run(load_config(path, directory=tmp_path)).result
    assert all(check.passed for check in result.checks), result.checks
    assert result.network.source == "float.onnx"
    assert [one.name for one in result.layers] == [one.name for one in read_result(finished / "result.json").layers]
    assert any("weights were given" in note for note in result.notes)
    dataset = load_dataset(load_config(config).data, np.random.default_rng(derive_seed(result.seed, "splits")))
    test, file = dataset.test.spread(100), tmp_path / "stages" / "program" / "program.mho"
    right = 0
    for seed in range(1, 6):
        (logits,) = mho.simulate(file, test.images, seed=seed, hardware=config.parent / noisy, batch_size=100).values()
        right += int((logits.argmax(axis=1) == test.labels).sum())
    found = result.candidate("found")
    assert (found.test.correct, found.test.count) == (right, 500)
    (logits,) = mho.simulate(file, test.images).values()
    exact = found.integer_reference
    assert exact.correct == (logits.argmax(axis=1) == test.labels).sum()
    assert f"With ideal integers it gets {100 * exact.accuracy:.2f}" in result.sentence
    assert [len(one.accuracies) for one in result.chip_accuracies] == [5, 5]
    assert "On 5 sampled chips of noisy, it gets" in result.sentence


def test_a_mapping_that_the_accelerator_cannot_run_ends_no_run(config, tmp_path, capsys):
    """The run is one of digits."""
    eight = hardware(config, "eight", converters={"adc_bits": 8})
    digits = ('name = "npz"\nroot = "data.npz"', 'name = "digits"\ntest = 200')
    path = changed(config, *SHORT, ("pelke2026-4bit", eight), digits)
    finished = run(load_config(path, directory=tmp_path))
    bunch, order = load_digits(), np.random.default_rng(0).permutation(1797)[:200]
    check_files(tmp_path, (bunch.images[:, None] / 16)[order], bunch.target[order], capsys)
    steps = {step.operation: step.numbers for step in finished.result.data.normalization}
    assert steps.keys() == {"sub", "mul"}
    assert steps["sub"] == (pytest.approx(0.3053),)
    best, paper = finished.result.mappings
    assert best.speedup == pytest.approx(finished.result.candidate("found").speedup)
    assert (paper.mapping, paper.speedup) == ("paper", None)
    assert "need an ADC of" in paper.reason
    assert finished.result.chip_accuracies == (), "its ADCs resolve all sums of the mapping that it can run"
    page = re.sub(r"\s+", " ", html.unescape(finished.page.read_text()))
    assert f"impossible: {paper.reason}" in page


def test_a_finished_run_is_not_made_again_and_its_result_is_reported(finished, config, capsys):
    before = (finished / "stages" / "float" / "float.onnx").stat().st_mtime_ns
    content = (finished / "result.json").read_bytes()
    assert main(["run", str(config), "--directory", str(finished)]) == 0
    assert (finished / "stages" / "float" / "float.onnx").stat().st_mtime_ns == before
    assert (finished / "result.json").read_bytes() == content
    output = capsys.readouterr().out
    assert read_result(finished / "result.json").sentence in output
    assert f"report: {finished / 'report.html'}" in output


def test_what_a_report_can_do_without_is_left_out_with_its_reason(copied, config, monkeypatch, capsys):
    def refuse(*_, **__):
        raise MhoError("too large", where="this part", expected="less")

    for name in ("NetworkMap.of", "draw_timeline", "collect_worths", "collect_searches"):
        monkeypatch.setattr(f"mho.workflow.reported_run.{name}", refuse)
    assert main(["run", str(config), "--directory", str(copied)]) == 0
    output, page = capsys.readouterr().out, (copied / "report.html").read_text()
    result = read_result(copied / "result.json")
    assert {one.reason for one in result.absent} == {"this part: too large; expected less"}
    for name in ("map of the network", "timeline", "sensitive", "searches"):
        (shown,) = (one for one in result.absent if name in one.part)
        assert f"left out: {shown.part}: this part: too large; expected less" in output
        assert f"<li>{shown.part}: {shown.reason}</li>" in page
    assert result.map is None
    assert result.layers


def test_chips_that_cannot_be_sampled_are_reported_in_the_headline(copied, config, monkeypatch, capsys):
    noisy = hardware(config, "noisy", array={"programming_error": 0.08})
    by_integers = ("[evaluation.training]", '[evaluation]\naccuracy_of = "exact"\n\n[evaluation.training]')
    path = changed(config, ("budget = 8", "budget = 2"), ("pelke2026-4bit", noisy), by_integers)

    def refuse(*_, **__):
        raise MhoError("too large", where="chip 1", expected="less")

    with monkeypatch.context() as patched:
        patched.setattr("mho.evaluation.chips.run_prepared_chip", refuse)
        assert main(["run", str(path), "--directory", str(copied)]) == 0
    why = "5 sampled chips of noisy: chip 1: too large; expected less"
    shown = f"No chips of noisy were sampled, although cells, wires or converters are not ideal: {why}."
    assert shown in re.sub(r"\s+", " ", capsys.readouterr().out)
    result = read_result(copied / "result.json")
    assert (result.chip_accuracies, result.unsampled) == ((), why)
    assert f"not ideal: {why}" in html.unescape((copied / "report.html").read_text())
    text = path.read_text().replace('accuracy_of = "exact"', "")
    path.write_text(text + "chips = 0\n")
    assert "not ideal: simulation.chips is 0." in run(load_config(path, directory=copied)).result.sentence


def test_another_budget_goes_on_from_the_same_float_network_and_evaluations(copied, config):
    stages = json.loads((copied / "result.json").read_text())["stages"]
    result = run(load_config(changed(config, ("budget = 8", "budget = 9")), directory=copied)).result
    assert [s.digest for s in result.stages[:4]] == [s["digest"] for s in stages[:4]]
    (log,) = (copied / "evaluations").iterdir()
    assert len(log.read_text().splitlines()) == 1 + 9


def test_searches_in_the_directory_of_a_run_explain_keep_budgets_list_fronts_and_stand_in_its_report(
    finished, config, capsys
):
    shown = config.with_name("explanation.json")
    command = ["search", str(config), "--directory", str(finished)]
    assert main([*command, "--explain", "--explanation", str(shown)]) == 0
    text = capsys.readouterr().out
    assert "latency" in text
    assert "Costs are exact" in text
    assert len(json.loads(shown.read_text())["layers"]) == 4
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
    path = changed(config, (old, new), ("epochs = 12", "epochs = 1"))
    assert main(["run", str(path), "--directory", str(tmp_path / "bad")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
