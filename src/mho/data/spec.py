"""What a user says about data: which dataset, where it lies, how it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mho.frozen_model import FrozenModel
from mho.settings import Count

DATA_NAMES = ("digits", "fashion-mnist", "cifar10", "image-folder", "npz")


def _check_name(name: str) -> str:
    if name not in DATA_NAMES and ":" not in name:
        raise ValueError(f"is {name!r}; expected {', '.join(DATA_NAMES)}, or a function, file.py:function")
    return name


DataName = Annotated[str, AfterValidator(_check_name)]

Positive = Annotated[float, Field(gt=0)]


class DataSpec(FrozenModel):
    """Which data, and how its training part is cut into train, calibration and validation.

    Calibration and validation samples are drawn from the training data by the run's seed and never trained on.
    """

    name: DataName
    """`digits` (scikit-learn, 8x8), `fashion-mnist`, `cifar10`, `image-folder`, `npz`, or a function of yours,
    `package.module:function` or `file.py:function` (runs that code), called with `root`, which returns a pair of pairs,
    (x_train, y_train), (x_test, y_test), of arrays, tensors or torch datasets."""
    root: Path | None = None
    """Folder, archive or file that holds the data. Not needed for `digits`, nor for `fashion-mnist` where Debian's
    package is installed."""
    calibration: Count = 1000
    """Images on which ranges are calibrated and policies scored."""
    validation: Count = 1000
    """Images on which candidates are evaluated. Unused where an image folder has its own `val/`."""
    test: Count | None = None
    """Images to set aside as test set where the source has none of its own (`digits`: 500; an image folder without
    `test/`: must be given)."""
    limit: Count | None = None
    """Use at most so many training samples."""
    augmentation: Literal["none", "flip-crop", "flip-shift"] = "none"
    """What training does to images: nothing, or mirror them and shift them: by up to an eighth of their height, black
    coming in (`flip-crop`), or by up to a sixteenth, the border reflected (`flip-shift`, for short trainings)."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel after scaling to 0..1. Left out: the dataset's own; for folders and arrays, measured
    on the training samples."""
    std: tuple[Positive, ...] | None = None
    """Divides each channel. Left out: as `mean`."""
    channels: Literal[1, 3] = 3
    """Image folders: read images as grey (1) or colour (3)."""
    resize: Count | None = None
    """Image folders: scale the short side to so many pixels (bicubic)."""
    crop: Count | None = None
    """Image folders: cut the central square of so many pixels."""

    @model_validator(mode="after")
    def _consistent(self) -> DataSpec:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        if self.name != "image-folder" and (self.resize or self.crop):
            raise ValueError("resize and crop are for data name 'image-folder' only")
        if self.resize and self.crop and self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is larger than resize {self.resize}")
        if self.name in ("image-folder", "npz", "cifar10") and self.root is None:
            raise ValueError(f"data name {self.name!r} needs 'root', where the data lies (or --data-root)")
        return self
