import pytest
import torch
from safetensors.torch import save_file

from mho.errors import InputFileError
from mho.models.build import build_model
from mho.models.weights import load_weights


def network(seed: int = 0) -> torch.nn.Module:
    return build_model("resnet8", 4, (1, 8, 8), torch.Generator().manual_seed(seed))


def test_weights_are_loaded_by_name_and_counters_may_be_missing(tmp_path):
    trained, model = network(1), network(2)
    tensors = {name: t for name, t in trained.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(tensors, tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("fc.weight"), r"lacks fc\.weight"),
        (lambda t: t.update({"head.weight": torch.zeros(1)}), r"has unknown head\.weight"),
        (lambda t: t.update({"fc.bias": torch.zeros(5)}), r"fc\.bias: shape \[5\](.|\n)*\[4\]"),
        (lambda t: t.update({"fc.bias": torch.full((4,), torch.nan)}), r"fc\.bias: holds NaN"),
    ],
)
def test_weights_that_do_not_fit_leave_the_network_as_it_was(tmp_path, change, message):
    tensors = dict(network(1).state_dict())
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    model = network(2)
    with pytest.raises(InputFileError, match=message):
        load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model.state_dict()["conv1.weight"], network(2).state_dict()["conv1.weight"])


def test_a_missing_and_a_damaged_file_are_reported(tmp_path):
    with pytest.raises(InputFileError, match="--weights"):
        load_weights(network(), tmp_path / "absent.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(InputFileError, match="not readable as safetensors"):
        load_weights(network(), tmp_path / "torn.safetensors")
