"""Files of calibrations, states and checkpoints whose tensors are whole, and whose description or shapes are not."""

import pytest
import torch
from small_training import coloured_split, short_training, trainable_network

import mho
from mho.errors import InputFileError
from mho.quantization.calibration import CalibrationTable, calibrate
from mho.quantization.checkpoints import Checkpoint, SavedProgress
from mho.quantization.optimizers import Optimizers
from mho.quantization.storage import read_tensors, write_tensors


@pytest.fixture(scope="module")
def trainable():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))
    return trainable_network(mho.load(module, torch.zeros(1, 3, 8, 8)), "4/4")


def rewrite(path, *, tensors=None, **description):
    """Change tensors by name and keys of the description of a file."""
    found, told = read_tensors(path)
    write_tensors(path, {**found, **(tensors or {})}, {**told, **description})


@pytest.mark.parametrize(
    "damage",
    [
        {"widths": 3},
        {"non_negative": ["1"]},
        {"tensors": {"1/act_steps": torch.ones(2)}},
        {"tensors": {"1/bias_corrections": torch.ones(9, 3)}},
        {"tensors": {"1/weight_steps": torch.full((9, 5), torch.nan)}},
        {"tensors": {"1/act_steps": torch.ones(9, dtype=torch.int64)}},
    ],
)
def test_a_damaged_calibration_is_refused(trainable, tmp_path, damage):
    path = tmp_path / "calibration.safetensors"
    table = calibrate(trainable, torch.from_numpy(coloured_split(16).inputs(slice(None))))
    table.save(path)
    assert len(CalibrationTable.load(path).layers["1"].act_steps) == 9
    rewrite(path, **damage)
    with pytest.raises(InputFileError, match="calibrat"):
        CalibrationTable.load(path)


@pytest.mark.parametrize("layers", [3, 0.5, "1", {"1": True}])
def test_a_state_whose_layers_are_no_list_is_refused(trainable, tmp_path, layers):
    path = tmp_path / "state.safetensors"
    trainable.save(path)
    rewrite(path, quantized_layers=layers)
    with pytest.raises(InputFileError, match="not the state"):
        trainable.load(path)


@pytest.mark.parametrize(
    "damage",
    [
        {"identity": "text"},
        {"steps": "many"},
        {"history": [3]},
        {"tensors": {"generator": torch.ones(5)}},
        {"tensors": {"optimizers:nothing": torch.ones(5)}},
    ],
)
def test_a_damaged_checkpoint_is_refused(trainable, tmp_path, damage):
    path = tmp_path / "checkpoint.safetensors"
    optimizers, generator = Optimizers(trainable, short_training(), 3), torch.Generator().manual_seed(0)
    checkpoint = Checkpoint(path, trainable, optimizers, generator, {"epochs": 3})
    checkpoint.write(SavedProgress(1, ({"loss": 0.5},)))
    assert checkpoint.restore().steps == 1
    rewrite(path, **damage)
    with pytest.raises(InputFileError, match="checkpoint"):
        checkpoint.restore()
