"""Noise-aware training in a run: which arrays it meets, and what is refused before anything is trained."""

import numpy as np
import onnx
import pytest
import torch
from accelerators import make_accelerator
from onnx import TensorProto, helper, numpy_helper

import mho
from mho.array.conductances import Conditions
from mho.data import DataSpec, load_dataset
from mho.errors import ConfigError, UnsupportedOperationError
from mho.evaluation.chips import SampledChips
from mho.mapping.layer_mapping import MappingModel
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.workflow.config import RunConfig, load_config
from mho.workflow.material import Material, hash_dataset, train_with_progress
from mho.workflow.noise import check_noise, find_noise, make_noise, noise_hardware, noise_ingredients
from mho.workflow.training_settings import NoiseSettings, QatSettings, TrainingSettings

PAPER = MappingModel.PAPER
NOISY = make_accelerator(
    32, 16, 4, adc_bits=9, array={"programming_error": 0.1, "read_noise": 0.05, "stuck_on_rate": 0.01}
)
TOML = """
name = "arrays"
[crossbar]
rows = 32
cols = 16
cell_bits = 4
write_latency_us = 1
mvm_latency_us = 1
[converters]
dac_bits = 1
adc_bits = 5
[mapping]
encoding = "offset"
[chip]
crossbars = 1
[array]
programming_error = 0.2
"""
RUN = """
[run]
name = "sample"
[network]
name = "resnet8"
[data]
name = "digits"
[accelerator]
name = "pelke2026-4bit"
[float_training]
epochs = 2
learning_rate = 0.05
[search]
budget = 10
[qat]
epochs = 1
learning_rate = 0.01
[qat.noise]
accelerator = "arrays.toml"
elapsed_s = 3600
"""


def qat(**noise) -> QatSettings:
    return QatSettings(steps=3, batch_size=16, learning_rate=0.01, noise=NoiseSettings(**noise))


def arrays(network, settings, accelerator):
    noise = find_noise(QatSettings(steps=1, learning_rate=0.1, noise=settings), accelerator, None)
    return make_noise(network, noise, accelerator, PAPER)


@pytest.fixture
def network_file(tmp_path):
    """Two dense layers, or (in `product.onnx`) two inputs multiplied with each other."""
    arrays = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 4]) for name in "xy"]
    for file, node in (
        ("dense.onnx", helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")),
        ("product.onnx", helper.make_node("MatMul", ["x", "x"], ["y"], name="product")),
    ):
        kept = arrays if file == "dense.onnx" else []
        graph = helper.make_graph([node], "net", infos[:1], infos[1:], kept)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.save(model, tmp_path / file)
    return tmp_path


def test_a_file_of_arrays_lies_beside_the_configuration_and_the_settings_are_kept(tmp_path):
    (tmp_path / "config.toml").write_text(RUN)
    config = load_config(tmp_path / "config.toml")
    assert config.qat.noise == NoiseSettings(accelerator=str(tmp_path / "arrays.toml"), elapsed_s=3600)
    assert RunConfig.model_validate(config.to_json()).qat == config.qat


def test_a_file_of_the_chips_lies_beside_the_configuration_too(tmp_path):
    for name, wanted in (("arrays.toml", str(tmp_path / "arrays.toml")), ("pelke2026-4bit", "pelke2026-4bit")):
        (tmp_path / "config.toml").write_text(RUN + f'\n[simulation]\nchips = 2\naccelerator = "{name}"\n')
        assert load_config(tmp_path / "config.toml").simulation.accelerator == wanted


def test_other_trainings_meet_no_arrays(tmp_path):
    (tmp_path / "config.toml").write_text(RUN + "\n[float_training.noise]\n")
    with pytest.raises(ConfigError, match="float_training"):
        load_config(tmp_path / "config.toml")
    assert noise_ingredients(TrainingSettings(steps=1, learning_rate=0.1), NOISY, PAPER, None) == {}
    assert noise_ingredients(None, NOISY, PAPER, None) == {}


def test_the_hardware_is_the_runs_own_or_another_without_what_is_switched_off(tmp_path):
    whole = noise_hardware(NoiseSettings(stuck_cells=True), NOISY)
    assert whole == NOISY
    part = noise_hardware(NoiseSettings(converters=False, read_noise=False), NOISY)
    assert part.converters.has_ideal_adc
    assert (part.array.read_noise, part.array.stuck_on_rate) == (0, 0)
    assert part.array.programming_error == NOISY.array.programming_error
    (tmp_path / "arrays.toml").write_text(TOML)
    other = noise_hardware(NoiseSettings(accelerator=str(tmp_path / "arrays.toml")), NOISY)
    assert (other.converters.adc_bits, float(other.array.programming_error)) == (5, 0.2)


def test_hardware_of_other_crossbars_is_refused(tmp_path):
    (tmp_path / "arrays.toml").write_text(TOML.replace("rows = 32", "rows = 64"))
    with pytest.raises(ConfigError, match="rows is 64, but the run's is 32"):
        noise_hardware(NoiseSettings(accelerator=str(tmp_path / "arrays.toml")), NOISY)


def test_what_cannot_be_trained_is_reported_before_anything_is(network_file):
    for file in ("dense.onnx", "product.onnx"):
        check_noise(network_file / file, qat(), NOISY, PAPER)
        check_noise(network_file / file, TrainingSettings(steps=1, learning_rate=0.1), NOISY, PAPER)
    placed = make_accelerator(32, 16, 4, array={"stuck_on_rate": 0.1, "placement": "fault-aware"})
    with pytest.raises(UnsupportedOperationError, match="placement"):
        check_noise(network_file / "dense.onnx", qat(stuck_cells=True), placed, PAPER)
    drifting = make_accelerator(32, 16, 4, array={"drift_exponent": 0.1, "drift_reference_s": 10})
    with pytest.raises(ConfigError, match="elapsed_s"):
        check_noise(network_file / "dense.onnx", qat(elapsed_s=5), drifting, PAPER)


def test_arrays_that_are_ideal_and_conditions_that_change_nothing_are_reported(network_file):
    dense, clean = network_file / "dense.onnx", make_accelerator(32, 16, 4)
    drifting = make_accelerator(32, 16, 4, array={"drift_exponent": 0.1})
    stuck = make_accelerator(32, 16, 4, array={"stuck_on_rate": 0.1})
    for hardware in (clean, drifting, stuck):  # nothing drifts at once, and stuck cells are left out
        with pytest.raises(ConfigError, match=r"qat\.noise: nothing .* is other than ideal"):
            check_noise(dense, qat(), hardware, PAPER)
    check_noise(dense, qat(elapsed_s=1e4), drifting, PAPER)
    check_noise(dense, qat(stuck_cells=True, one_crossbar=True), stuck, PAPER)
    for name, value in (("elapsed_s", 10), ("temperature_k", 350), ("reads", 5)):
        with pytest.raises(ConfigError, match=f"{name} changes nothing"):
            check_noise(dense, qat(**{name: value}), NOISY, PAPER)


def test_conditions_and_what_tiles_share_are_those_of_the_settings():
    dataset = load_dataset(DataSpec(name="digits", calibration=50, validation=50), np.random.default_rng(0))
    changing = {"drift_exponent": 0.1, "drift_activation_ev": 0.3, "read_disturb_reads": 100}
    hardware = make_accelerator(32, 16, 4, array=changing, crossbars=4)
    given = Material(dataset, hash_dataset(dataset), hardware, PAPER, "none", False, 1)
    trainable = make_trainable(torch.rand(8, 1, 8, 8))
    settings = NoiseSettings(elapsed_s=1e4, temperature_k=350, reads=7, one_crossbar=True)
    described = arrays(trainable, settings, given.accelerator).describe()
    assert described["conditions"] == [1e4, 350, 7]
    assert described["one_crossbar"] is True
    assert arrays(trainable, NoiseSettings(), given.accelerator).describe()["one_crossbar"] is False


def make_trainable(calibration):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    trainable = TrainableNetwork(mho.load(layers, torch.zeros(1, 1, 8, 8)))
    calibrate(trainable, calibration)
    trainable.set_policy(mho.Policy.uniform(trainable.mvm_modules, mho.BitWidths(4, 4)))
    return trainable


def test_ranges_of_calibrated_adcs_are_found_as_the_settings_say():
    calibrated = make_accelerator(32, 16, 4, converters={"adc_bits": 4, "adc_range": "calibrated-layer"})
    dataset = load_dataset(DataSpec(name="digits", calibration=50, validation=50), np.random.default_rng(0))
    given = Material(dataset, hash_dataset(dataset), calibrated, PAPER, "none", False, 1)
    trainable = make_trainable(torch.rand(8, 1, 8, 8))
    settings = NoiseSettings(range_method="percentile", range_share=0.99, range_steps=7)
    assert arrays(trainable, settings, given.accelerator).describe()["ranges"] == ["percentile", 0.99, 7]


def test_the_arrays_are_an_ingredient(tmp_path):
    (tmp_path / "arrays.toml").write_text(TOML)
    settings, found = qat(accelerator=str(tmp_path / "arrays.toml")), []
    for error in ("0.2", "0.3"):
        (tmp_path / "arrays.toml").write_text(TOML.replace("0.2", error))
        found.append(noise_ingredients(settings, NOISY, PAPER, None))
    assert found[0] != found[1]


def test_training_is_for_the_chips_of_the_run_unless_its_table_says_otherwise():
    conditions, clean = Conditions(elapsed_s=60), make_accelerator(32, 16, 4)
    stuck = make_accelerator(32, 16, 4, array={"stuck_on_rate": 0.1})
    ways = {noise: QatSettings(steps=1, learning_rate=0.1, noise=noise) for noise in ("auto", "none")}
    found = find_noise(ways["auto"], clean, SampledChips(3, NOISY, conditions))
    assert (found.hardware, found.conditions) == (noise_hardware(NoiseSettings(), NOISY), conditions)
    assert found.settings.method == "statistical"
    for chips in (None, SampledChips(3, stuck, Conditions())):  # stuck cells are left out
        assert find_noise(ways["auto"], clean, chips) is None
    corrected = find_noise(ways["auto"], clean, SampledChips(3, NOISY, conditions, recalibrates=True))
    assert (corrected.conditions, corrected.recalibrates) == (conditions, True)
    assert not found.recalibrates
    assert find_noise(qat(recalibration="channels"), NOISY, None).recalibrates
    assert find_noise(ways["none"], clean, SampledChips(3, NOISY, conditions)) is None
    assert find_noise(qat(), NOISY, SampledChips(3, clean, conditions)).hardware.array.read_noise


def test_a_run_trains_on_the_arrays_that_are_specified():
    dataset = load_dataset(DataSpec(name="digits", calibration=50, validation=50), np.random.default_rng(0))
    clean = make_accelerator(32, 16, 4)
    whole = Material(dataset, hash_dataset(dataset), clean, PAPER, "none", False, 1)
    noisy = Material(dataset, hash_dataset(dataset), NOISY, PAPER, "none", True, 1)
    weights = []
    for given, settings in ((whole, qat()), (noisy, qat(converters=False)), (whole, qat().model_copy())):
        network = make_trainable(torch.from_numpy(dataset.calibration.inputs(slice(None))))
        assert bool(arrays(network, settings.noise, given.accelerator).layers) is (given is noisy)
        _, notes = train_with_progress(network, given, settings, 1, None, lambda *_: None)
        # No other notes, also where compiling was asked for: arrays are not compiled.
        note = () if given is noisy else ("test reads all sums of this policy exactly: qat.noise changed nothing.",)
        assert tuple(notes) == note
        weights.append(network.state_tensors()["1.weight"].clone())
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
