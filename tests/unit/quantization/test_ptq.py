from pathlib import Path

import numpy as np
import pytest
import torch

from mho.errors import DataError, InputFileError
from mho.quantization.policy import Policy
from mho.quantization.ptq import as_tensor


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 3), complex), torch.ones(2, dtype=torch.complex64), np.float32(3), "text", [[1, 2], [3]], None],
)
def test_what_is_not_an_array_of_real_samples_is_told(values):
    with pytest.raises(DataError, match="array of"):
        as_tensor(values)


@pytest.mark.parametrize("values", [np.ones((2, 3), np.uint8), [[1.0] * 3] * 2, torch.ones(2, 3, dtype=torch.bool)])
def test_real_samples_become_float32(values):
    assert torch.equal(as_tensor(values), torch.ones(2, 3))


def test_a_policy_file_nested_too_deeply_is_told(tmp_path: Path):
    path = tmp_path / "policy.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputFileError, match="not JSON"):
        Policy.load(path)
