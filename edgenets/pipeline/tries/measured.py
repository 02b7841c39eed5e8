"""What tries are compared by, and the accuracy of the one that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write import tflite
from edgenets.models.folder import Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.places import Record, StageRecord
from edgenets.pipeline.sweep.front import accuracy_difference, ranks
from edgenets.pipeline.tries.candidates import words_of
from edgenets.quantize.recipe import LAST, Recipe
from edgenets.results.models import CompressTry


def row_of(
    recipe: Recipe, records: Sequence[StageRecord], *, instructions: int | None, seconds: float
) -> CompressTry:
    """Return what is known of a try.

    Args:
        recipe: that was tried.
        records: of its stages on `HeldOutImages`; the first one is the model as it was.
        instructions, seconds: see `CompressTry`.
    """
    first, last = records[0].measured, records[-1].measured
    low, high = accuracy_difference(first, last)
    return CompressTry(
        recipe=words_of(recipe),
        stages=tuple(
            {"stage": stage.stage, **stage.model_dump(mode="json", exclude_defaults=True)}
            for stage in recipe
        ),
        top1=last["top1"],
        ci95=tuple(last["ci95"]),
        samples=last["samples"],
        drop=round(100 * (first["top1"] - last["top1"]), 6),
        drop_ci95=(100 * low, 100 * high),
        stored_bytes=last["stored_bytes"],
        size_bytes=last["size_bytes"],
        instructions=instructions,
        seconds=seconds,
    )


def front_of_tries(
    rows: Sequence[Record], figures: Sequence[str] = ("stored_bytes", "instructions")
) -> list[int]:
    """Return the rows than which no other costs as little and is as accurate, the cheapest first.

    Args:
        rows: of `CompressTry`, as JSON.
        figures: that are costs; what is None is the same for all.
    """
    costs = [(*(row[figure] or 0 for figure in figures), -row["top1"]) for row in rows]
    outermost = [i for i, rank in enumerate(ranks(costs)) if rank == 0]
    return sorted(outermost, key=lambda i: costs[i])


def with_test_accuracy(images: RunImages, stages: Path, record: StageRecord) -> StageRecord:
    """Return a stage's record with the accuracy on the test images, in place of `HeldOutImages`."""
    model = Model.load(stages / record.folder)
    if record.name in LAST:
        file = tflite.to_int8(model.net, model.spec, None, model.codes)
        logits = classify(Classifier(file), images.test)
    else:
        logits = predict_logits(compile_inference(model.net), images.test)
    others = {key: value for key, value in record.measured.items() if key != "right"}
    return replace(record, measured={**others, **images.score(logits)})
