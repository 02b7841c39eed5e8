"""How nets are trained and fine-tuned: settings, checked without loading TensorFlow."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic

from edgenets.settings import Settings


class Distillation(Settings):
    """How much a teacher, where there is one, counts.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    alpha: float = pydantic.Field(0.5, ge=0, le=1)  # 0: the labels alone, 1: the teacher alone
    temperature: pydantic.PositiveFloat = 4.0  # divides the logits of both nets


class FitSettings(Settings):
    """How a model is trained or fine-tuned."""

    epochs: pydantic.NonNegativeInt = 30
    batch_size: pydantic.PositiveInt = 64
    learning_rate: pydantic.PositiveFloat | None = None  # at its peak; by default as suits the net
    warmup_epochs: pydantic.NonNegativeFloat = 2
    weight_decay: pydantic.NonNegativeFloat = 0.01
    label_smoothing: float = pydantic.Field(0.1, ge=0, lt=1)
    augment: pydantic.NonNegativeFloat = 1.0
    distillation: Distillation = Distillation()  # where there is a teacher

    usual_learning_rate: ClassVar[float] = 4e-3


class TrainSettings(FitSettings):
    """How a new model is trained."""

    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    auxiliary_heads: bool = True  # train Inception v1 with them
    teacher: str | None = pydantic.Field(None, min_length=1)  # a model folder to learn from
    weights: str | None = pydantic.Field(None, min_length=1)  # to begin with; None: random ones
    input_range: tuple[float, float] | None = None  # of the pixels `weights` were made for
    labels: str | None = pydantic.Field(None, min_length=1)  # a file with the classes of `weights`

    @pydantic.field_validator("input_range")
    @classmethod
    def _check_range(cls, input_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if input_range and not input_range[0] < input_range[1]:
            raise ValueError("the first number must be the smaller one, such as in 0 to 1")
        return input_range

    @pydantic.model_validator(mode="after")
    def _check_weights(self) -> TrainSettings:
        if (self.labels or self.input_range) and not self.weights:
            raise ValueError("input_range and labels describe weights; add weights too")
        return self
