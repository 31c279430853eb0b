"""The base of all settings and documents: frozen values of known keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen table that refuses unknown keys and infinite numbers; the docstring of a key describes it in the schema.

    Classes whose schema needs no such descriptions, and whose import should be quick, pass
    ``use_attribute_docstrings=False``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __str__(self) -> str:
        return repr(self)
