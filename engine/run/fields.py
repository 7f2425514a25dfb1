"""What the blocks of settings are made of: the strict model, fields with their source, and names that several use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

NetworkName = Literal["convnet", "resnet18", "vgg11", "alexnet"]
LabelRegime = Literal["hard", "stored", "online"]
Precision = Literal["float32", "tf32", "bf16"]
AUTO = "auto"
"""The value of a setting that the number of images decides: `auto_settings.resolve_auto` makes a number of it."""
if TYPE_CHECKING:
    # What computes with it gets the number: config.yaml, and all that the stages see, hold no `auto`.
    WholeOrAuto = int
else:
    WholeOrAuto = Annotated[int, Field(ge=1)] | Literal["auto"]
AugmentationName = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]

# The fields of a block. `paper`, `official` (official code), `rldd` and `ours` say where a default comes from.


def _setting(default: Any, help: str, *, source: str, unit: str = "", **bounds: Any) -> Any:
    """A field with its help, unit and source; the form, docs/settings.md and error hints are made from these."""
    return Field(default, description=help, json_schema_extra={"unit": unit, "source": source}, **bounds)


paper = partial(_setting, source="paper")
official = partial(_setting, source="official code")
rldd = partial(_setting, source="RLDD")
ours = partial(_setting, source="ours")


class Strict(BaseModel, strict=True, frozen=True, extra="forbid", allow_inf_nan=False):
    """A frozen block of settings that refuses unknown keys, wrong types and numbers that are not finite."""

    @field_validator("*", mode="after")
    @classmethod
    def _within_limits(cls, value: Any) -> Any:
        # Beyond 2^53 a whole number is no exact float any more, and times and sizes are estimated with floats.
        if isinstance(value, int) and value > 2**53:
            raise PydanticCustomError("too_large", "too large")
        # Python reads bytes of a path that are not UTF-8 as surrogates, which cannot be written into a config.yaml.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise PydanticCustomError("no_text", "no text")
        return value
