"""What a block of settings is made of: fields that tell what they are, and refuse what they cannot be."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from engine.run.field_types import LARGEST


def setting(default: Any, help: str, *, unit: str = "", source: str = "ours", **bounds: Any) -> Any:
    """A field with its help, unit and source, so that the form, the docs and `--help` say the same."""
    return Field(default, description=help, json_schema_extra={"unit": unit, "source": source}, **bounds)


class Strict(BaseModel):
    """A block of settings: unknown keys, wrong types and non-finite numbers are refused; values never change."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_worked_with(cls, value: Any) -> Any:
        # Larger ones are no floating-point numbers any more, and times and sizes are estimated in those.
        if isinstance(value, int) and value > LARGEST:
            raise PydanticCustomError("too_large", "too large")
        # A path of other bytes comes from the system as surrogates, which no file of settings can hold.
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise PydanticCustomError("no_text", "no text")
        return value
