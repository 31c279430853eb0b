"""Studies: results of chips, whatever runs them; what is found is kept, and what is not a study's is left alone."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from small_programs import compile_small, grid, linear_network
from studies import STUDY, make_program, make_samples, tables, write_study

import mho
from mho import worker_pool
from mho.array.conductances import Conditions
from mho.errors import ConfigError, MhoError
from mho.evaluation.samples import LabelledSamples
from mho.hardware.loading import accelerator_from_json
from mho.program.program import NORMALIZES_INPUT
from mho.report.study_document import StudyResult
from mho.schemas import json_schema
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor
from mho.worker_pool import start_process
from mho.workflow.study import run_study
from mho.workflow.study_config import load_study, study_from_json

POINTS, CHIPS = 6, 2
TASKS = 10
"""Chips that are evaluated: the points without an error and with ideal ADCs are one."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    return tmp_path


def run(name="small.toml", directory="out", **options):
    return run_study(load_study(name), where=name, directory=Path(directory), **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a small study, and what it found."""
    path = tmp_path_factory.mktemp("small")
    write_study(path)
    with contextlib.chdir(path):
        return path, run()


@pytest.fixture
def finished(small, tmp_path, monkeypatch):
    """A copy of the folder of a finished study."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(small[0], tmp_path, dirs_exist_ok=True)


def lines(directory="out"):
    return (Path(directory) / "results.jsonl").read_text().splitlines()[1:]


def test_results_are_those_of_the_analog_executor(small):
    result = small[1].result
    program = make_program()
    inputs, labels = make_samples(program)
    assert result.exact_accuracy == 1
    for point in result.points:
        content = program.accelerator.to_json()
        content["array"]["on_off_ratio"] = 20
        for key, value in point.values.items():
            table, _, name = key.partition(".")
            content[table][name] = value
        hardware = accelerator_from_json(content, where="test")
        for seed, correct in zip(result.seeds, point.correct, strict=True):
            (outputs,) = AnalogExecutor(program, seed, hardware=hardware).run(inputs).values()
            assert correct == int((outputs.argmax(axis=1) == labels).sum())
    assert len({point.correct for point in result.points}) >= 4


def test_a_study_without_sweeps_is_one_point_of_the_base(finished, small):
    (finished / "chip.toml").write_text(
        STUDY.replace("[sweeps]", "array.programming_error = 0.3\n[sweeps]").partition("[sweeps]")[0]
    )
    found = run("chip.toml")
    assert found.evaluated == 0  # a point of the sweeps is the base as well
    (point,) = found.result.points
    swept = next(one for one in small[1].result.points if one.values == {"array.programming_error": 0.3})
    assert (point.sweep, dict(point.values), point.correct) == (None, {}, swept.correct)
    assert f"{100 * point.mean:.2f} %" in (finished / "out" / "table.txt").read_text()
    assert "One point of 2 chips" in (finished / "out" / "study.html").read_text()
    assert "1 point on 2 chips" in repr(found.result)
    with pytest.raises(MhoError, match="without sweeps has no chart"):
        found.result.plot()


def test_figures_of_a_point_follow_from_its_chips(finished, small):
    worst = min(small[1].result.points, key=lambda point: point.mean)
    assert worst.mean == pytest.approx(sum(worst.correct) / 80)
    assert worst.worst == min(worst.correct) / 40
    assert worst.worst_seed == (3, 5)[worst.correct.index(min(worst.correct))]
    assert worst.low <= worst.mean <= worst.high
    (finished / "turned.toml").write_text(STUDY.replace("[3, 5]", "[5, 3]"))
    turned = min(run("turned.toml").result.points, key=lambda point: point.mean)
    assert turned.correct == worst.correct[::-1]
    assert turned.correct[0] != turned.correct[1]
    assert turned.worst_seed == worst.worst_seed


def test_equal_points_and_finished_studies_evaluate_no_chip_again(finished, small):
    first = small[1]
    assert (len(first.result.points), first.evaluated, len(lines())) == (POINTS, TASKS, TASKS)
    (finished / "out" / "result.json").unlink()
    again = run()
    assert (again.evaluated, again.result) == (0, first.result)
    assert (finished / "out" / "result.json").is_file()
    assert run(fresh=True).evaluated == TASKS


def test_more_seeds_and_points_go_on_from_what_is_there(finished):
    text = STUDY.replace("seeds = [3, 5]", "seeds = [5, 3, 8]").replace("[0, 0.1, 0.3]", "[0.3, 0.05, 0]")
    (finished / "more.toml").write_text(text)
    more = run("more.toml")
    assert more.evaluated == 2 * 0 + 3 * 1 + 4  # a new point with three chips, and a third chip at four old points
    assert more.result == run("more.toml", "other").result


def test_other_samples_programs_and_settings_are_evaluated_anew(finished):
    arrays = dict(np.load("samples.npz"))
    for change in (
        lambda: np.savez("samples.npz", x=arrays["x"] + np.float32(0.01), labels=arrays["labels"]),
        lambda: Path("small.toml").write_text(STUDY.replace("= 20", "= 21")),
        lambda: Path("small.toml").write_text(STUDY.replace('npz"', 'npz"\nbatch_size = 7')),
        lambda: Path("small.toml").write_text(STUDY.replace('npz"', 'npz"\nimages = 20')),
    ):
        change()
        assert run().evaluated == TASKS


def test_an_interrupted_study_goes_on_and_finds_what_an_uninterrupted_one_finds(folder, small):
    """Kills of the process are tested in `test_kills`, that workers end with it of `mho.worker_pool`."""

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(on_chip=interrupt)
    assert len(lines()) == 4
    with (folder / "out" / "results.jsonl").open("a") as file:
        file.write('{"key": "half')
    finished = run()
    assert (finished.evaluated, len(lines())) == (TASKS - 4, TASKS)
    assert len({json.loads(line)["key"] for line in lines()}) == TASKS
    assert finished.result == small[1].result
    for name in ("result.json", "table.txt", "table.csv", "study.html"):
        assert (folder / "out" / name).read_bytes() == (small[0] / "out" / name).read_bytes()


def test_a_chip_that_all_workers_die_of_is_reported(folder, monkeypatch):
    """That a worker which dies once is replaced is tested of `mho.worker_pool`."""

    def start_dying(work, name):
        process, ours = start_process(work, name)
        process.kill()
        return process, ours

    monkeypatch.setattr(worker_pool, "start_process", start_dying)
    message = r"chip [35] at array.programming_error = 0: a process ended with code -9, 3 times"
    with pytest.raises(MhoError, match=message):
        run(processes=2)


def test_what_a_chip_cannot_do_names_the_chip(folder, monkeypatch):
    class Refusing(AnalogExecutor):
        def __init__(self, program, seed, **options):
            if seed == 5:
                raise MhoError("no", where="layer fc", expected="yes")
            super().__init__(program, seed, **options)

    monkeypatch.setattr("mho.simulation.analog.AnalogExecutor", Refusing)
    with pytest.raises(MhoError, match=r"chip 5 at array.programming_error = 0.*: layer fc: no\n  expected: yes"):
        run()
    assert len(lines()) == 1


@pytest.mark.parametrize("adc_range", ["calibrated-layer", "calibrated-slices"])
def test_calibrated_converters_get_ranges_for_every_chip(folder, adc_range):
    text = STUDY.replace("on_off_ratio = 20", f'cell_variation = 0.2\nconverters.adc_range = "{adc_range}"')
    text = text.replace("[0, 0.1, 0.3]", "[0]").replace('[2, 4, "ideal"]', "[4]")
    text += '\n[calibration]\nfile = "calibration.npz"\nimages = 10\nmethod = "extremes"\n'
    (folder / "small.toml").write_text(text)
    point = run().result.points_of("converters.adc_bits")[0]
    program = make_program()
    inputs, labels = make_samples(program)
    content = program.accelerator.to_json()
    content["array"]["cell_variation"] = 0.2
    content["converters"].update(adc_bits=4, adc_range=adc_range)
    hardware = accelerator_from_json(content, where="test")
    from mho.array.calibration import RangeMethod, RangeRule

    for seed, correct in zip((3, 5), point.correct, strict=True):
        rule = RangeRule(RangeMethod.EXTREMES)
        ranges = calibrate_adcs(program, seed, inputs[::4], hardware=hardware, rule=rule).layers
        (outputs,) = AnalogExecutor(program, seed, hardware=hardware, ranges=ranges).run(inputs).values()
        assert correct == int((outputs.argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_ranges_are_those_of_the_time_that_is_asked_for(tmp_path, when):
    program = make_program()
    samples = make_samples(program)
    np.savez(tmp_path / "c.npz", x=samples[0])
    base = {"array.drift_exponent": 0.3, "converters.adc_range": "calibrated-columns", "converters.adc_bits": 3}
    content = tables(
        base=base,
        sweeps={"conditions.elapsed_s": [1, 1000]},
        calibration={"file": str(tmp_path / "c.npz"), "when": when},
    )
    result = mho.study(content, program=program, samples=samples, directory=tmp_path / "out")
    content = program.accelerator.to_json()
    content["array"]["drift_exponent"] = 0.3
    content["converters"].update(adc_bits=3, adc_range="calibrated-columns")
    hardware = accelerator_from_json(content, where="test")
    then = Conditions(elapsed_s=1000)
    ranges = calibrate_adcs(
        program, 0, samples[0], hardware=hardware, conditions=then if when == "reading" else None
    ).layers
    (outputs,) = AnalogExecutor(program, 0, hardware=hardware, conditions=then, ranges=ranges).run(samples[0]).values()
    assert result.points[1].correct[0] == int((outputs.argmax(axis=1) == samples[1]).sum())


def test_recalibrated_chips_are_corrected_from_calibration_inputs_at_their_time(tmp_path):
    program = make_program()
    samples = make_samples(program)
    np.savez(tmp_path / "c.npz", x=samples[0][::2])
    content = tables(
        base={"array.drift_exponent": 0.3, "array.programming_error": 0.1, "conditions.elapsed_s": 1000},
        sweeps={"mitigation.recalibration": ["none", "channels"]},
        calibration={"file": str(tmp_path / "c.npz"), "images": 10},
    )
    seen: list[mho.Progress] = []
    result = mho.study(content, program=program, samples=samples, directory=tmp_path / "out", on_progress=seen.append)
    chips = len(result.points) * len(result.seeds)
    assert [now.fraction for now in seen] == [number / chips for number in range(1, chips + 1)]
    assert (seen[-1].detail, seen[-1].is_finished, seen[-1].seconds_left) == (f"{chips} of {chips} chips", True, 0.0)
    described = program.accelerator.to_json()
    described["array"].update(drift_exponent=0.3, programming_error=0.1)
    given = {"hardware": accelerator_from_json(described, where="test"), "conditions": Conditions(elapsed_s=1000)}
    for seed in range(2):
        corrections = mho.recalibrate(program, samples[0][::4], seed=seed, **given)
        for point, one in zip(result.points, (None, corrections), strict=True):
            (outputs,) = mho.simulate(program, samples[0], seed=seed, corrections=one, **given).values()
            assert point.correct[seed] == int((outputs.argmax(axis=1) == samples[1]).sum())
    assert sum(result.points[1].correct) > sum(result.points[0].correct)


def test_calibration_inputs_may_be_given_in_python(tmp_path):
    program = make_program()
    samples = make_samples(program)
    np.savez(tmp_path / "c.npz", x=samples[0][::2])
    base = {"converters.adc_range": "calibrated-layer", "mitigation.recalibration": "channels"}
    content = tables(base=base, sweeps={"converters.adc_bits": [3, 5]}, calibration={"images": 9})
    material = {"program": program, "samples": samples}
    found = mho.study(content, **material, calibration=samples[0][::2], directory=tmp_path / "a")
    content["calibration"]["file"] = str(tmp_path / "c.npz")
    assert found.points == mho.study(content, **material, directory=tmp_path / "b").points
    for changes, given, message in [
        ({}, samples[0], "given here and in Python"),
        ({"calibration": {}}, np.zeros((0, 24)), "calibration: inputs"),
        ({"calibration": {}}, np.float64(3), "calibration: a float64"),
        ({"calibration": {}}, samples, "calibration: no array"),
        ({"calibration": {}, "base": {}, "sweeps": {"array.read_noise": [0, 1]}}, samples[0], "no point calibrates"),
    ]:
        with pytest.raises(MhoError, match=message):
            mho.study({**content, **changes}, **material, calibration=given, directory=tmp_path / "c")
    digits = tables(data={"name": "digits"})
    with pytest.raises(MhoError, match="calibration samples of its own"):
        mho.study(digits, program=program, calibration=samples[0], directory=tmp_path / "c")


def test_recalibration_needs_calibration_inputs(tmp_path):
    program = make_program()
    content = tables(base={"mitigation.recalibration": "channels"})
    with pytest.raises(ConfigError, match="recalibration need inputs"):
        mho.study(content, program=program, samples=make_samples(program), directory=tmp_path)


def test_a_study_from_python_is_that_of_the_file(finished, small):
    wanted = small[1].result
    program = make_program()
    content = {
        "study": {"name": "small", "seeds": [3, 5]},
        "base": {"array.on_off_ratio": 20},
        "sweeps": {"array.programming_error": [0, 0.1, 0.3], "converters.adc_bits": [2, 4, "ideal"]},
    }
    found = mho.study(content, program=program, samples=make_samples(program))
    assert (found.points, found.exact_accuracy) == (wanted.points, wanted.exact_accuracy)
    assert found.program.source == found.samples.source == "given in Python"
    assert (finished / "studies" / "small" / "study.html").is_file()
    assert mho.study("small.toml", directory="out") == wanted


def test_the_result_obeys_its_schema_and_reads_back(small):
    folder, found = small
    content = json.loads((folder / "out" / "result.json").read_text())
    jsonschema.validate(content, json_schema("study-result"))
    assert StudyResult.model_validate(content) == found.result
    jsonschema.validate(json.loads((folder / "out" / "study.json").read_text()), json_schema("study"))


def test_data_sets_give_their_images_and_calibration_images():
    from mho.workflow.study_material import load_material

    program = make_program()
    content = tables(
        data={"name": "digits", "calibration": 30, "validation": 40},
        samples={"images": 50, "split": "validation"},
        calibration={"images": 7},
    )
    with pytest.raises(MhoError, match=r"50 samples are wanted.*\n  expected: at most 40"):
        load_material(study_from_json(content, where="s"), where="s", program=program)
    content["samples"]["images"] = 20
    loaded = load_material(study_from_json(content, where="s"), where="s", program=program)
    assert loaded.samples.inputs.shape == (20, 1, 8, 8)
    assert loaded.preparation.inputs.shape == (7, 1, 8, 8)
    assert loaded.samples_source == "digits, validation samples"
    raw_program = replace(program, metadata={NORMALIZES_INPUT: ["sub", "mul"]})
    raw = load_material(study_from_json(content, where="s"), where="s", program=raw_program)
    for given, wanted in (
        (raw.samples.inputs, loaded.samples.inputs),
        (raw.preparation.inputs, loaded.preparation.inputs),
    ):
        assert given.min() == 0
        assert given.max() == 1
        assert wanted == pytest.approx((given - np.float32(0.3053)) / np.float32(0.376), abs=1e-6)


def test_programs_that_tell_no_classes_are_refused_before_any_chip(tmp_path):
    program = compile_small(linear_network(np.ones((1, 24), int), grid(4)))
    samples = np.ones((3, 24), np.float32), np.zeros(3, int)
    with pytest.raises(MhoError, match="no scores of classes"):
        mho.study(tables(), program=program, samples=samples, directory=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_given_twice_or_not_at_all(folder):
    program = make_program()
    samples = LabelledSamples(*make_samples(program))
    config = study_from_json(tables(), where="s")
    with pytest.raises(MhoError, match=r"s: program: missing"):
        run_study(config, where="s", samples=samples)
    with pytest.raises(MhoError, match=r"s: data: missing.*\n.*samples.file"):
        run_study(config, where="s", program=program)
    with pytest.raises(MhoError, match="given here and in Python"):
        run_study(load_study("small.toml"), program=program)
    with pytest.raises(MhoError, match="processes is 0"):
        mho.study("small.toml", processes=0)


def test_a_folder_of_something_else_is_left_alone(folder):
    (folder / "out").mkdir()
    (folder / "out" / "letter.txt").write_text("hello")
    with pytest.raises(MhoError, match=r"not a study's: it holds 'letter.txt'"):
        run()
    assert [path.name for path in (folder / "out").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("kept", [0, 6])
def test_a_fresh_start_that_is_killed_leaves_a_folder_that_the_next_one_takes(finished, monkeypatch, kept):
    left, unlink = [kept], Path.unlink

    def die(path, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            run(fresh=True)
    assert run().evaluated == 0, "the log is removed last"
