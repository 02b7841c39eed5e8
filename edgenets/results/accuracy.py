"""What classifying images returns: accuracies, and answers to single pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.results.result import MOST_ROWS, SOMETIMES, Result, Skipped, html_table
from edgenets.units import format_interval, format_percent


@dataclass(frozen=True, repr=False)
class ClassScore(Result):
    """The accuracy on one class; None without images of it."""

    label: str
    samples: int
    top1: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, repr=False)
class Accuracy(Result):
    """How often a net is right, and what it takes for what.

    Attributes:
        top1: fraction of the images whose class comes first.
        top5: fraction whose class is among the first five; None below six classes.
        ci95: low and high end of the 95 % confidence interval of `top1`.
        samples: number of images.
        per_class: the same for each class.
        confusion: [true class][answer], numbers of images.
        skipped: files that were left out.
        warnings: sentences on what the accuracy does not say.
    """

    top1: float
    top5: float | None
    ci95: tuple[float, float]
    samples: int
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]

    def _repr_html_(self) -> str:
        top5 = "" if self.top5 is None else f", top-5 {format_percent(self.top5)}"
        title = (
            f"top-1 {format_percent(self.top1)} (95 % interval {format_interval(self.ci95)}){top5} "
            f"of {self.samples} images"
        )
        tested = [row for row in self.per_class if row.samples]
        weakest = sorted(tested, key=lambda row: row.top1 or 0)[:MOST_ROWS]
        shown = tested if len(tested) <= MOST_ROWS else weakest
        if len(tested) > MOST_ROWS:
            title += f"; the {MOST_ROWS} weakest classes"
        rows = [
            (row.label, str(row.samples), format_percent(row.top1), format_interval(row.ci95))
            for row in shown
        ]
        return html_table(("class", ">images", ">top-1", ">95 % interval"), rows, title)


@dataclass(frozen=True, repr=False)
class Evaluation(Accuracy):
    """The accuracy on a dataset, here or on a device.

    Attributes:
        labels: of the classes, in the order of the net's outputs.
        split: which images these are: "test", "own test part" or "all".
        device: where the file ran, if not here.
        runtime: its interpreter there.
        here: what came out of this machine on the same inputs.
    """

    labels: tuple[str, ...]
    split: str
    device: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    runtime: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)
    here: dict[str, Any] | None = field(default=None, metadata=SOMETIMES)


@dataclass(frozen=True, repr=False)
class Answer(Result):
    """A class that may be in an image; `name` is what an ImageNet class is called."""

    label: str
    name: str | None
    score: float


@dataclass(frozen=True, repr=False)
class Prediction(Result):
    """What is in one image: the likeliest classes, or why it could not be read."""

    path: str
    top: tuple[Answer, ...] | None = field(default=None, metadata=SOMETIMES)
    error: str | None = field(default=None, metadata=SOMETIMES)

    @property
    def label(self) -> str:
        """The likeliest class.

        Raises:
            EdgenetsError: the image could not be read.
        """
        return self._best.label

    @property
    def score(self) -> float:
        """The probability of the likeliest class.

        Raises:
            EdgenetsError: the image could not be read.
        """
        return self._best.score

    @property
    def _best(self) -> Answer:
        if self.top is None:
            raise EdgenetsError(f"{self.path}: {self.error}")
        return self.top[0]

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        if self.top is None:
            yield self.path, self.error or "", ""
        for rank, best in enumerate(self.top or ()):
            named = f"{best.label} {best.name}" if best.name else best.label
            yield "" if rank else self.path, named, format_percent(best.score)

    def _repr_html_(self) -> str:
        return html_table(("image", "class", ">probability"), self._cells())


class Predictions(tuple[Prediction, ...]):
    """What is in each of some images; with one image, `label` and `score` are its own."""

    @property
    def label(self) -> str:
        """The likeliest class of the one image.

        Raises:
            EdgenetsError: there are several images, or it could not be read.
        """
        return self._one.label

    @property
    def score(self) -> float:
        """The probability of that class; errors are those of `label`."""
        return self._one.score

    @property
    def _one(self) -> Prediction:
        if len(self) != 1:
            raise EdgenetsError(
                f"{len(self)} images were classified: each has its own label and score"
            )
        return self[0]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the JSON value that `edgenets predict --json` prints."""
        return [prediction.to_json() for prediction in self]

    def _repr_html_(self) -> str:
        rows = [cells for prediction in self for cells in prediction._cells()]
        return html_table(("image", "class", ">probability"), rows)
