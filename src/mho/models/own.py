"""mho's own networks by name, and what each is made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from mho.errors import ConfigError
from mho.models.resnet import BottleneckResNet, SmallResNet
from mho.models.vgg import VGG9, VGG11, SmallVgg
from mho.models.yolo import TinyYoloV3, TinyYoloV4


@dataclass(frozen=True)
class OwnNetwork:
    """How a network is made.

    Attributes:
        make: from channels of the input and classes to the module, with torch's current random state.
        input_shape, classes: what it is made for, and what it gets where nothing else is given: [C, H, W].
        least_size: height and width that it needs.
        multiple: height and width must be multiples of it.
    """

    make: Callable[[int, int], nn.Module]
    input_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    least_size: int = 8
    multiple: int = 1

    def check_shape(self, input_shape: tuple[int, ...], *, where: str) -> None:
        """Check the shape of samples against what the network takes. Raises `ConfigError`."""
        sizes = input_shape[1:]
        if len(sizes) == 2 and min(sizes) >= self.least_size and not any(size % self.multiple for size in sizes):
            return
        size = f"{self.least_size}.." if self.multiple == 1 else f"a multiple of {self.multiple}"
        raise ConfigError(
            f"samples of shape {input_shape} do not suit it", where=where, expected=f"[C, {size}, {size}]"
        )


def _image_net(blocks: tuple[int, int, int, int]) -> OwnNetwork:
    return OwnNetwork(
        lambda channels, classes: BottleneckResNet(blocks, channels, classes), (3, 224, 224), 1000, least_size=32
    )


OWN_NETWORKS: Mapping[str, OwnNetwork] = MappingProxyType(
    {
        "resnet8": OwnNetwork(lambda channels, classes: SmallResNet(1, channels, classes)),
        "resnet20": OwnNetwork(lambda channels, classes: SmallResNet(3, channels, classes)),
        "vgg9": OwnNetwork(lambda channels, classes: SmallVgg(VGG9, channels, classes)),
        "vgg11-small": OwnNetwork(lambda channels, classes: SmallVgg(VGG11, channels, classes), least_size=16),
        "resnet50v1": _image_net((3, 4, 6, 3)),
        "resnet152v1": _image_net((3, 8, 36, 3)),
        "tinyyolov3": OwnNetwork(TinyYoloV3, (3, 416, 416), 80, least_size=32, multiple=32),
        "tinyyolov4": OwnNetwork(TinyYoloV4, (3, 416, 416), 80, least_size=32, multiple=32),
    }
)
"""Every network by name."""
