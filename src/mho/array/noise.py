"""Read noise, in closed form.

Each cell deviates at every read by an independent Gaussian of standard deviation s(G). A column that is driven with
voltages V therefore deviates by a Gaussian of variance sum over rows of V^2 s(G)^2 (variances of independent numbers
add): one normal number a column sum stands for one a cell, exactly. Where sums are added up with weights w before
anything is rounded or clipped, so do their variances with w^2.

It leaves out that a conductance cannot be negative: what is told is a deviation around the mean at a working point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mho.array.conductances import Device
from mho.hardware.array import PartOf


def read_variance(device: Device, counts: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the variance of each cell at one read, in squares of level steps, float64 of the shape of `counts`.

    (`read_noise` times the range)^2, or (`read_noise` times the cell's own conductance)^2; None without noise.
    """
    noise = float(device.array.read_noise)
    if not noise:
        return None
    if device.array.read_noise_of is PartOf.RANGE:
        return np.broadcast_to((noise * device.span) ** 2, counts.shape)
    return (noise * (counts + device.off_steps)) ** 2
