"""Noise-aware training in a run: which arrays, which of their non-idealities, under which mapping."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.array import nonidealities
from mho.array.conductances import Conditions
from mho.errors import ConfigError
from mho.evaluation.chips import SampledChips
from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import UNIFORM_REFERENCE, Policy
from mho.workflow.training_settings import NoiseSettings, QatSettings, TrainingSettings

if TYPE_CHECKING:
    from mho.quantization.array_noise import ArrayNoise
    from mho.quantization.qat import TrainableNetwork
    from mho.quantization.range_renewal import RangeRenewal

_SAME = ("crossbar.rows", "crossbar.cols", "crossbar.cell_bits", "converters.dac_bits")
"""What a mapping depends on."""


@dataclass(frozen=True)
class TrainingNoise:
    """What a training includes of non-ideal arrays.

    Attributes:
        settings: how.
        hardware: cells, wires and converters, without what is left out.
        conditions: when and how cells are read.
        recalibrates: whether channels are corrected on each chip.
    """

    settings: NoiseSettings
    hardware: Accelerator
    conditions: Conditions
    recalibrates: bool


def find_noise(
    training: TrainingSettings | None, accelerator: Accelerator, chips: SampledChips | None
) -> TrainingNoise | None:
    """Return what a training includes of non-ideal arrays; None for nothing.

    Args:
        training: its settings.
        accelerator: the run's.
        chips: of the run; where training says nothing else, it is for these.

    Raises:
        ConfigError, InputFileError: another accelerator is named that cannot be read or does not fit the mapping.
    """
    if not isinstance(training, QatSettings) or training.noise == "none":
        return None
    if isinstance(training.noise, NoiseSettings):
        settings = training.noise
        hardware, conditions = noise_hardware(settings, accelerator), noise_conditions(settings)
        return TrainingNoise(settings, hardware, conditions, settings.recalibration == "channels")
    if chips is None:
        return None
    settings = NoiseSettings()
    hardware = _leave_out(settings, chips.hardware)
    found = TrainingNoise(settings, hardware, chips.conditions, chips.recalibrates)
    return None if nonidealities.is_ideal(found.hardware, found.conditions) else found


def noise_ingredients(
    training: TrainingSettings | None, accelerator: Accelerator, mapping: MappingModel, chips: SampledChips | None
) -> dict[str, Any]:
    """Return what a training on arrays depends on beyond its own settings; arguments as for `find_noise`."""
    noise = find_noise(training, accelerator, chips)
    if noise is None:
        return {}
    parts = {"hardware": noise.hardware, "mapped onto": accelerator}
    content = {name: one.to_json() for name, one in parts.items()}
    read = {"conditions": asdict(noise.conditions), **({"recalibrates": True} if noise.recalibrates else {})}
    return {"arrays": content | {"mapping": str(mapping), **read}}


def load_alike(name: str | None, accelerator: Accelerator, *, where: str) -> Accelerator:
    """Return another accelerator that can run what a run's layers are mapped into on its own.

    Args:
        name: a preset or a TOML file; None: the run's own is meant.
        accelerator: the run's.
        where: the key that names it.

    Raises:
        ConfigError, InputFileError: it cannot be read, or does not fit the mapping.

    Returns:
        With its file in the name, where that is the run's own and cells or converters are not.
    """
    if name is None:
        return accelerator
    hardware = load_accelerator(name)
    for key in _SAME:
        section, value = key.split(".")
        wanted, found = (getattr(getattr(one, section), value) for one in (accelerator, hardware))
        if wanted != found:
            raise ConfigError(f"{key} is {found}, but the run's is {wanted}", where=where)
    wanted, found = (one.crossbar.rows_at_once for one in (accelerator, hardware))
    if found < wanted:
        raise ConfigError(f"{found} rows may be driven at once, but the run's are {wanted}", where=where)
    is_other = (hardware.array, hardware.converters) != (accelerator.array, accelerator.converters)
    if is_other and hardware.name == accelerator.name:
        return hardware.model_copy(update={"name": f"{hardware.name} ({Path(name).name})"})
    return hardware


def noise_hardware(settings: NoiseSettings, accelerator: Accelerator) -> Accelerator:
    """Return the hardware that a training includes.

    Raises:
        ConfigError, InputFileError: another accelerator is named that cannot be read or does not fit the mapping.
    """
    return _leave_out(settings, load_alike(settings.accelerator, accelerator, where="qat.noise.accelerator"))


def _leave_out(settings: NoiseSettings, hardware: Accelerator) -> Accelerator:
    """Return hardware without what a training does not include."""
    left_out = (
        *(() if settings.converters else (*nonidealities.ADC, *nonidealities.DAC)),
        *(() if settings.read_noise else nonidealities.READ_NOISE),
        *(() if settings.stuck_cells else nonidealities.STUCK_CELLS),
    )
    return nonidealities.idealize(hardware, left_out)


def make_noise(
    network: TrainableNetwork, noise: TrainingNoise, accelerator: Accelerator, mapping: MappingModel
) -> ArrayNoise:
    """Return the arrays that `network` is trained on with its policy. Raises `MhoError`."""
    from mho.evaluation.machine_arrays import MachineArrays
    from mho.quantization.array_noise import ArrayNoise

    assert network.policy is not None
    arrays = MachineArrays(accelerator, mapping).find(network.network, network.policy)
    settings = noise.settings
    return ArrayNoise(
        noise.hardware,
        arrays,
        conditions=noise.conditions,
        one_crossbar=settings.one_crossbar,
        renewal=_renewal(settings),
        method=settings.method,
        recalibrates=noise.recalibrates,
    )


def check_noise(
    network_file: Path, training: TrainingSettings, accelerator: Accelerator, mapping: MappingModel
) -> None:
    """Check that a table of settings fits network and hardware, before hours of training.

    Raises:
        MhoError: hardware, network and settings do not fit, or the hardware is as good as an ideal one.
    """
    settings = training.specified_noise if isinstance(training, QatSettings) else None
    if settings is None:
        return
    from mho.evaluation.machine_arrays import MachineArrays
    from mho.network.onnx_reader import read_onnx
    from mho.quantization.array_noise import ArrayNoise

    hardware, conditions = noise_hardware(settings, accelerator), noise_conditions(settings)
    nonidealities.check_conditions_take_effect(conditions, hardware, where="qat.noise")
    if nonidealities.is_ideal(hardware, conditions):
        raise ConfigError(
            f"nothing that training would include on {hardware.name} is other than ideal",
            where="qat.noise",
            expected="an accelerator with errors of cells, wires or converters; or no such table",
        )
    network = read_onnx(network_file)
    policy = Policy.uniform(network.layer_names, UNIFORM_REFERENCE)
    arrays = MachineArrays(accelerator, mapping).find(network, policy)
    ArrayNoise(hardware, arrays, conditions=conditions)


def _renewal(settings: NoiseSettings) -> RangeRenewal:
    from mho.array.calibration import RangeMethod, RangeRule
    from mho.quantization.range_renewal import RangeRenewal

    return RangeRenewal(RangeRule(RangeMethod(settings.range_method), settings.range_share), settings.range_steps)


def noise_conditions(settings: NoiseSettings) -> Conditions:
    """Return when and how cells are read in training."""
    return Conditions(settings.elapsed_s, settings.temperature_k, settings.reads)
