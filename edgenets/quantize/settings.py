"""What can be set of each compression stage, checked without loading TensorFlow."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from edgenets.data.splits import CALIBRATION_IMAGES
from edgenets.models.sparsity import SPARSE_FROM
from edgenets.settings import Settings
from edgenets.training.settings import TRANSFER_DISTILLATION, Distillation, FitSettings
from edgenets.units import parse_bytes


class SlimSettings(FitSettings):
    """How fast a net is to become by fewer channels, and on which board."""

    stage: Literal["slim"] = "slim"
    target: Literal["rpi3", "rpi4", "rpi5"] = "rpi4"
    # By estimate: how many times fewer instructions an inference executes there, or how many.
    speedup: float | None = pydantic.Field(None, gt=1)  # 2 if neither is given
    max_instructions: pydantic.PositiveInt | None = None
    calibration_images: pydantic.PositiveInt = CALIBRATION_IMAGES  # that tell what channels carry
    epochs: pydantic.PositiveInt | None = None
    warmup_epochs: pydantic.NonNegativeFloat = 0.5

    usual_epochs: ClassVar[int] = 20
    usual_learning_rate: ClassVar[float] = 2e-3
    usual_speedup: ClassVar[float] = 2.0

    @pydantic.model_validator(mode="after")
    def _check_goal(self) -> SlimSettings:
        if self.speedup is not None and self.max_instructions is not None:
            raise ValueError("pass one of speedup and max_instructions")
        return self

    def most_instructions(self, now: int) -> float:
        """Return how many instructions are allowed to a net that executes `now`."""
        return self.max_instructions or now / (self.speedup or self.usual_speedup)


class PruneOverride(Settings):
    """What is other for some layers."""

    sparsity: float = pydantic.Field(ge=0, lt=1)  # 0 keeps them dense


class PruneSettings(FitSettings):
    """How far and how fast convolutions and dense layers are pruned."""

    stage: Literal["prune"] = "prune"
    sparsity: float = pydantic.Field(0.65, gt=0, lt=1)
    # Which layers: those of which little is lost, or those that XNNPACK computes sparsely.
    policy: Literal["accuracy", "xnnpack"] = "accuracy"
    # What is other for some layers, by a pattern of their names; of several, the last counts.
    layers: dict[str, PruneOverride] = pydantic.Field(default_factory=dict)
    dense_below: pydantic.NonNegativeInt = 1000  # kernels with fewer weights stay dense
    schedule: Literal["polynomial", "constant"] = "polynomial"
    ramp: float = pydantic.Field(0.6, gt=0, le=1)  # share of the epochs until it is reached
    epochs: pydantic.PositiveInt | None = None
    warmup_epochs: pydantic.NonNegativeFloat = 0.5

    usual_epochs: ClassVar[int] = 10
    usual_learning_rate: ClassVar[float] = 2e-3

    @pydantic.model_validator(mode="after")
    def _check_policy(self) -> PruneSettings:
        if self.policy == "xnnpack" and self.sparsity < SPARSE_FROM:
            raise ValueError(
                f"with the policy xnnpack the sparsity must be at least {SPARSE_FROM:.4f}, from "
                "which on XNNPACK computes kernels sparsely"
            )
        return self


class ShareOverride(Settings):
    """What is other for some layers."""

    clusters: int = pydantic.Field(ge=2, le=255)


class ShareSettings(FitSettings):
    """How many codes each kernel may use."""

    stage: Literal["share"] = "share"
    clusters: int = pydantic.Field(32, ge=2, le=255)  # zero included
    # What is other for some layers, by a pattern of their names; of several, the last counts.
    layers: dict[str, ShareOverride] = pydantic.Field(default_factory=dict)
    epochs: pydantic.PositiveInt | None = None
    warmup_epochs: pydantic.NonNegativeFloat = 0
    # Decay would pull kernels away from their codes without being seen by the loss.
    weight_decay: pydantic.NonNegativeFloat = 0

    usual_epochs: ClassVar[int] = 4
    usual_learning_rate: ClassVar[float] = 1e-3


class QatSettings(FitSettings):
    """How long and how fast the rounded model is trained."""

    stage: Literal["qat"] = "qat"
    epochs: pydantic.PositiveInt | None = None
    warmup_epochs: pydantic.NonNegativeFloat = 0

    usual_epochs: ClassVar[int] = 4
    usual_learning_rate: ClassVar[float] = 2e-4


class Int8Settings(Settings):
    """On what the activations' ranges are measured, and which layers are not quantized."""

    stage: Literal["int8"] = "int8"
    calibration_images: pydantic.PositiveInt = CALIBRATION_IMAGES
    keep_float: tuple[str, ...] = ()  # patterns of layers that the file computes in float32


def _to_bytes(value: Any) -> Any:
    return parse_bytes(value) if isinstance(value, str) else value


GOALS = ("price", "budget_bytes", "max_kl", "budget_cycles", "budget_flash")  # of `rate`


class RateSettings(FitSettings):
    """How far a net is made small, on which images, and how it is trained if it is."""

    stage: Literal["rate"] = "rate"
    epochs: pydantic.NonNegativeInt | None = 0  # 0: no training; null: as suits the images
    warmup_epochs: pydantic.NonNegativeFloat = 0
    # Decay would draw codes to zero whatever their price.
    weight_decay: pydantic.NonNegativeFloat = 0
    calibration_images: pydantic.PositiveInt = CALIBRATION_IMAGES
    price: pydantic.PositiveFloat | None = None  # nats of KL divergence that a bit may cost
    budget_bytes: Annotated[pydantic.PositiveInt | None, pydantic.BeforeValidator(_to_bytes)] = None
    """Of the package: a number, or a size such as 300KB."""
    max_kl: pydantic.PositiveFloat | None = None  # nats, mean over images
    target: Literal["ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"] | None = (
        None
    )
    """An NPU: bits are priced as its compiler codes them, and only those that it waits for."""
    # By its compiler's estimate; of flash, all bits have the price.
    budget_cycles: pydantic.PositiveInt | None = None
    budget_flash: Annotated[pydantic.PositiveInt | None, pydantic.BeforeValidator(_to_bytes)] = None

    usual_epochs: ClassVar[int] = 20

    def distillation_for(self, transferred: bool) -> Distillation:
        """Return nearly all, as the teacher answers: a price is one of divergence from it."""
        return self.distillation or TRANSFER_DISTILLATION

    @property
    def goals(self) -> dict[str, float]:
        """Which of price, budgets and bound are given."""
        return {key: goal for key in GOALS if (goal := getattr(self, key)) is not None}

    @pydantic.model_validator(mode="after")
    def _check_goal(self) -> RateSettings:
        if len(self.goals) > 1:
            raise ValueError(f"pass one of {', '.join(GOALS[:-1])} and {GOALS[-1]}")
        if self.target is None and (self.budget_cycles or self.budget_flash):
            raise ValueError("budget_cycles and budget_flash are of an NPU; pass its target, too")
        if self.target is not None and self.epochs != 0:
            raise ValueError("codes are trained for packages only; pass epochs: 0 or no target")
        return self


class NearSettings(FitSettings):
    """How a net is fine-tuned from a base's codes, of which few may change."""

    stage: Literal["near"] = "near"
    base: str = pydantic.Field(min_length=1)  # a model folder with the integers of its int8 file
    epochs: pydantic.NonNegativeInt | None = None  # 0: the base's codes; null: as suits the images
    warmup_epochs: pydantic.NonNegativeFloat = 0
    weight_decay: pydantic.NonNegativeFloat = 0
    price: pydantic.NonNegativeFloat = 1e-6  # nats of loss that a bit of the update may cost
    update_bytes: Annotated[pydantic.PositiveInt | None, pydantic.BeforeValidator(_to_bytes)] = None
    """At most so many, of the package of changes: a number, or a size such as 10KB."""

    usual_epochs: ClassVar[int] = 5
    usual_learning_rate: ClassVar[float] = 4e-3

    def distillation_for(self, transferred: bool) -> Distillation:
        """Return nearly all, as the teacher answers, which is what the net is to become."""
        return self.distillation or TRANSFER_DISTILLATION


class Fp16Settings(Settings):
    """Nothing has to be chosen."""

    stage: Literal["fp16"] = "fp16"
