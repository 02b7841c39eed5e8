"""The base of every settings class that a config file fills."""

from __future__ import annotations

from edgenets.errors import missing_extra

try:
    import pydantic
except ImportError as error:
    raise missing_extra("pydantic", "train") from error


class Settings(pydantic.BaseModel):
    """Settings that are checked when they are made and do not change; unknown keys are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
