"""The example of spoken digits, end to end, on tones that are made here: its network, its chip, its conditions."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from mho.data import DataSpec, load_dataset
from mho.report.result import read_result
from mho.workflow.config import load_config
from mho.workflow.run import run

EXAMPLES = Path(__file__).parents[2] / "examples"
MELS, FRAMES, CLASSES = 8, 16, 4
SMALLER = {
    "WIDTH = 96": "WIDTH = 8",
    "BLOCKS = 4": "BLOCKS = 1",
    "calibration = 256": "calibration = 24",
    "validation = 100": "validation = 24",
    "epochs = 20": "epochs = 40",
    "budget = 16": "budget = 2\nmin_weight_bits = 7\nmin_act_bits = 7",
    "epochs = 4\n": "epochs = 1\n",
    "chips = 10": "chips = 2",
    "chip_images = 100": "chip_images = 8\nreference_images = 8\ninterpreter_images = 1\nzero_slice_images = 0",
}


def write_tones(path: Path) -> None:
    """Write spectrograms as float16 levels of about -9 to -1, with one loud mel of every four a class."""
    generator = np.random.default_rng(1)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % CLASSES
        levels = generator.normal(-8, 0.5, (count, 1, MELS, FRAMES))
        for sample, label in zip(levels, labels, strict=True):
            sample[0, label::CLASSES] += 5
        return levels.astype(np.float16), labels

    (x_train, y_train), (x_test, y_test) = make(144), make(16)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The result of the example with less of everything."""
    folder = tmp_path_factory.mktemp("spoken")
    write_tones(folder / "tones.npz")
    texts = {name: (EXAMPLES / name).read_text() for name in ("ds_cnn.py", "kws-chip.toml", "spoken_digits.toml")}
    for old, new in SMALLER.items():
        assert sum(text.count(old) for text in texts.values()) == 1, old
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text)
    run(load_config(folder / "spoken_digits.toml", data_root=folder / "tones.npz", directory=folder / "run"))
    return read_result(folder / "run" / "result.json")


def test_recordings_become_data(tmp_path):
    for digit, hertz in enumerate((300, 1200)):
        for number in (4, 5, 6):
            with wave.open(str(tmp_path / f"{digit}_someone_{number}.wav"), "wb") as sound:
                sound.setparams((1, 2, 8000, 0, "NONE", ""))
                sound.writeframes((8000 * np.sin(2 * np.pi * hertz * np.arange(4000) / 8000)).astype("<i2").tobytes())
    script = EXAMPLES / "make_spoken_digits.py"
    subprocess.run([sys.executable, script, tmp_path, tmp_path / "data.npz"], check=True, capture_output=True)
    dataset = load_dataset(
        DataSpec(name="npz", root=tmp_path / "data.npz", calibration=1, validation=1), np.random.default_rng(1)
    )
    low, high = dataset.test.images.astype(np.float32)
    assert dataset.test.labels.tolist() == [0, 1]
    assert low.shape == (1, 40, 64)
    assert low[0, :, 0].argmax() < high[0, :, 0].argmax(), "the louder mel is the higher tone's"
    assert low[0, :, 60].max() == -9, "silence follows"


def test_the_network_learns_from_levels_below_zero(result):
    assert result.candidate("float").test.accuracy >= 0.75
    assert [step.operation for step in result.data.normalization] == ["sub", "mul"]


def test_every_check_of_its_program_passes(result):
    assert all(check.passed for check in result.checks), result.checks


def test_both_networks_are_simulated_on_chips_an_hour_old(result):
    assert [len(one.accuracies) for one in result.chip_accuracies] == [2, 2]
    assert result.unsampled == ""
