"""Files of calibrations, states and checkpoints whose tensors are whole, and whose description or shapes are not."""

import pytest
import torch
from small_training import coloured_split, short_training, trainable_network

from mho.errors import InputFileError
from mho.quantization.calibration import calibrate
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.checkpoints import Checkpoint, EpochResult
from mho.quantization.optimizers import Optimizers
from mho.quantization.tensor_files import read_tensors, write_tensors


@pytest.fixture(scope="module")
def trainable(residual):
    return trainable_network(residual(), "4/4")


def rewrite(path, *, tensors=None, without=None, **description):
    """Change tensors by name and keys of the description of a file, and leave one tensor out."""
    found, described = read_tensors(path)
    kept = {name: tensor for name, tensor in {**found, **(tensors or {})}.items() if name != without}
    write_tensors(path, kept, {**described, **description})


def test_any_changed_byte_of_tensors_is_found(tmp_path):
    path = tmp_path / "any.safetensors"
    tensors = {
        "a": torch.arange(3.0),
        "b": torch.tensor(True),
        "c": torch.ones(2, dtype=torch.bfloat16),
        "d": torch.ones(0),
    }
    write_tensors(path, tensors, {"steps": 1})
    content = path.read_bytes()
    assert read_tensors(path)[1] == {"steps": 1}
    for _ in range(9):
        write_tensors(path, tensors, {"steps": 1})
        assert path.read_bytes() == content, "stages are known by the hashes of their files"
    for place in range(len(content) - 17, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(
            InputFileError, match=r"any.safetensors: the checksum does not match\n  hint: the file is dam"
        ):
            read_tensors(path)
    path.write_bytes(content.replace(b'\\"steps\\": 1', b'\\"steps\\": 2'))
    with pytest.raises(InputFileError, match="checksum"):
        read_tensors(path)
    path.write_bytes(content.replace(b'"sha256', b'"sha255'))  # a file that predates checksums
    assert read_tensors(path)[0]["a"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "damage",
    [
        {"widths": 3},
        {"layers": {"fc": True}},
        {"layers": ["fd"]},
        {"without": "fc/bias_corrections"},
        {"tensors": {"fc/act_steps": torch.ones(2)}},
        {"tensors": {"fc/bias_corrections": torch.ones(9, 3)}},
        {"tensors": {"fc/weight_steps": torch.full((9, 5), torch.nan)}},
        {"tensors": {"fc/act_steps": torch.ones(9, dtype=torch.int64)}},
        {"without": "fc/act_zero_points"},
        {"tensors": {"fc/act_zero_points": torch.ones(9)}},
        {"tensors": {"fc/act_zero_points": torch.full((9,), 2)}},
    ],
)
def test_a_damaged_calibration_is_refused(trainable, tmp_path, damage):
    path = tmp_path / "calibration.safetensors"
    table = calibrate(trainable, torch.from_numpy(coloured_split(16).inputs(slice(None))))
    table.save(path)
    assert len(CalibrationTable.load(path).layers["fc"].act_zero_points) == 9
    rewrite(path, **damage)
    with pytest.raises(InputFileError, match="calibrat"):
        CalibrationTable.load(path)


@pytest.mark.parametrize("layers", [3, 0.5, "fc", {"fc": True}])
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
        {"history": [{"loss": 0.5}]},
        {"tensors": {"generator": torch.ones(5)}},
        {"tensors": {"optimizers:nothing": torch.ones(5)}},
    ],
)
def test_a_damaged_checkpoint_is_refused(trainable, tmp_path, damage):
    path = tmp_path / "checkpoint.safetensors"
    optimizers, generator = Optimizers(trainable, short_training(), 3), torch.Generator().manual_seed(0)
    checkpoint = Checkpoint(path, trainable, optimizers, generator, {"epochs": 3})
    checkpoint.write(1, [EpochResult(0.5, 0.25)])
    assert checkpoint.restore() == (1, [EpochResult(0.5, 0.25)])
    rewrite(path, **damage)
    with pytest.raises(InputFileError, match="checkpoint"):
        checkpoint.restore()
