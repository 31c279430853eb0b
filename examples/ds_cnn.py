"""A depthwise-separable network for keyword spotting: DS-CNN of Zhang et al., "Hello Edge: Keyword Spotting on
Microcontrollers" (arXiv 1711.07128), between its small and its medium size.
"""

from torch import nn

WIDTH = 96
BLOCKS = 4


def make_ds_cnn(classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """Return it untrained, for spectrograms [1, mels, frames].

    A convolution of 4 mels by 10 frames, four blocks of a depthwise 3x3 and a pointwise convolution, the mean over all
    positions, one linear layer. 46,858 parameters and 7 M multiply-accumulates for 40 mels, 64 frames and ten classes.
    """
    first = nn.Conv2d(input_shape[0], WIDTH, (4, 10), stride=4, padding=(0, 3), bias=False)
    return nn.Sequential(
        nn.Sequential(first, nn.BatchNorm2d(WIDTH), nn.ReLU()),
        *(_block() for _ in range(BLOCKS)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(WIDTH, classes),
    )


def _block() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
    )
