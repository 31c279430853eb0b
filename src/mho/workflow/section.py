"""What tables of a run's configuration share: they are frozen, know all their keys, and take widths as text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from mho.errors import MhoError
from mho.policy import BitWidths


def _check_widths(text: str) -> str:
    try:
        widths = BitWidths.parse(text)
    except MhoError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
    if max(widths.weight_bits, widths.act_bits) > 8:
        raise ValueError(f"{text} is above 8 bits")
    return text


Widths = Annotated[str, AfterValidator(_check_widths)]
"""WEIGHT/ACTIVATION bits, such as "8/8", or WEIGHT/ACTIVATION/ADC bits."""
