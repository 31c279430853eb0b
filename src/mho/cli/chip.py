"""What commands that run a program on a chip have in common: its hardware and conditions, samples with labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from mho.array.conductances import Conditions
from mho.array.nonidealities import REQUIREMENTS, check_conditions_take_effect, takes_effect
from mho.errors import ConfigError
from mho.hardware.array import Placement
from mho.hardware.loading import load_accelerator, override
from mho.hardware.spec import Accelerator
from mho.program.program import Program

if TYPE_CHECKING:
    from mho.evaluation.samples import LabelledSamples

ProgramArgument = Annotated[Path, typer.Argument(metavar="P.mho", help="A program of `mho compile`.")]
ChipInputsOption = Annotated[
    Path,
    typer.Option(metavar="X.npz", help="A few hundred real samples: arrays [N, ...] by the names of the inputs."),
]
ChipSeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="Of the chip.")]
NoisySeedOption = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Run it on the chip that this seed gives, not exactly.")
]
HardwareOption = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Cells, wires and converters of the chip; by default the program's own."),
]
ElapsedOption = Annotated[
    float | None, typer.Option(metavar="T", help="Seconds since cells were written; by default 0.")
]
TemperatureOption = Annotated[
    float | None, typer.Option(metavar="K", help="Temperature of the chip, K; by default that of its drift figures.")
]
PlacementOption = Annotated[
    Placement | None,
    typer.Option(
        help="Lines that take rows and columns: each its own, or chosen by stuck cells; by default the hardware's."
    ),
]
RangesOption = Annotated[
    Path | None, typer.Option(metavar="R.npz", help="Ranges of calibrated ADCs, of `mho calibrate-adcs`.")
]
TransferredOption = Annotated[
    bool,
    typer.Option(
        "--transferred",
        help="Take ranges and corrections although they were found on another chip, for other cells or at another age.",
    ),
]
ReadsOption = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Reads since cells were written; by default 0.")
]


@dataclass(frozen=True)
class Chip:
    """Which chip is meant: its seed, its hardware (None: the program's own), when and how it is read.

    `placement` goes before what the hardware says; None: that stays.
    """

    seed: int
    hardware: Accelerator | None
    conditions: Conditions
    placement: Placement | None = None

    def fit(self, program: Program) -> Accelerator:
        """Return the hardware that a program runs on. Raises `ConfigError` where an option changes nothing on it."""
        hardware = override(self.hardware or program.accelerator, placement=self.placement)
        check_conditions_take_effect(self.conditions, hardware, option=lambda name: f"--{name.replace('_', '-')}")
        own = "array.placement", hardware.array, hardware.converters, self.conditions
        if self.placement is not None and not takes_effect(*own):
            raise ConfigError(f"--placement changes nothing on {hardware.name}", expected=REQUIREMENTS[own[0]].words)
        return hardware


def check_seed(seed: int | None, given: Mapping[str, Any]) -> None:
    """Refuse options of a chip, by name, beside which no seed says what chip. Raises `ConfigError`."""
    names = [name for name, value in given.items() if value is not None]
    if seed is None and names:
        what = f"--{names[0]} describes a noisy chip" if names[0] == "hardware" else f"--{names[0]} is of a chip"
        raise ConfigError(what, expected="--seed N beside it, which says what chip")


def load_chip(
    seed: int,
    hardware: str | None,
    *,
    elapsed_s: float | None,
    temperature_k: float | None,
    reads: int | None,
    placement: Placement | None,
) -> Chip:
    """Load what options say. Raises `MhoError` where something of it cannot be."""
    loaded = None if hardware is None else load_accelerator(hardware)
    return Chip(seed, loaded, Conditions(elapsed_s, temperature_k, reads or 0), placement)


@dataclass(frozen=True)
class Samples:
    """Inputs by name, and the labels that lie beside them, if any do."""

    inputs: dict[str, NDArray[Any]]
    labels: LabelledSamples | None

    @classmethod
    def read(cls, path: Path, program: Program) -> Samples:
        """Read an .npz file. Raises `MhoError` where it is none, or labels are no classes."""
        from mho.array_files import read_arrays
        from mho.evaluation.samples import LABELS, LabelledSamples

        arrays = read_arrays(path)
        labels = arrays.pop(LABELS) if LABELS in arrays and LABELS not in program.inputs else None
        return cls(arrays, None if labels is None else LabelledSamples(arrays, labels))

    def check(self, program: Program) -> None:
        """Check inputs and labels against the program that is to answer them. Raises `DataError`."""
        from mho.simulation.samples import check_inputs, present_shapes

        count = len(next(iter(check_inputs(program, self.inputs).values())))
        if self.labels is not None:
            self.labels.check({name: (count, *shape) for name, shape in present_shapes(program).items()})

    def tell_accuracy(self, **outputs: dict[str, NDArray[np.float32]]) -> str | None:
        """Return the share of samples that each set of outputs gets right, in words; None without labels."""
        if self.labels is None:
            return None
        shares = [f"{100 * self.labels.accuracy(one):.2f} % {name.replace('_', ' ')}" for name, one in outputs.items()]
        return f"accuracy on {len(self.labels):,} labels: {', '.join(shares)}"


def tell_elsewhere(what: str, differences: Mapping[str, tuple[str, str]]) -> str | None:
    """Return how the chip on which something was found differs from this one, in words; None where it does not."""
    differing = [f"{key} = {found} (here {wanted})" for key, (found, wanted) in differences.items()]
    return f"{what} from elsewhere: {', '.join(differing)}" if differing else None
