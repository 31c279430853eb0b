"""A small vision transformer for square images of some multiple of four pixels a side."""

from torch import nn
from torchvision.models import VisionTransformer


def make_vit(classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """Return it untrained: patches of 4x4, four layers of four heads, width 64.

    142 k parameters and 11 M multiply-accumulates for 32x32 colour images and ten classes.
    """
    return VisionTransformer(
        image_size=input_shape[1],
        patch_size=4,
        num_layers=4,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=classes,
    )
