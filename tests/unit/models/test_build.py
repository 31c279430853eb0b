import pytest
import torch

from mho.errors import ConfigError, InputFileError
from mho.models import build_model, model_names
from mho.models.build import usual_sizes
from mho.models.own import OWN_NETWORKS
from mho.models.yolo import DensePool


def build(name: str, classes: int = 10, shape: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> torch.nn.Module:
    return build_model(name, classes, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [("resnet8", 10, 78_042), ("resnet20", 22, 272_474), ("vgg9", 9, 713_386), ("vgg11-small", 11, 2_494_890)],
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


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        ("tinyyolov3", 13, 8_852_366),
        ("tinyyolov4", 21, 6_056_606),
        ("resnet50v1", 54, 25_557_032),
        ("resnet152v1", 156, 60_192_808),
    ],
)
def test_large_networks_have_their_published_size(name, layers, parameters):
    """The detectors' files of weights hold 8 858 734 and 6 062 814 numbers, running means and variances among them."""
    shape, classes = usual_sizes(name)
    model = build(name, classes, shape)
    mvms = [module for module in model.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(mvms) == layers
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    statistics = {"tinyyolov3": 8_858_734 - 8_852_366, "tinyyolov4": 6_062_814 - 6_056_606}
    if name in statistics:
        assert sum(b.numel() for key, b in model.named_buffers() if "running" in key) == statistics[name]


@pytest.mark.parametrize("name", ["tinyyolov3", "tinyyolov4"])
def test_detectors_answer_on_two_grids(name):
    coarse, fine = build(name, 20, (3, 64, 96)).eval()(torch.zeros(2, 3, 64, 96))
    assert coarse.shape == (2, 3 * 25, 2, 3)
    assert fine.shape == (2, 3 * 25, 4, 6)


def test_a_dense_pool_looks_to_the_right_and_below():
    x = torch.tensor([[4.0, 1.0, 2.0], [0.0, 3.0, -5.0], [-1.0, -2.0, -3.0]])
    expected = torch.tensor([[4.0, 3.0, 2.0], [3.0, 3.0, -3.0], [-1.0, -2.0, -3.0]])
    assert torch.equal(DensePool()(x[None, None])[0, 0], expected)


def test_deep_residual_networks_are_torchvisions_with_the_stride_in_the_first_convolution():
    ours, theirs = (build(name, 10, (3, 64, 64)).eval() for name in ("resnet50v1", "torchvision:resnet50"))
    theirs.load_state_dict(ours.state_dict())
    for stage in (ours.layer2, ours.layer3, ours.layer4):
        block = stage[0]
        assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
        block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vgg9", (3, 4, 32), r"vgg9: samples of shape \(3, 4, 32\)(.|\n)*\[C, 8\.\., 8\.\.\]"),
        ("vgg11-small", (3, 8, 8), r"vgg11-small: samples of shape \(3, 8, 8\)(.|\n)*\[C, 16\.\., 16\.\.\]"),
        ("resnet50v1", (3, 28, 28), r"\[C, 32\.\., 32\.\.\]"),
        ("tinyyolov4", (3, 416, 400), r"\[C, a multiple of 32, a multiple of 32\]"),
        ("tinyyolov3", (64,), r"a multiple of 32"),
    ],
)
def test_samples_that_do_not_suit_a_network_are_reported(name, shape, message):
    with pytest.raises(ConfigError, match=message):
        build(name, 10, shape)


def test_every_network_takes_what_it_is_made_for():
    assert set(model_names()) >= {"resnet8", "vgg9", "resnet152v1", "tinyyolov3"}
    for name in model_names():
        shape, classes = usual_sizes(name)
        assert classes >= 10
        OWN_NETWORKS[name].check_shape(shape, where=name)
    assert usual_sizes("torchvision:vgg16") == ((3, 224, 224), 1000)
    assert usual_sizes("net.py:make") == ((3, 32, 32), 10)


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
def test_a_users_code_that_fails_is_reported_with_its_place(tmp_path, text, message):
    path = tmp_path / "net.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        build(f"{path}:make", 3, (5,))
