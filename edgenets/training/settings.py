"""How nets are trained and fine-tuned: settings, checked without loading TensorFlow."""

from __future__ import annotations

from math import ceil
from typing import Any, ClassVar, Literal, NamedTuple

import pydantic

from edgenets.settings import Settings

USUAL_IMAGES = 1_200
"""Fewer are passed over more often, until as many are seen as of these in the usual epochs."""
LEAST_IMAGES = 60  # fewer are not passed over more often than these
LEAST_STEPS = 20  # of an epoch, as far as batches are not smaller than the smallest
BATCH_SIZES = (8, 16, 32, 64)
GENTLE_FEATURES = 256
"""Up to so many features before its classifier, a net with trained weights learns at `gentle` of
the usual rate, and at less the more it has: a step of Adam changes each weight alike, and what a
unit sums up by as many times as it has inputs (Yang et al. 2022, arXiv:2203.03466).
"""
WITHOUT_BATCH_NORM = 0.25  # of the usual learning rate: at more, ReLUs of such nets die
TRANSFER_EPOCHS = 9
TAUGHT = 2.5
"""With trained weights and a teacher, whose answers differ for each view and leave nothing to learn
by heart, a net learns as much faster, and as much longer.
"""
FROZEN_BELOW = 5_000
"""With fewer images than these, BatchNorm and the first layers keep what they have learned."""
FROZEN_LAYERS = 0.4

UNTAUGHT = (
    "unlabelled images teach by a teacher's answers; pass a teacher (--teacher) with an alpha "
    "above 0, or leave them out"
)
BatchNorm = Literal["trained", "frozen"]


class Pace(NamedTuple):
    """How long, in which steps and how fast a net is trained."""

    epochs: int  # passes over the images
    batch_size: int
    learning_rate: float  # at its peak
    batch_norm: BatchNorm  # whether its statistics and parameters change


class Distillation(Settings):
    """How much a teacher, where there is one, counts.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    alpha: float = pydantic.Field(0.5, ge=0, le=1)  # 0: the labels alone, 1: the teacher alone
    temperature: pydantic.PositiveFloat = 4.0  # divides the logits of both nets


TRANSFER_DISTILLATION = Distillation(alpha=0.9, temperature=1.0)


class FitSettings(Settings):
    """How a model is trained or fine-tuned; `pace` chooses what is None."""

    epochs: pydantic.NonNegativeInt | None = None  # passes over the images
    batch_size: pydantic.PositiveInt | None = None
    learning_rate: pydantic.PositiveFloat | None = None  # at its peak
    warmup_epochs: pydantic.NonNegativeFloat = 2
    weight_decay: pydantic.NonNegativeFloat = 0.01
    label_smoothing: float = pydantic.Field(0.1, ge=0, lt=1)
    augment: pydantic.NonNegativeFloat = 1.0
    batch_norm: BatchNorm | None = None
    class_weights: bool | None = None  # whether each class counts alike, however few images it has
    distillation: Distillation | None = None  # where there is a teacher

    usual_epochs: ClassVar[int] = 30
    usual_learning_rate: ClassVar[float] = 4e-3
    gentle: ClassVar[float] = 0.5  # what was pruned has to be learned anew
    least_updates: ClassVar[int] = 0

    def pace(
        self,
        images: int,
        *,
        has_batch_norm: bool,
        transferred: bool = False,
        taught: bool = False,
        features: int = GENTLE_FEATURES,
    ) -> Pace:
        """Return the pace: what is given, and what suits the net and the images for the rest.

        Args:
            images: how many there are to learn from.
            has_batch_norm: whether the net has BatchNorm; without, it learns more slowly.
            transferred: whether the net begins with weights that know more than the images tell,
                which large steps and the statistics of few images would destroy.
            taught: whether it also has a teacher.
            features: how many the net's classifier takes.

        >>> FitSettings().pace(450, has_batch_norm=True)
        Pace(epochs=80, batch_size=16, learning_rate=0.004, batch_norm='trained')
        """
        frozen = transferred and images < FROZEN_BELOW
        batch_size = batch_size_for(images)
        epochs = self.epochs_for(transferred) * max(1.0, USUAL_IMAGES / max(images, LEAST_IMAGES))
        rate = self.usual_learning_rate
        rate *= 1.0 if has_batch_norm else WITHOUT_BATCH_NORM
        rate *= self.gentle * min(1.0, GENTLE_FEATURES / features) if transferred else 1.0
        if transferred and taught:
            epochs, rate = epochs * TAUGHT, rate * TAUGHT
        usual = Pace(
            epochs=max(ceil(epochs), ceil(self.least_updates / max(1, images // batch_size))),
            batch_size=batch_size,
            learning_rate=rate,
            batch_norm="frozen" if frozen else "trained",
        )
        given = {key: getattr(self, key) for key in Pace._fields}
        return usual._replace(**{key: v for key, v in given.items() if v is not None})

    def distillation_for(self, transferred: bool) -> Distillation:
        """Return how much a teacher counts: with trained weights, nearly all, and as it answers."""
        return self.distillation or (TRANSFER_DISTILLATION if transferred else Distillation())

    def epochs_for(self, transferred: bool) -> int:
        """Return how many epochs are usual for `USUAL_IMAGES` images and more."""
        return self.usual_epochs


class TransferSettings(Settings):
    """How a training begins that has trained weights to begin with."""

    classifier: bool = True  # first the classifier alone, on the net's frozen features
    # Which part of the layers, from the image on, stays as it is; by default as suits the images.
    frozen_layers: float | None = pydantic.Field(None, ge=0, lt=1)

    def frozen_part(self, images: int) -> float:
        """Return which part of the layers keeps its weights when so many images teach."""
        usual = FROZEN_LAYERS if images < FROZEN_BELOW else 0.0
        return usual if self.frozen_layers is None else self.frozen_layers


class TrainSettings(FitSettings):
    """How a new model is trained."""

    gentle: ClassVar[float] = 0.1
    least_updates: ClassVar[int] = 400

    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    auxiliary_heads: bool = True  # train Inception v1 with them
    teacher: str | None = pydantic.Field(None, min_length=1)  # a model folder to learn from
    weights: str = pydantic.Field("auto", min_length=1)  # to begin with; `none` for random ones
    weights_sha256: str | None = pydantic.Field(None, pattern="^[0-9a-f]{64}$")  # of that file
    transfer: TransferSettings = TransferSettings()  # where there are weights
    input_range: tuple[float, float] | None = None  # of the pixels `weights` were made for
    labels: str | None = pydantic.Field(None, min_length=1)  # a file with the classes of `weights`

    @pydantic.field_validator("weights", mode="before")
    @classmethod
    def _read_null(cls, weights: Any) -> Any:
        return "none" if weights is None else weights  # as older configs have it

    @pydantic.field_validator("input_range")
    @classmethod
    def _check_range(cls, input_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if input_range and not input_range[0] < input_range[1]:
            raise ValueError("the first number must be the smaller one, such as in 0 to 1")
        return input_range

    @pydantic.model_validator(mode="after")
    def _check_weights(self) -> TrainSettings:
        if (self.labels or self.input_range) and self.weights in ("auto", "none"):
            raise ValueError("input_range and labels describe weights; add weights too")
        return self

    def epochs_for(self, transferred: bool) -> int:
        """Return fewer epochs for a net that knows much already."""
        return TRANSFER_EPOCHS if transferred else self.usual_epochs


def batch_size_for(images: int) -> int:
    """Return the largest usual batch of which an epoch has at least `LEAST_STEPS`.

    >>> batch_size_for(1_293), batch_size_for(450), batch_size_for(90)
    (64, 16, 8)
    """
    fitting = [size for size in BATCH_SIZES if size * LEAST_STEPS <= images]
    return max(fitting, default=BATCH_SIZES[0])
