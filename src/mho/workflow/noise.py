"""Noise-aware training in a run: which arrays, with what of them, under which mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.accelerator.loading import load_accelerator
from mho.accelerator.spec import Accelerator
from mho.errors import ConfigError
from mho.quantization.policy import UNIFORM_REFERENCE, Policy
from mho.workflow.config import NoiseSettings, QatSettings, TrainingSettings

if TYPE_CHECKING:
    from mho.quantization.array_noise import ArrayNoise
    from mho.quantization.noisy_ranges import RangeRenewal
    from mho.quantization.qat import TrainableNetwork
    from mho.workflow.material import Material

_SAME = ("crossbar.rows", "crossbar.cols", "crossbar.cell_bits", "converters.dac_bits")
"""What a mapping depends on."""


def noise_settings(training: TrainingSettings | None) -> NoiseSettings | None:
    """Return what arrays a training meets; None for none."""
    return training.noise if isinstance(training, QatSettings) else None


def noise_ingredients(training: TrainingSettings | None, material: Material) -> dict[str, Any]:
    """Return what a training on arrays depends on beyond its own settings."""
    settings = noise_settings(training)
    if settings is None:
        return {}
    hardware = noise_hardware(settings, material.accelerator)
    parts = {"hardware": hardware, "mapped onto": material.accelerator}
    return {"arrays": {name: one.to_json() for name, one in parts.items()} | {"mapping": str(material.mapping)}}


def noise_hardware(settings: NoiseSettings, accelerator: Accelerator) -> Accelerator:
    """Return the hardware that a training meets.

    Raises:
        ConfigError, InputFileError: another accelerator is asked for that cannot be read or does not fit the mapping.
    """
    from mho.quantization.array_noise import leave_out

    hardware = accelerator if settings.accelerator is None else load_accelerator(settings.accelerator)
    for key in _SAME:
        section, name = key.split(".")
        wanted, found = (getattr(getattr(one, section), name) for one in (accelerator, hardware))
        if wanted != found:
            raise ConfigError(f"{key} is {found}, but the run's is {wanted}", where="qat.noise.accelerator")
    return leave_out(
        hardware,
        converters=not settings.converters,
        read_noise=not settings.read_noise,
        stuck_cells=not settings.stuck_cells,
    )


def make_noise(network: TrainableNetwork, settings: NoiseSettings, material: Material) -> ArrayNoise:
    """Return the arrays that `network` meets with its policy. Raises `MhoError`."""
    from mho.mapping.layer_arrays import arrays_of_network
    from mho.quantization.array_noise import ArrayNoise

    assert network.policy is not None
    arrays = arrays_of_network(network.network, network.policy, material.accelerator, material.mapping)
    hardware = noise_hardware(settings, material.accelerator)
    return ArrayNoise(hardware, arrays, conditions=_conditions(settings), renewal=_renewal(settings))


def check_noise(network_file: Path, training: TrainingSettings, material: Material) -> None:
    """Hold the settings against network and hardware before hours of training. Raises `MhoError`."""
    settings = noise_settings(training)
    if settings is None:
        return
    from mho.mapping.layer_arrays import arrays_of_network
    from mho.network.onnx_reader import read_onnx
    from mho.quantization.array_noise import ArrayNoise

    network = read_onnx(network_file)
    policy = Policy.uniform(network.layer_names, UNIFORM_REFERENCE)
    arrays = arrays_of_network(network, policy, material.accelerator, material.mapping)
    ArrayNoise(noise_hardware(settings, material.accelerator), arrays, conditions=_conditions(settings))


def _renewal(settings: NoiseSettings) -> RangeRenewal:
    from mho.array.calibration import RangeMethod, RangeRule
    from mho.quantization.noisy_ranges import RangeRenewal

    return RangeRenewal(RangeRule(RangeMethod(settings.range_method), settings.range_share), settings.range_steps)


def _conditions(settings: NoiseSettings) -> Any:
    from mho.array.conductances import Conditions

    return Conditions(elapsed_s=settings.elapsed_s)
