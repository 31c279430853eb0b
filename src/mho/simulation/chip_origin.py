"""On which chip ranges of ADCs or corrections of channels were found, how it was read, and where they are valid."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StrictInt

from mho.array.conductances import Conditions
from mho.array.nonidealities import chips_differ, collapse_levels, takes_effect
from mho.array.seeds import CrossbarSeed
from mho.errors import ConfigError, InputFileError
from mho.hardware.array import Array
from mho.hardware.converters import Converters
from mho.hardware.section import Section
from mho.hardware.spec import Accelerator
from mho.input_files import parse_json
from mho.program.container import program_digest
from mho.program.program import Program
from mho.settings import parse_settings

ORIGIN = "origin"
"""Name of the origin in a file of arrays."""

_MAX_SEED = 10**1000
_SHOWN = 24
"""Digits that are shown of long numbers and digests."""
_ELSEWHERE = "say that they come from elsewhere (transferred=True, --transferred)"


class ChipOrigin(Section):
    """A program on a chip: what its outputs follow from, beside its inputs.

    Raises:
        pydantic.ValidationError: an impossible value.
    """

    program: str = Field(pattern="^[0-9a-f]{64}$", description="Digest of the program, SHA-256, hexadecimal.")
    seed: StrictInt = Field(ge=0, description="Of the chip.")
    array: Array = Field(description="Its cells and wires.")
    converters: Converters = Field(description="Its DACs and ADCs.")
    elapsed_s: float | None = Field(gt=0, allow_inf_nan=False, description="Since cells were written, s.")
    temperature_k: float | None = Field(gt=0, allow_inf_nan=False, description="Of the chip, K.")
    reads: StrictInt = Field(ge=0, description="Since cells were written.")
    ranges: str | None = Field(
        pattern="^[0-9a-f]{64}$", description="Digest of the ranges of its ADCs; null where they had none before."
    )

    @classmethod
    def of(
        cls,
        program: Program,
        seed: int,
        hardware: Accelerator,
        conditions: Conditions | None,
        ranges: str | None = None,
    ) -> ChipOrigin:
        """Return the origin of what is found on a chip.

        Args:
            program: that runs.
            seed: of the chip.
            hardware: of the chip.
            conditions: when and how cells are read; None: at once. What its cells do not depend on is left out.
            ranges: digest of the ranges that its ADCs have already; None for none.

        Raises:
            ConfigError: the seed is negative, or has more than 1000 digits.
        """
        CrossbarSeed(seed)
        if seed >= _MAX_SEED:
            raise ConfigError("the seed has more than 1000 digits", expected="a whole number from 0")
        effective = (conditions or Conditions()).effective_on(hardware.array)
        return cls(
            program=program_digest(program),
            seed=int(seed),
            array=hardware.array,
            converters=hardware.converters,
            elapsed_s=effective.elapsed_s,
            temperature_k=effective.temperature_k,
            reads=effective.reads,
            ranges=ranges,
        )

    def differences(self, other: ChipOrigin) -> dict[str, tuple[str, str]]:
        """Return what differs, by dotted key: what it is here and there, in words.

        Left out are the program, times, and what changes no output on either chip.

        Args:
            other: where what was found here is to be used.
        """
        one, two = dict(self._values()), dict(other._values())
        keys = [key for key in one if one[key] != two[key] and key != "program"]
        return {
            key: (_describe(one[key]), _describe(two[key]))
            for key in keys
            if self._takes_effect(key) or other._takes_effect(key)
        }

    def check(
        self, other: ChipOrigin, what: str, *, where: str, always: Collection[str] = (), transferred: bool = False
    ) -> None:
        """Refuse what was found for another program or, unless it is `transferred`, on another chip.

        Args:
            other: where what was found here is to be used.
            what: was found, for messages, in the plural.
            where: it is to be used, for messages.
            always: keys that may not differ even so, or how such keys begin.
            transferred: whether the user says that it comes from elsewhere.

        Raises:
            ConfigError: names what differs, and how.
        """
        if self.program != other.program:
            raise ConfigError(f"the {what} were found for another program", where=where, hint="find them again")
        for key, (found, wanted) in self.differences(other).items():
            is_fixed = key.startswith(tuple(always))
            if is_fixed or not transferred:
                raise ConfigError(
                    f"the {what} were found with {key} = {found}, and it is {wanted}",
                    where=where,
                    hint="find them again" + ("" if is_fixed else f", or {_ELSEWHERE}"),
                )

    def to_array(self) -> NDArray[np.str_]:
        """Return a text for a file of arrays, the same for equal origins."""
        return np.array(json.dumps(self.model_dump(mode="json"), sort_keys=True))

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], *, where: str, expected: str) -> ChipOrigin:
        """Return the origin in a file of arrays.

        Raises:
            InputFileError: there is none, or an impossible one.
        """
        if ORIGIN not in arrays:
            raise InputFileError(f"holds no {ORIGIN!r}", where=where, expected=expected)
        text, place = arrays[ORIGIN], f"{where}: {ORIGIN}"
        try:
            if text.dtype.kind != "U" or text.ndim:
                raise ValueError("no text")
            return parse_settings(cls, parse_json(text.item(), where=place), where=place)
        except ValueError as error:
            raise InputFileError(f"damaged: {error}", where=place, expected=expected) from error
        except ConfigError as error:
            raise InputFileError(error.what, where=error.where, expected=error.expected) from error

    def _takes_effect(self, key: str) -> bool:
        """Return whether a key may change outputs; conditions are recorded only as far as they do."""
        if key == "seed":
            return chips_differ(self.array, self.converters)
        return takes_effect(
            key, self.array, self.converters, Conditions(self.elapsed_s, self.temperature_k, self.reads)
        )

    def _values(self) -> Iterator[tuple[str, Any]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Section):
                yield from ((f"{name}.{key}", collapse_levels(getattr(value, key))) for key in type(value).model_fields)
            else:
                yield name, value
        # Two columns share an ADC at least where their difference is converted.
        yield "converters.columns_per_adc", self.converters.columns_sharing_adc


def _describe(value: Any) -> str:
    """Return a value in words; times and temperatures that are unspecified are those of the hardware."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "unspecified" if value is None else str(value)[:_SHOWN]
