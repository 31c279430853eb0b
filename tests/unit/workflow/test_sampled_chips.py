"""What a run's programs answer on chips: as `mho calibrate` and `mho simulate` tell it for the same seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator

import mho
from mho.data.dataset import Split
from mho.errors import ConfigError
from mho.evaluation.chips import SampledChips
from mho.hardware.loading import to_toml
from mho.workflow.config import SimulationSettings
from mho.workflow.sampled_chips import count_samples, evaluate_programs, read_chips
from mho.workflow.training_settings import NoiseSettings

CALIBRATED = {"adc_range": "calibrated-columns", "adc_latency_us_per_bit": 0.2, "columns_per_adc": 4}
NOISY = {"programming_error": 0.2, "read_noise": 0.05}


@pytest.fixture(scope="module")
def splits():
    draws = np.random.default_rng(0)
    images = draws.normal(size=(150, 1, 4, 4)).astype(np.float32)
    split = Split(images, (images.reshape(150, -1)[:, :5]).argmax(axis=1), (0.0,), (1.0,))
    return split.take(slice(0, 40)), split.take(slice(40, 150))


def compile_files(splits, folder, hardware):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 5))
    network = mho.load(module, torch.zeros(1, 1, 4, 4))
    files = {}
    for name, bits in (("reference", "8/8"), ("found", "4/4")):
        quantized = mho.quantize(network, bits, splits[0].inputs(slice(None)))
        mho.save(mho.compile(quantized, hardware), folder / f"{name}.mho")
        files[name] = folder / f"{name}.mho"
    return files


@pytest.mark.parametrize("calibrated", [False, True])
def test_chips_answer_as_simulated_ones_of_the_same_seeds(splits, tmp_path, calibrated):
    options = {"adc_bits": 5, "converters": CALIBRATED} if calibrated else {}
    hardware = make_accelerator(32, 32, 2, array=NOISY, **options)
    files = compile_files(splits, tmp_path, hardware)
    calibration, test = splits
    reports = []
    found = evaluate_programs(
        files,
        SampledChips(3, hardware, mho.Conditions()),
        test,
        calibration,
        lambda share, what: reports.append((share, what)),
    )
    pooled = found.pop("pooled")["found"]
    assert (pooled["count"], pooled["accuracy"]) == (330, pytest.approx(sum(found["found"]) / 3))
    assert (found["images"], found["hardware"], found["elapsed_s"], found["reads"]) == (110, "test", None, 0)
    for name, file in files.items():
        for seed, accuracy in enumerate(found[name], start=1):
            ranges = mho.calibrate(file, calibration.inputs(slice(None)), seed=seed) if calibrated else None
            (logits,) = mho.simulate(file, test.inputs(slice(None)), seed=seed, ranges=ranges).values()
            assert accuracy == pytest.approx((logits.argmax(axis=1) == test.labels).mean())
    assert len(set(found["reference"] + found["found"])) > 2, "chips differ"
    assert [what for _, what in reports] == [f"chip {k}, {file.name}" for file in files.values() for k in (1, 2, 3)]
    assert [share for share, _ in reports] == pytest.approx([k / 6 for k in range(6)])


def test_ideal_chips_answer_as_exact_sums_do(splits, tmp_path):
    hardware = make_accelerator(32, 32, 2)
    files = compile_files(splits, tmp_path, hardware)
    found = evaluate_programs(files, SampledChips(2, hardware, mho.Conditions()), splits[1], splits[0], lambda *_: None)
    for name, file in files.items():
        (logits,) = mho.simulate(file, splits[1].inputs(slice(None))).values()
        assert found[name] == [(logits.argmax(axis=1) == splits[1].labels).mean()] * 2


def named(name, **array):
    return make_accelerator(32, 32, 2, array=array).model_copy(update={"name": name})


def test_chips_of_other_hardware_at_another_age_are_those_that_are_meant(splits, tmp_path):
    files = compile_files(splits, tmp_path, make_accelerator(32, 32, 2))
    worn = named("worn", drift_exponent=0.1, drift_exponent_std=0.1)
    later, (calibration, test) = mho.Conditions(1e5), splits
    found = evaluate_programs(files, SampledChips(1, worn, later), test, calibration, lambda *_: None)
    assert (found["hardware"], found["elapsed_s"]) == ("worn", 1e5)
    for name, file in files.items():
        (logits,) = mho.simulate(file, test.inputs(slice(None)), seed=1, hardware=worn, conditions=later).values()
        assert found[name] == [pytest.approx((logits.argmax(axis=1) == test.labels).mean())]


def test_channels_are_corrected_on_each_chip_where_a_run_wants_it(splits, tmp_path):
    drifting = {**NOISY, "programming_error": 0.02, "drift_exponent": 0.1}
    hardware, later = make_accelerator(32, 32, 2, array=drifting), mho.Conditions(1e4)
    files, (calibration, test) = compile_files(splits, tmp_path, hardware), splits
    settings = SimulationSettings(chips=1, elapsed_s=1e4, recalibration="channels")
    chips = read_chips(settings, None, hardware)
    assert chips == SampledChips(1, hardware, later, recalibrates=True)
    assert chips.words.endswith("10,000 s after the write, with channels corrected")
    found = evaluate_programs(files, chips, test, calibration, lambda *_: None)
    plain = evaluate_programs(files, replace(chips, recalibrates=False), test, calibration, lambda *_: None)
    corrections = mho.recalibrate(files["found"], calibration.inputs(slice(None)), seed=1, conditions=later)
    chip = {"seed": 1, "conditions": later, "corrections": corrections}
    (logits,) = mho.simulate(files["found"], test.inputs(slice(None)), **chip).values()
    assert found["found"] == [pytest.approx((logits.argmax(axis=1) == test.labels).mean())]
    assert found["pooled"]["found"]["loss"] != plain["pooled"]["found"]["loss"]


def test_channels_of_ideal_chips_need_no_correction():
    with pytest.raises(ConfigError, match="nothing to correct"):
        read_chips(SimulationSettings(recalibration="channels"), None, make_accelerator(32, 32, 2))
    with pytest.raises(ValueError, match="recalibration is of sampled chips"):
        SimulationSettings(chips=0, recalibration="channels")


def test_which_chips_are_simulated_follows_from_the_settings(tmp_path):
    own = make_accelerator(32, 32, 2, array={"drift_exponent": 0.1, "drift_reference_s": 10})
    assert read_chips(SimulationSettings(chips=0), None, own) is None
    aged = SampledChips(2, own, mho.Conditions(20))
    assert read_chips(SimulationSettings(chips=2, elapsed_s=20), None, own) == aged
    assert read_chips(SimulationSettings(chips=2), None, own) is None, "at once its cells are ideal"
    other = named("other", drift_exponent=0.1, drift_activation_ev=0.3)
    (tmp_path / "other.toml").write_text(to_toml(other))
    there = {"chips": 1, "accelerator": str(tmp_path / "other.toml"), "elapsed_s": 50}
    found = read_chips(SimulationSettings(**there, temperature_k=350), None, own)
    assert found == SampledChips(1, other, mho.Conditions(50, 350))
    namesake = other.model_copy(update={"name": "test"})
    (tmp_path / "other.toml").write_text(to_toml(namesake))
    assert read_chips(SimulationSettings(**there), None, own).hardware.name == "test (other.toml)"
    (tmp_path / "small.toml").write_text(to_toml(make_accelerator(16, 32, 2)))
    (tmp_path / "slow.toml").write_text(to_toml(make_accelerator(32, 32, 2, crossbar={"active_rows": 8})))
    for settings, message in [
        ({"chips": 1, "accelerator": str(tmp_path / "small.toml")}, "rows is 16, but the run's is 32"),
        (
            {"chips": 1, "accelerator": str(tmp_path / "slow.toml")},
            "8 rows may be driven at once, but the run's are 32",
        ),
        ({"chips": 1, "elapsed_s": 5}, "simulation: elapsed_s is 5"),
        ({"chips": 1, "temperature_k": 350}, "simulation: temperature_k changes nothing on test"),
        ({"chips": 1, "reads": 3}, "simulation: reads changes nothing on test"),
    ]:
        with pytest.raises(ConfigError, match=message):
            read_chips(SimulationSettings(**settings), None, own)


def test_chips_of_a_run_that_trains_for_other_arrays_are_named(tmp_path):
    own, trained = make_accelerator(32, 32, 2), make_accelerator(32, 32, 2, array=NOISY)
    for name, hardware in (("own.toml", own), ("noisy.toml", trained)):
        (tmp_path / name).write_text(to_toml(hardware))
    noise = NoiseSettings(accelerator=str(tmp_path / "noisy.toml"))
    with pytest.raises(
        ConfigError, match=r"simulation\.accelerator: chips are sampled, and training is for test \(noisy"
    ):
        read_chips(SimulationSettings(chips=2), noise, own)
    named_so = {
        name: SimulationSettings(chips=2, accelerator=str(tmp_path / name)) for name in ("own.toml", "noisy.toml")
    }
    assert read_chips(named_so["noisy.toml"], noise, own).hardware.array == trained.array
    assert read_chips(named_so["own.toml"], noise, own) is None, "they are ideal"
    same = NoiseSettings(accelerator=str(tmp_path / "noisy.toml"))
    assert read_chips(SimulationSettings(chips=2), same, trained).hardware == trained


OF_CHIPS = [{"accelerator": "stt-mram"}, {"elapsed_s": 5}, {"temperature_k": 300}, {"reads": 1}, {"chip_images": 9}]


@pytest.mark.parametrize("settings", OF_CHIPS)
def test_what_is_of_chips_needs_some(settings):
    with pytest.raises(ValueError, match="is of sampled chips, and there are none"):
        SimulationSettings(chips=0, **settings)


def test_chips_are_sampled_by_default_wherever_they_may_err(tmp_path):
    ideal, noisy = make_accelerator(32, 32, 2), make_accelerator(32, 32, 2, array=NOISY)
    calibrated = make_accelerator(32, 32, 2, adc_bits=5, converters=CALIBRATED)
    settings = SimulationSettings()
    assert read_chips(settings, None, ideal) is None
    assert read_chips(settings, None, noisy) == SampledChips(5, noisy, mho.Conditions())
    assert read_chips(settings, None, calibrated) == SampledChips(1, calibrated, mho.Conditions()), (
        "all chips are alike"
    )
    assert read_chips(SimulationSettings(chips=0), None, noisy) is None
    (tmp_path / "noisy.toml").write_text(to_toml(noisy))
    noise = NoiseSettings(accelerator=str(tmp_path / "noisy.toml"))
    assert read_chips(settings, noise, ideal).hardware.array == noisy.array, "what training meets"


def test_large_networks_answer_fewer_samples_on_chips():
    chips = SampledChips(5, make_accelerator(32, 32, 2, array=NOISY), mho.Conditions())
    found = [count_samples(SimulationSettings(), chips, int(macs)) for macs in (1e5, 2e7, 1e10)]
    assert found == [500, 150, 50]
    assert count_samples(SimulationSettings(chip_images=7), chips, 10) == 7
