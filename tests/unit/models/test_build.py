import pytest
import torch

from mho.errors import ConfigError, InputFileError
from mho.models import build_model


def build(name: str, classes: int = 10, shape: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> torch.nn.Module:
    return build_model(name, classes, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "layers", "parameters"), [("resnet8", 10, 78_042), ("resnet20", 22, 272_474), ("vgg9", 9, 713_386)]
)
def test_own_networks_have_the_stated_size_and_answer_one_logit_a_class(name, layers, parameters):
    model = build(name).eval()
    mvms = [module for module in model.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(mvms) == layers
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "vgg9"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 48)])
def test_own_networks_take_any_small_image(name, shape):
    assert build(name, 4, shape).eval()(torch.zeros(1, *shape)).shape == (1, 4)


def test_names_of_parameters_are_torchvisions():
    names = set(build("resnet20").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer3.2.conv2.weight"} <= names
    assert "layer1.0.downsample.0.weight" not in names


def test_weights_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = build("resnet8", seed=5).state_dict()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = build("resnet8", seed=5).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], build("resnet8", seed=6).state_dict()["conv1.weight"])


def test_torchvision_networks_come_without_weights_and_with_the_asked_classes():
    assert build("torchvision:mobilenet_v2", 7).classifier[1].out_features == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet9", "resnet8"), ("torchvision:vgg166", "vgg16"), ("no.such.module:make", "cannot import")],
)
def test_an_unknown_name_gets_a_suggestion(name, message):
    with pytest.raises(ConfigError, match=message):
        build(name)


def test_a_users_function_is_called_with_classes_and_shape(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "def make(classes, input_shape):\n    return torch.nn.Linear(input_shape[0], classes)\n"
        "def wrong(classes, input_shape):\n    return 3\n"
        "def narrow(classes):\n    return None\n"
    )
    assert build(f"{path}:make", 3, (5,)).weight.shape == (3, 5)
    for function, message in (("wrong", "returned int"), ("narrow", "two arguments"), ("mak", "did you mean 'make'")):
        with pytest.raises(ConfigError, match=message):
            build(f"{path}:{function}")
    with pytest.raises(InputFileError, match="no such file"):
        build(f"{tmp_path / 'absent.py'}:make")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(classes, shape):\n    return 1 / 0\n", r"ZeroDivisionError: division by zero \(.*net.py:2\)"),
        ("def make(:\n", "SyntaxError"),
        ("nothing\n", "NameError"),
    ],
)
def test_a_users_code_that_fails_is_told_with_its_place(tmp_path, text, message):
    path = tmp_path / "net.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        build(f"{path}:make", 3, (5,))
