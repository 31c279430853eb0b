from pathlib import Path

import pytest

from mho.errors import ConfigError, InputFileError
from mho.hardware.loading import load_accelerator
from mho.workflow.config import RunConfig, load_config
from mho.workflow.run import load_material
from mho.workflow.search_settings import SearchSettings

GOOD = """
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
"""


def load(tmp_path: Path, text: str = GOOD, **given) -> RunConfig:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, **given)


def test_a_short_file_is_enough_and_defaults_are_reported(tmp_path):
    config = load(tmp_path)
    assert config.directory == Path("runs/sample")
    assert config.search.hold_first_last == "auto"
    assert config.evaluation.training is None
    assert config.to_json()["search"]["method"] == "auto"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'name = "pelke2026-4bit"',
            'name = "pelke2026-4bit"\nmapping = "paper"\nencoding = "twos-complement"',
            "accelerator: the paper's mapping has no encoding twos-complement",
        ),
        ("budget = 10", "bugdet = 10", r"search\.bugdet: unknown key(.|\n)*did you mean 'budget'"),
        ("budget = 10", "budget = 1", r"search\.budget: is 1(.|\n)*2\.\.100000"),
        ("budget = 10", 'budget = 10\nmethod = "rI"', r"search\.method: is 'rI'(.|\n)*'rl'"),
        ("budget = 10", 'budget = 10\nhold_first_last = "9/9"', r"search\.hold_first_last(.|\n)*9"),
        ("budget = 10", "budget = 10\nweight_bits_multiple = 9", r"search\.weight_bits_multiple(.|\n)*1\.\.8"),
        ("budget = 10", "budget = 10\nmin_act_bits = 6\nmax_act_bits = 4", r"search: min_act_bits is 6, above max"),
        ("budget = 10", 'budget = 10\nmethod = "rl-paper"\nprune = true', r"search: rl-paper follows the paper"),
        ("budget = 10", 'budget = 10\npins = {fc = "8-8"}', r"search\.pins\.fc(.|\n)*WEIGHT/ACTIVATION"),
        ("[search]", '[calibration]\neffort = "bets"\n[search]', r"calibration\.effort: is 'bets'(.|\n)*'best'"),
        ("epochs = 1\n", "epochs = 1\nsteps = 3\n", "qat: give either epochs or steps"),
        ("epochs = 1\n", "steps = 1e300\n", r"qat\.steps: is 1E\+300(.|\n)*1\.\.1000000000"),
        ("learning_rate = 0.01", "learning_rate = nan", r"qat\.learning_rate"),
        ('name = "digits"', 'name = "cifar10"', r"data: data name 'cifar10' needs 'root'"),
        ('name = "digits"', 'name = "digit"', r"data\.name: is 'digit'(.|\n)*digits"),
        ('name = "sample"', 'name = "../x"', r"run\.name"),
        ("[float_training]\nepochs = 2\nlearning_rate = 0.05\n", "", r"no weights: add \[float_training\]"),
    ],
)
def test_a_mistake_is_reported_with_its_file_key_and_range(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert "config.toml" in str(caught.value)


def test_a_missing_file_and_broken_toml_are_reported(tmp_path):
    with pytest.raises(InputFileError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(InputFileError, match="not TOML"):
        load(tmp_path, "[run\n")


def test_paths_are_relative_to_the_file_and_the_run_directory_is_not(tmp_path):
    text = GOOD.replace('name = "digits"', 'name = "npz"\nroot = "data/x.npz"')
    text = text.replace('name = "pelke2026-4bit"', 'name = "chip.toml"')
    text = text.replace('name = "resnet8"', 'name = "nets/net.py:make"\nweights = "w.safetensors"')
    config = load(tmp_path, text)
    assert config.data.root == tmp_path / "data" / "x.npz"
    assert config.accelerator.name == str(tmp_path / "chip.toml")
    assert config.network.name == f"{tmp_path}/nets/net.py:make"
    assert config.network.weights == tmp_path / "w.safetensors"


def test_rules_of_the_mapping_beside_the_file_reach_the_accelerator(tmp_path):
    given = {"max_error": 0.3, "mapping_objective": None, "never_digital": ["fc"]}
    few = GOOD.replace('name = "digits"', 'name = "digits"\ncalibration = 50\nvalidation = 50')
    hardware = load_material(load(tmp_path, few, accelerator=given)).accelerator
    assert float(hardware.mapping.max_error) == 0.3
    assert hardware.mapping.never_digital == ("fc",)
    assert hardware.mapping.objective == "latency"
    with pytest.raises(ConfigError, match="max_error is a rule of mapping = 'best'"):
        load(tmp_path, accelerator={"max_error": 0.3, "mapping": "paper"})


def test_what_is_given_beside_the_file_goes_first(tmp_path):
    config = load(
        tmp_path,
        GOOD.replace('name = "digits"', 'name = "cifar10"'),
        directory=tmp_path / "out",
        data_root=tmp_path / "images",
        weights=tmp_path / "w.safetensors",
    )
    assert config.directory == tmp_path / "out"
    assert config.data.root == tmp_path / "images"
    assert config.network.weights == tmp_path / "w.safetensors"


EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/*.toml"))
RUNS = [path for path in EXAMPLES if "[run]" in path.read_text()]


def test_there_are_examples():
    assert {path.name for path in RUNS} >= {
        "digits.toml",
        "fashion_mnist.toml",
        "cifar10.toml",
        "cifar10_vgg11.toml",
        "cifar10_resnet20.toml",
        "spoken_digits.toml",
    }


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_every_example_is_a_valid_configuration(path, tmp_path):
    config = load_config(path, data_root=tmp_path)
    assert config.run.name == path.stem
    assert load_accelerator(config.accelerator.name).crossbar.cell_bits in (2, 4)


def test_settings_without_adc_bits_are_written_without_them_and_those_with_come_back():
    plain = SearchSettings(budget=5)
    assert "adc_bits" not in plain.model_dump(mode="json")
    assert not plain.has_adc_bits
    given = SearchSettings(budget=5, adc_bits=[4, 6])
    assert SearchSettings(**given.model_dump(mode="json")) == given
    assert given.has_adc_bits
    assert SearchSettings(budget=5, pins={"a": "4/4/5"}).has_adc_bits
    assert SearchSettings(budget=5, hold_first_last="8/8/6").has_adc_bits
