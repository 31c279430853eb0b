"""What arrays that are not ideal do to layers while these are trained: a fresh chip for every step.

Layers take it straight through: what arrays add is a constant of the step, and gradients flow as if it were not there,
except that errors count in steps of the weights' grid and so grow with them. Everything comes from `mho.array`, so that
training sees what `mho.simulation.analog` draws:

- By statistics (`mho.quantization.statistical_noise`): weights are drawn with the moments of their cells, and what
  converters and wires do is measured now and then.
- By tiles, where ADCs and wires are ideal and each weight lies in one place (`mho.quantization.weight_noise`): cells
  are written as the simulation writes them, put together to the integers that they stand for, and multiplied as plain
  training does; read noise is drawn for whole sums from its closed form.
- By tiles otherwise (`mho.quantization.tile_noise`): the layer runs on its tiles as in the simulation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from torch import nn

from mho.array.conductances import Conditions, Device, check_conditions
from mho.array.converters import drive_levels, make_adc
from mho.array.crossbar import full_scale
from mho.array.layout import list_conversions
from mho.array.nonidealities import cells_deviate
from mho.errors import ConfigError, PolicyError, UnsupportedOperationError
from mho.hardware.array import Placement
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import LayerArrays
from mho.quantization.converter_errors import ConverterMeter
from mho.quantization.layer_noise import LayerNoise
from mho.quantization.modules import MvmModule
from mho.quantization.range_renewal import RangeRenewal
from mho.quantization.recalibrated_noise import RecalibratedNoise
from mho.quantization.statistical_noise import StatisticalNoise
from mho.quantization.tile_noise import TileNoise
from mho.quantization.weight_noise import WeightNoise

_NUMBERS_PER_LAYER = 1 << 24
"""Numbers of tiles, and of what is written for each sample, that a layer has to itself: no two share a stream."""


class NoiseMethod(StrEnum):
    """How what arrays do to a layer is found.

    Attributes:
        STATISTICAL: from moments of cells and measured errors of converters (`mho.quantization.statistical_noise`).
        TILES: as the simulation does: all cells are written in every step, and converters convert.
    """

    STATISTICAL = "statistical"
    TILES = "tiles"


class ArrayNoise:
    """Draws chips, and lets the layers of a network train on them.

    Attributes:
        hardware: cells, wires and converters.
        layers: what it does, by name of the layer; layers on which it does nothing are left out.
    """

    def __init__(
        self,
        hardware: Accelerator,
        arrays: Mapping[str, LayerArrays],
        *,
        conditions: Conditions | None = None,
        one_crossbar: bool | None = None,
        renewal: RangeRenewal | None = None,
        method: NoiseMethod | str = NoiseMethod.STATISTICAL,
        recalibrates: bool = False,
        trains: bool = True,
    ) -> None:
        """Prepare.

        Args:
            hardware: with the crossbars, cells and DACs of the mapping; its ADCs may have fewer codes.
            arrays: where weights lie, by layer (`mho.mapping.layer_arrays`).
            conditions: when and how cells are read; None: at once.
            one_crossbar: all tiles are written into the same one, one after the other, and so have the same faults and
                variation; else each has its own. None: the same where the hardware has only one.
            renewal: how and when ranges of calibrated ADCs are found, and errors of converters are measured; None: as
                `RangeRenewal` says by itself.
            method: how what arrays do is found.
            recalibrates: whether channels are corrected on each chip (`mho.quantization.recalibrated_noise`).
            trains: whether gradients are wanted; else what ADCs clip is not counted, which takes time.

        Raises:
            ConfigError: the conditions do not fit the hardware, or an unknown method.
            UnsupportedOperationError: stuck cells are got around.
        """
        _check_placement(hardware)
        self.hardware, self.method, self._recalibrates = hardware, _read_method(method), recalibrates
        self._trains = trains
        self._renewal = RangeRenewal() if renewal is None else renewal
        self._conditions = Conditions() if conditions is None else conditions
        check_conditions(Device.of(hardware), self._conditions)
        self._arrays = dict(arrays)
        self.layers: dict[str, LayerNoise] = {}
        deviates = cells_deviate(hardware, self._conditions)
        self._shares = hardware.chip.crossbars == 1 if one_crossbar is None else one_crossbar
        for number, (name, one) in enumerate(arrays.items()):
            first = number * _NUMBERS_PER_LAYER
            if not deviates and _converts_exactly(hardware, one):
                continue
            layer = self._make_layer(one, first)
            self.layers[name] = RecalibratedNoise(layer) if recalibrates else layer

    def _make_layer(self, arrays: LayerArrays, first: int) -> LayerNoise:
        """Return the noise of a layer whose tiles have numbers from `first` on."""
        hardware, conditions, is_linear = self.hardware, self._conditions, _is_linear(self.hardware)
        if self.method is NoiseMethod.TILES and is_linear and all(part.is_plain for part in arrays.parts):
            return WeightNoise(hardware, arrays, first, conditions, one_crossbar=self._shares)
        if hardware.converters.has_calibrated_adc:
            hardware = hardware.with_adc_bits(arrays.adc_bits)
        place: Any = (hardware, arrays, first, conditions)
        if self.method is NoiseMethod.TILES:
            return TileNoise(*place, one_crossbar=self._shares, renewal=self._renewal)
        meter = None
        if not is_linear:
            meter = ConverterMeter(
                *place, one_crossbar=self._shares, renewal=self._renewal, counts_clipping=self._trains
            )
        return StatisticalNoise(*place, renewal=self._renewal, meter=meter)

    def begin_epoch(self) -> None:
        """Find ranges of calibrated ADCs again, so that an epoch depends on no earlier one."""
        for layer in self.layers.values():
            layer.clear_ranges()

    def redraw(self, generator: torch.Generator) -> None:
        """Take a fresh chip. Where arrays do nothing, nothing is drawn."""
        if not self.layers:
            return
        chip = int(torch.randint(1 << 62, (), generator=generator))
        for layer in self.layers.values():
            layer.set_chip(chip)

    def meet(self, trainable: nn.Module, *inputs: torch.Tensor) -> None:
        """See a batch that is about to run on the chip: where channels are corrected, it runs exactly first."""
        layers = [layer for layer in self.layers.values() if isinstance(layer, RecalibratedNoise)]
        if not layers:
            return
        for layer in layers:
            layer.is_exact = True
        try:
            with torch.no_grad():
                trainable(*inputs)
        finally:
            for layer in layers:
                layer.is_exact = False

    @contextmanager
    def on(self, trainable: nn.Module) -> Iterator[None]:
        """Let a network compute on the arrays within the block, wherever it is in training mode.

        Raises:
            PolicyError: the network does not have the layers, widths or zero points that were mapped.
            UnsupportedOperationError: it is no `TrainableNetwork`.
        """
        modules: dict[str, MvmModule] | None = getattr(trainable, "mvm_modules", None)
        if modules is None:
            raise UnsupportedOperationError(
                f"{type(trainable).__name__} cannot be trained on arrays",
                expected="a TrainableNetwork",
                hint="train without compiling",
            )
        for name, one in self._arrays.items():
            _check_layer(name, modules.get(name), one)
        for name, layer in self.layers.items():
            modules[name].arrays = layer
        try:
            yield
        finally:
            for name in self.layers:
                modules[name].arrays = None

    def describe(self) -> dict[str, Any]:
        """Return plain values: what two trainings must have in common to be the same."""
        conditions, rule = self._conditions, self._renewal.rule
        ranges = {"ranges": [str(rule.method), rule.share, self._renewal.steps]}
        return {
            **(ranges if self.hardware.converters.has_calibrated_adc else {}),
            **({"recalibrates": True} if self._recalibrates else {}),
            "array": self.hardware.array.model_dump(mode="json"),
            "converters": self.hardware.converters.model_dump(mode="json"),
            "crossbar": self.hardware.crossbar.model_dump(mode="json"),
            "one_crossbar": self._shares,
            "method": str(self.method),
            "conditions": [conditions.elapsed_s, conditions.temperature_k, conditions.reads],
            "layers": {name: type(layer).__name__ for name, layer in self.layers.items()},
        }


def _read_method(method: NoiseMethod | str) -> NoiseMethod:
    if method not in list(NoiseMethod):
        raise ConfigError(f"method is {method!r}", where="noise of arrays", expected=", ".join(NoiseMethod))
    return NoiseMethod(method)


def _is_linear(hardware: Accelerator) -> bool:
    """Tell whether sums are linear in cells and codes, and not rounded."""
    converters = hardware.converters
    return converters.has_ideal_adc and converters.has_linear_dac and not hardware.array.has_wires


def _converts_exactly(hardware: Accelerator, arrays: LayerArrays) -> bool:
    """Tell whether ADCs read all whole sums of a layer as they are."""
    converters = hardware.converters
    if isinstance(converters.adc_bits, str):
        return True
    if converters.has_adc_errors or converters.has_calibrated_adc:
        return False
    levels = drive_levels(converters.dac_bits, 0)
    for part in arrays.parts:
        for tile in part.make_tiles():
            for rows in tile.reads:
                layout = tile.layout.drive_rows(rows.start, rows.stop)
                conversions = list_conversions(layout, converters.column_difference)
                limits = full_scale(Device.of(hardware), layout, conversions, levels, 0.0)
                if not (make_adc(converters.adc_bits, *limits).step == 1).all():
                    return False
    return True


def _check_placement(hardware: Accelerator) -> None:
    array = hardware.array
    if array.gets_around_stuck_cells:
        raise UnsupportedOperationError(
            f"array.placement is {array.placement.value!r}, and array.fault_compensation "
            f"{array.fault_compensation.value!r}: training leaves weights on stuck cells, as layers are mapped",
            where=hardware.name,
            hint=f"use {Placement.AS_MAPPED.value!r} without compensation, or train without stuck cells",
        )


def _check_layer(name: str, module: MvmModule | None, arrays: LayerArrays) -> None:
    if module is None or not module.quantized:
        raise PolicyError("the layer was mapped, but is in float or unknown", where=name)
    if int(module.input_quantizer.bits) != arrays.input_bits:
        raise PolicyError(
            f"activations have {int(module.input_quantizer.bits)} bits, but {arrays.input_bits} were mapped", where=name
        )
    zeros, mapped = module.weight_quantizer.zero_point.cpu().numpy(), arrays.zeros.reshape(-1)
    if (zeros != mapped).any():
        raise PolicyError(
            f"zero points of stored integers are {zeros.tolist()}, but {mapped.tolist()} were mapped",
            where=name,
            hint="map the network that is trained, with the grids that it has",
        )
