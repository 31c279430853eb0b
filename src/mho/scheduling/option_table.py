"""The options of layers on a chip at any widths, by shape, worked out once and kept.

Of the options that `list_chip_options` gives, those are promising that no other beats in crossbars, in crossbars times
work, in the time of a window, in its height and, where energy counts, in energy at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from mho.cost_model.energy import price_layer
from mho.hardware.spec import Accelerator
from mho.mapping.activity import count_activity, count_writing
from mho.mapping.layer_cache import LayerCache
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.exact_search import list_undominated
from mho.scheduling.options import list_chip_options
from mho.scheduling.work_graph import Integers, LayerWork


@dataclass(frozen=True, eq=False)
class LayerOptions:
    """The options of one layer at one pair of widths, ascending in crossbars; int64 [options] each.

    Attributes:
        layers: the options; the layer in them has no name.
        crossbars, windows, window_ps: of one copy.
        write_ps: time to write a stored operand, the same for all, ps.
        energy_aj: of one input with one copy, transfers and leakage aside, aJ; what is unspecified is not counted.
        copy_aj: of each further copy: a stored operand is written into all of them, aJ.
        promising: bool [options], see the module.
        crossbars_per_core: of the chip.
    """

    layers: tuple[ChipLayer, ...]
    crossbars: Integers
    windows: Integers
    window_ps: Integers
    write_ps: Integers
    energy_aj: Integers
    copy_aj: Integers
    promising: NDArray[np.bool_]
    crossbars_per_core: int

    @property
    def mappings(self) -> tuple[LayerMapping, ...]:
        """How the options lie in crossbars."""
        return tuple(layer.mapping for layer in self.layers if layer.mapping is not None)

    @cached_property
    def may_be_digital(self) -> bool:
        """True where the digital unit of a core may compute the layer."""
        return not self.crossbars[0]

    @cached_property
    def least_in_crossbars(self) -> int:
        """The fewest crossbars of an option in crossbars; 0 where there is none."""
        return next((int(taken) for taken in self.crossbars if taken), 0)

    @cached_property
    def works(self) -> tuple[LayerWork, ...]:
        """The options as layers that need nothing."""
        return tuple(layer.work("") for layer in self.layers)

    def divide(self, is_digital: bool) -> LayerOptions:
        """Return the options of the digital unit, or those in crossbars, alone."""
        kept = (self.crossbars == 0) == is_digital
        if kept.all():
            return self
        arrays = {
            one.name: getattr(self, one.name)[kept]
            for one in fields(self)
            if one.name not in ("layers", "crossbars_per_core")
        }
        return replace(self, layers=tuple(compress(self.layers, kept)), **arrays)

    @cached_property
    def work_ps(self) -> Integers:
        """Time of all windows on one copy, ps."""
        work: Integers = self.windows * self.window_ps
        return work

    @cached_property
    def volume_ps(self) -> int:
        """The least crossbars times time that an input takes: the layer's share of a chip that is always busy, ps.

        A digital unit counts as the crossbars of its core.
        """
        taken = np.where(self.crossbars == 0, self.crossbars_per_core, self.crossbars)
        return int((taken * (self.work_ps + self.write_ps)).min())

    def covers(self, other: LayerOptions, *, with_energy: bool) -> bool:
        """Tell whether some option here is at least as good as each option of another, in all that a plan sees.

        Args:
            other: of the same layer.
            with_energy: whether energy counts.
        """
        return bool(self._beats(other, with_energy=with_energy).any(axis=0).all())

    def _beats(self, other: LayerOptions, *, with_energy: bool) -> NDArray[np.bool_]:
        """Return bool [own options, other options]."""
        own, theirs = (np.array([layer.window for layer in options.layers]).T for options in (self, other))
        better: NDArray[np.bool_] = (own[:, :, None] == theirs[:, None]).all(axis=0)
        names = ("crossbars", "window_ps", "write_ps", *(("energy_aj", "copy_aj") if with_energy else ()))
        for name in names:
            better &= getattr(self, name)[:, None] <= getattr(other, name)
        return better


class OptionTable:
    """Options of all layers of a network.

    Args:
        layers: of the network, all on the chip.
        accelerator: what is allowed and what it costs.
        model: `PAPER` for im2col alone.
        with_energy: whether options are promising for their energy too.
    """

    def __init__(
        self, layers: Iterable[MvmLayer], accelerator: Accelerator, model: MappingModel, *, with_energy: bool
    ) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._accelerator, self._model, self._with_energy = accelerator, model, with_energy
        self._known = LayerCache(accelerator, self._derive)

    def options(self, name: str, bits: BitWidths) -> LayerOptions:
        """Return the options of a layer. Raises `MappingError` where it cannot be mapped."""
        return self._known.get(self._layers[name], bits)

    def options_of_alike(self, layer: MvmLayer, hardware: Accelerator, bits: BitWidths) -> LayerOptions:
        """Return the options of a layer without its name, on hardware with its rule. Raises `MappingError`."""
        return self._known.of_alike(layer, hardware, bits)

    def _derive(self, layer: MvmLayer, hardware: Accelerator, bits: BitWidths) -> LayerOptions:
        mappings = list_chip_options(layer, bits, hardware, self._model)
        options = [ChipLayer.of(mapping, self._accelerator) for mapping in mappings]
        energies = [self._price(option) for option in options]
        criteria = [
            (
                option.cost.crossbars,
                option.cost.crossbars * option.cost.work_ps,
                option.cost.window_ps,
                option.window[0],
                *(energy if self._with_energy else ()),
            )
            for option, energy in zip(options, energies, strict=True)
        ]
        costs = [option.cost for option in options]
        return LayerOptions(
            layers=tuple(options),
            crossbars=np.array([cost.crossbars for cost in costs], np.int64),
            windows=np.array([cost.windows for cost in costs], np.int64),
            window_ps=np.array([cost.window_ps for cost in costs], np.int64),
            write_ps=np.array([cost.write_ps for cost in costs], np.int64),
            energy_aj=np.array([energy for energy, _ in energies], np.int64),
            copy_aj=np.array([copy for _, copy in energies], np.int64),
            promising=np.array(list_undominated(criteria)),
            crossbars_per_core=self._accelerator.chip.crossbars_per_core,
        )

    def _price(self, option: ChipLayer) -> tuple[int, int]:
        """Return the energy of one input with one copy, and of each further copy, aJ."""
        mapping = option.mapping
        assert mapping is not None, "options are made from mappings"
        activity = count_activity(mapping, self._accelerator, weights_stay=True)
        copy = 0
        if mapping.layer.is_stored_dynamically:
            written = count_writing(mapping, self._accelerator)
            copy = price_layer(written, mapping, self._accelerator).total_aj
        return price_layer(activity, mapping, self._accelerator).total_aj, copy
