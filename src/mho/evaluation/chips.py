"""Several sampled chips of one kind: which they are, and how many samples each classifies correctly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from mho.array.conductances import Conditions
from mho.array.nonidealities import chips_differ
from mho.cost_model.layer_tables import network_policy
from mho.errors import ConfigError, DataError
from mho.evaluation.chip import ChipPreparation, Outputs, run_prepared_chip
from mho.evaluation.samples import Inputs, LabelledSamples
from mho.hardware.spec import Accelerator
from mho.network.graph import Network
from mho.policy import Policy
from mho.program.program import Program


def describe_chips(count: int, hardware: str, elapsed_s: float | None, temperature_k: float | None, reads: int) -> str:
    """Return which chips are meant: ``2 sampled chips of fefet``, ``1 sampled chip of worn, 9 s after the write``."""
    parts = [f"{count} sampled {'chip' if count == 1 else 'chips'} of {hardware}"]
    if elapsed_s is not None:
        parts.append(f"{elapsed_s:,.6g} s after the write")
    if temperature_k is not None:
        parts.append(f"at {temperature_k:g} K")
    if reads:
        parts.append(f"after {reads:,} reads")
    return ", ".join(parts)


@dataclass(frozen=True)
class SampledChips:
    """Which chips are sampled.

    Attributes:
        count: how many, 1 or more.
        hardware: their cells, wires and converters.
        conditions: when and how they are read.
        recalibrates: whether scale and bias of every channel are corrected on each of them, under these conditions.
    """

    count: int
    hardware: Accelerator
    conditions: Conditions
    recalibrates: bool = False

    @property
    def words(self) -> str:
        """Which chips, and when they are read."""
        words = describe_chips(self.count, self.hardware.name, **asdict(self.conditions))
        return f"{words}, with channels corrected" if self.recalibrates else words


def run_chips(
    program: Program,
    seeds: Iterable[int],
    inputs: Inputs,
    *,
    hardware: Accelerator | None = None,
    conditions: Conditions | None = None,
    preparation: ChipPreparation | None = None,
    batch_size: int | None = None,
    on_chip: Callable[[int], None] | None = None,
) -> Iterator[Outputs]:
    """Yield the outputs of the chip of each seed; chips that cannot differ are simulated once.

    Args:
        seeds: of the chips.
        program, inputs, hardware, conditions, preparation, batch_size: as for
            `mho.evaluation.chip.run_prepared_chip`, which tells the errors too.
        on_chip: is given each seed before its chip runs.
    """
    hardware = program.accelerator if hardware is None else hardware
    outputs: Outputs | None = None
    for seed in seeds:
        if on_chip is not None:
            on_chip(seed)
        if outputs is None or chips_differ(hardware.array, hardware.converters):
            outputs = run_prepared_chip(
                program,
                seed,
                inputs,
                hardware=hardware,
                conditions=conditions,
                preparation=preparation,
                batch_size=batch_size,
            )
        yield outputs


@dataclass(frozen=True, eq=False)
class ChipEvaluation:
    """Labelled samples, and the chips that classify them.

    Attributes:
        samples: with their labels.
        seed: of the first chip; others have the seeds after it.
        chips: of every accelerator, at least 1.
        elapsed_s: chips are evaluated again so long after the write; None: only at once.
        calibration: inputs on which calibrated ADCs find their ranges, whenever chips are evaluated; None: none.
        recalibrates: whether channels are corrected on them too, whenever chips are evaluated.

    Raises:
        ConfigError: there is no chip, the time is impossible, or there are no inputs to correct channels on.
    """

    samples: LabelledSamples
    seed: int = 0
    chips: int = 1
    elapsed_s: float | None = None
    calibration: Inputs | None = None
    recalibrates: bool = False

    def __post_init__(self) -> None:
        if self.chips < 1:
            raise ConfigError(f"chips is {self.chips}", expected="at least 1")
        if self.recalibrates and self.calibration is None:
            raise ConfigError("recalibration needs inputs", expected="calibration inputs beside the samples")
        Conditions(self.elapsed_s)

    @property
    def calibration_samples(self) -> int | None:
        """The number of samples for calibration; None without."""
        if self.calibration is None:
            return None
        return len(next(iter(self.calibration.values())) if isinstance(self.calibration, Mapping) else self.calibration)

    def measure_exactly(self, program: Program) -> float:
        """Return the accuracy of the integer reference. Raises `DataError`: samples do not suit the program."""
        from mho.simulation.executor import Executor

        return self.samples.accuracy(Executor(program).run(self.samples.inputs))

    def measure(self, program: Program, conditions: Conditions | None = None) -> tuple[int, ...]:
        """Return how many samples each chip classifies correctly, by seed.

        Args:
            program: that runs on chips of its own accelerator.
            conditions: when and how they are read; None: at once.

        Raises:
            MhoError: its arrays cannot run the program, or samples do not suit it.
        """
        preparation = None
        converters = program.accelerator.converters
        if self.calibration is not None:
            preparation = ChipPreparation(self.calibration, recalibrates=self.recalibrates)
        elif converters.has_calibrated_adc:
            raise ConfigError(
                f"converters.adc_range is {converters.adc_range.value!r}",
                where=program.accelerator.name,
                expected="calibration inputs, on which ADCs find their ranges",
            )
        seeds = range(self.seed, self.seed + self.chips)
        results = run_chips(
            program, seeds, self.samples.inputs, conditions=conditions or Conditions(), preparation=preparation
        )
        return tuple(self.samples.count_correct(outputs) for outputs in results)

    def measure_later(self, program: Program, fresh: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the same `elapsed_s` after the write; None without such a time.

        Args:
            program: as for `measure`.
            fresh: what that found; chips whose cells do not depend on the time give the same results.

        Raises:
            MhoError: the time is before that from which on drift is specified.
        """
        if self.elapsed_s is None:
            return None
        later = Conditions(self.elapsed_s)
        is_same = later.effective_on(program.accelerator.array) == Conditions()
        return fresh if is_same else self.measure(program, later)


def check_integers(network: Network, policy: Policy) -> None:
    """Check that a network is quantized at the widths of a policy; ADC bits aside. Raises `DataError`."""
    own = network_policy(network)
    if own is None:
        raise DataError(
            "accuracies need integers, and the network is not quantized",
            where=network.name,
            expected="a quantized network, such as a QCDQ ONNX file",
            hint="mho quantize makes one",
        )
    if own.with_adc_bits(policy.adc_bits) != policy:
        raise DataError(
            "accuracies are those of the network's own integers, and other widths are specified",
            where=network.name,
            expected="no other widths than the network's own",
        )
