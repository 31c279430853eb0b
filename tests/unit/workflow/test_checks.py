import numpy as np
from accelerators import make_accelerator
from small_programs import grid, linear_network
from torch import Tensor, nn

from mho.data.dataset import Split
from mho.mapping.layer_mapping import MappingModel
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.program.container import write_program
from mho.program.lowering import compile_network
from mho.quantization.export import write_qcdq_onnx
from mho.quantization.ptq import quantize
from mho.workflow.checks import Comparison, measure_zero_slices, run_program


def test_zero_slices_are_measured_on_images(tmp_path):
    # Six tiles of 3 slices: 6 writes, and 18 MVMs of which the first image needs none and the second all.
    network = linear_network(np.ones((2, 3), np.int64), grid(3))
    write_program(
        compile_network(network, make_accelerator(rows=2, cols=3), model=MappingModel.PAPER), tmp_path / "p.mho"
    )
    images = np.array([[0, 0, 0], [1.75, 1.75, 1.75]], np.float32)
    found = measure_zero_slices(tmp_path / "p.mho", Split(images, np.zeros(2, np.int64), (0.0,), (1.0,)))
    least, most = 6 * 53_000_007, 6 * 53_000_007 + 18 * 1_300_001
    assert found == {
        "images": 2,
        "share": 0.5,
        "latency_ps": (least + most) / 2,
        "min_latency_ps": least,
        "max_latency_ps": most,
    }


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_attention_is_compared_with_onnxruntime(tmp_path):
    """Whatever ONNX Runtime's own optimizer makes of such files: of some it makes graphs that it refuses."""
    network = read_torch(Attention().eval(), (1, 5, 8))
    samples = np.random.default_rng(0).standard_normal((16, 5, 8)).astype(np.float32)
    quantized = quantize(network, Policy.uniform(network.layer_names, BitWidths(4, 6)), samples)
    write_qcdq_onnx(quantized, tmp_path / "n.onnx")
    write_program(compile_network(quantized, make_accelerator(64, 64, 4)), tmp_path / "p.mho")
    test = Split(samples, np.zeros(16, np.int64), (0.0,), (1.0,))
    shares: list[float] = []
    logits = run_program(tmp_path / "p.mho", test, 8, shares.append)
    compared = Comparison(tmp_path / "n.onnx", tmp_path / "p.mho", test, logits, 8)
    found = compared.with_onnxruntime()
    assert found["passed"]
    assert "graph optimizer on, which" in found["detail"]
    assert compared.with_reference(16)["differing"] == 0
    (tmp_path / "n.onnx").write_bytes(b"")
    refused = compared.with_onnxruntime()
    assert (refused["passed"], refused["differing"]) == (False, 16)
    assert "ONNX Runtime refuses the file" in refused["detail"]
