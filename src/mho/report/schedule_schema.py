"""The JSON schema of the answers of `mho schedule`: `regime` says which of the two it is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from mho.report.reload_document import ReloadDocument
from mho.report.schedule_document import ScheduleDocument


def schedule_schema() -> dict[str, Any]:
    """Return the schema of a schedule with weights that stay, or with tiles that are rewritten."""
    either = Annotated[ScheduleDocument | ReloadDocument, Field(discriminator="regime")]
    return {"title": "Schedule", **TypeAdapter(either).json_schema()}
