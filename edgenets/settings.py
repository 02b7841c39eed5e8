"""The base of every settings class that a config file fills."""

from __future__ import annotations

from typing import Any

from edgenets.packages import missing_package

try:
    import pydantic
except ImportError as error:
    raise missing_package("pydantic") from error


MOST = 2**31


class Settings(pydantic.BaseModel):
    """Settings that are checked when they are made and do not change; unknown keys are errors."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.field_validator("*")
    @classmethod
    def _hold_in_31_bits(cls, value: Any) -> Any:
        """Refuse a whole number that TensorFlow and NumPy cannot take."""
        if isinstance(value, int) and not -MOST < value < MOST:
            raise ValueError(f"input should be less than {MOST}")
        return value
