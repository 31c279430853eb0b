"""The examples of other tasks than classification, end to end, with less of everything; and what a run refuses."""

from pathlib import Path

import numpy as np
import pytest

from mho.errors import MhoError
from mho.report.result import read_result
from mho.workflow.config import load_config
from mho.workflow.run import run

EXAMPLES = Path(__file__).parents[2] / "examples"
FEWER = {
    "reference_images = 100": "reference_images = 8",
    "interpreter_images = 2": "interpreter_images = 1\nexecutor_images = 16",
}
SMALLER = {
    "denoise": {
        "epochs = 40": "epochs = 4",
        "steps = 40": "steps = 2",
        "budget = 24": "budget = 3",
        "epochs = 10": "steps = 2",
        "[qat]": "[simulation]\nexecutor_images = 16\ninterpreter_images = 1\n\n[qat]",
    },
    "char_transformer": {
        "WIDTH, LAYERS, HEADS = 64, 3, 4": "WIDTH, LAYERS, HEADS = 16, 1, 2",
        "CONTEXT = 64": "CONTEXT = 12",
        "calibration = 128": "calibration = 16",
        "validation = 500": "validation = 32",
        "epochs = 12": "epochs = 3",
        "warmup_steps = 100": "warmup_steps = 2",
        "[evaluation.shared_training]\nepochs = 2": "[evaluation.shared_training]\nsteps = 2",
        "epochs = 1\n": "steps = 2\n",
        "warmup_steps = 20": "warmup_steps = 1",
        "budget = 60": "budget = 3",
        "allowed_drop = 0.1": "allowed_drop = 1.0",
        **FEWER,
    },
    "unet": {
        "TRAIN, TEST = 2000, 500": "TRAIN, TEST = 120, 20",
        "WIDTH = 16": "WIDTH = 4",
        "calibration = 64": "calibration = 8",
        "validation = 300": "validation = 16",
        "epochs = 12": "epochs = 3",
        "warmup_steps = 50": "warmup_steps = 2",
        "epochs = 1\n": "steps = 2\n",
        "budget = 32": "budget = 3",
        "allowed_drop = 1.0": "allowed_drop = 20.0",
        **FEWER,
    },
}
METRICS = {"denoise": "snr", "char_transformer": "perplexity", "unet": "mean-iou"}


def write_smaller(name: str, folder: Path, changes: dict[str, str]) -> Path:
    """Write an example into a folder, changed, and return its configuration."""
    files = (f"{name}.py", f"{name}.toml", "crossbar-64x64.toml")
    texts = {file: (EXAMPLES / file).read_text() for file in files}
    for old, new in changes.items():
        assert any(old in text for text in texts.values()), old
        texts = {file: text.replace(old, new) for file, text in texts.items()}
    for file, text in texts.items():
        (folder / file).write_text(text)
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog; " * 100)
    return folder / f"{name}.toml"


def load(file: Path):
    root = file.parent / "text.txt" if file.stem == "char_transformer" else None
    return load_config(file, data_root=root, directory=file.parent / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_an_example_runs_from_its_data_to_a_program(name, tmp_path):
    run(load(write_smaller(name, tmp_path, SMALLER[name])))
    result = read_result(tmp_path / "run" / "result.json")
    assert result.task.metric == METRICS[name]
    assert {check.name: check.passed for check in result.checks} == {check.name: True for check in result.checks}
    assert len(result.checks) >= 3
    values = [result.task.judged_by.shown(one.test.accuracy) for one in result.candidates]
    assert len(values) == 3
    assert np.isfinite(values).all()
    assert min(values) > (1 if name == "char_transformer" else 0)
    assert result.data.samples == ("int32" if name == "char_transformer" else "float32")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("unet", {"return self.classes(fine)": "return self.halve(self.classes(fine))"}, "outputs have shape"),
        ("unet", {"nn.Conv2d(WIDTH, classes, 1)": "nn.Conv2d(WIDTH, 4, 1)"}, "scores of 4 classes"),
        ("unet", {'kind = "segmentation"': 'kind = "segmentation"\nmetric = "miou"'}, "'miou' for segmentation"),
        ("denoise", {"nn.Conv2d(32, 1, 3, padding=1)": "nn.Conv2d(32, 1, 3)"}, "outputs have shape"),
        ("unet", {"return canvases[:, None].astype(np.float32), labels": "return canvases[:, None], labels / 2"},
         "targets of type float64"),
        ("char_transformer", {"nn.Linear(WIDTH, tokens)": "nn.Linear(WIDTH, 5)"}, "scores of 5 classes"),
        ("char_transformer", {"for shift in (0, 1)": "for shift in (0,)"}, "pair"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_task_is_refused_before_training(name, changes, message, tmp_path):
    fewer = {key: SMALLER[name][key] for key in SMALLER[name] if key.startswith(("calibration", "validation"))}
    file = write_smaller(name, tmp_path, {**fewer, **changes})
    with pytest.raises(MhoError, match=message):
        run(load(file))
    assert not (tmp_path / "run" / "stages" / "float").exists()


def test_a_text_that_is_not_given_is_named(tmp_path):
    file = write_smaller("char_transformer", tmp_path, {})
    with pytest.raises(MhoError, match="give the path of a text file: --data-root"):
        run(load_config(file, directory=tmp_path / "run"))
