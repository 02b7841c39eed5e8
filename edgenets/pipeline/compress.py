"""`edgenets compress`: a recipe's stages on a trained model, resumable like those of a run.

`edgenets train --near` is the same, after a training.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenets.data.folder import first_few
from edgenets.errors import EdgenetsError
from edgenets.export.measure.accuracy import warnings_of_score
from edgenets.export.write.checked_file import float_file
from edgenets.files import locked_folder, read_bytes, write_bytes, write_json
from edgenets.models.folder import (
    CODES,
    SPEC,
    WEIGHTS,
    Model,
    require_no_model,
    weights_sha256,
)
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import dump_recipe
from edgenets.pipeline.model_sizes import account_folder
from edgenets.pipeline.near import load_base
from edgenets.pipeline.output import MODEL_FILES, check_outputs
from edgenets.pipeline.run import CONFIG, run_stages
from edgenets.pipeline.stages.compress import check_recipe
from edgenets.pipeline.stages.inputs import (
    RunImages,
    open_data,
    open_training,
    say_if_learned_from,
)
from edgenets.pipeline.stages.measure import measure_model
from edgenets.pipeline.stages.places import ERROR_PLOT, Record, StageRecord
from edgenets.pipeline.stages.plan import Stage, compress_stages, training_stage
from edgenets.quantize.recipe import Recipe
from edgenets.quantize.settings import NearSettings

STAGES = "stages"
RECIPE, MEASURED = "recipe.yaml", "compress.json"
STAGE = re.compile(r"\.?\d\d-")
"""How the name of a stage's folder begins."""


def compress(
    model: Model, config: RunConfig, out: Path, log_dir: Path | None = None
) -> dict[str, Any]:
    """Compress `model` into the model folder `out`; return what was measured.

    Args:
        model: a trained one, left as it is.
        config: its images, recipe and seed; its net is that of `model`.
        out: also gets the recipe as `recipe.yaml`, what was measured as `compress.json`, and a plot
            of the int8 file's error by layer as `int8_error.svg`.
        log_dir: trainings write events for TensorBoard into it; it changes no result.

    Returns:
        `stages`, of which the first one, `model`, is the model as it was; `warnings`, as
        `train_folder` gives them; `skipped`; `accounting`, the size of what the last stage made, as
        `edgenets.quantize.sizes.accounting.account` gives it.

    Raises:
        EdgenetsError: `out` or the images cannot be used, or a stage failed; finished stages are
            kept, and the same command goes on from them.
    """
    with locked_folder(out):
        require_place(out)
        images = open_images_of(model, config)
        records = run_recipe(model, images, config.compress, out / STAGES, log_dir)
        result = keep_result(out, out / STAGES, records, config.compress, images)
        shutil.rmtree(out / STAGES)
        return result


def train_near(config: RunConfig, out: Path, log_dir: Path | None = None) -> dict[str, Any]:
    """Train the config's net and settle it near to a base, into the model folder `out`.

    Args:
        config: its recipe is the stage `near`, whose base knows the images' classes and is of the
            net that the training begins with.
        out: as for `compress`.
        log_dir: as there.

    Returns:
        As `compress`, but that the first of `stages` is the training.

    Raises:
        EdgenetsError: as `compress`.
    """
    (near,) = config.compress
    assert isinstance(near, NearSettings)
    with locked_folder(out):
        require_place(out)
        images, initial = open_training(config)
        if initial is None:
            raise EdgenetsError("an update begins with trained weights; leave --weights none out")
        base = load_base(Path(near.base), initial.spec)  # before the training
        _require_classes(base, images)
        stages = [training_stage(images, initial, log_dir)]
        stages += compress_stages(config.compress, images, log_dir)
        records = run_stages(out / STAGES, stages, images.dataset.fingerprint)
        result = keep_result(out, out / STAGES, records, config.compress, images)
        shutil.rmtree(out / STAGES)
        return result


def require_place(out: Path, *, searching: bool = False) -> None:
    """Check that a compression can write to the folder `out`, before its work.

    Args:
        out: a new folder, or that of the same compression, which is not at its end.
        searching: whether it makes a folder of stages for each of several recipes.

    Raises:
        EdgenetsError: it already holds a model, or something that is no file in a file's place, or
            stages that this compression did not make and would remove.
    """
    if all((out / name).exists() for name in (SPEC, MEASURED, STAGES)):
        shutil.rmtree(out / STAGES)  # a process was killed after its end, before its tidying up
    require_no_model(out)
    for path in (out / STAGES).glob("*"):
        is_stage = STAGE.match(path.name) is not None
        if not path.is_dir() or is_stage == searching or (out / CONFIG).exists():
            raise EdgenetsError(
                f"{path} was not made by this command; repeat the one that made it, or pass "
                "another folder with --out"
            )
    check_outputs(out, (RECIPE, MEASURED, ERROR_PLOT, *MODEL_FILES), ())


def open_images_of(model: Model, config: RunConfig) -> RunImages:
    """Open the config's images, which must be of the classes that `model` knows.

    A word says if it may have been trained on some that it is tested on now.

    Raises:
        EdgenetsError: they are not, or cannot be used.
    """
    spec = model.spec
    images = RunImages(open_data(config), spec.preparation, config)
    _require_classes(model, images)
    say_if_learned_from(str(model), spec.seeded_split, images.dataset.seeded_split)
    return images


def _require_classes(model: Model, images: RunImages) -> None:
    if images.dataset.classes != model.spec.labels:
        raise EdgenetsError(
            f"{model} knows {first_few(model.spec.labels)}, the images are of "
            f"{first_few(images.dataset.classes)}; pass images of the classes that it knows"
        )


def run_recipe(
    model: Model, images: RunImages, recipe: Recipe, stages: Path, log_dir: Path | None = None
) -> list[StageRecord]:
    """Do what is missing of a recipe's stages in the folder `stages`, on `model`."""

    def copy(own: Path, previous: Path, key: str) -> Record:
        split = images.dataset.seeded_split or model.spec.seeded_split
        first = replace(model, spec=replace(model.spec, seeded_split=split))
        first.save(own)
        return measure_model(images, first, float_file(first.net, first.spec))

    config = images.config
    made_of = {
        "weights": weights_sha256(model.net),
        "seed": config.seed,
        "data": config.data.model_dump(mode="json", include={"flip", "validation_fraction"}),
    }
    check_recipe(model, recipe)
    start = Stage("model", made_of, copy)
    following = compress_stages(recipe, images, log_dir)
    return run_stages(stages, [start, *following], images.dataset.fingerprint)


def keep_result(
    out: Path,
    stages: Path,
    records: list[StageRecord],
    recipe: Recipe,
    images: RunImages,
    **more: Any,
) -> dict[str, Any]:
    """Write to `out` the last model of `stages`, its recipe and what was measured, and return that.

    Args:
        more: further keys of what was measured.
    """
    last = stages / records[-1].folder
    result = {
        "stages": [{"name": r.name, "seconds": r.seconds, **r.measured} for r in records],
        "warnings": [*images.warnings, *warnings_of_score(records[-1].measured)],
        "skipped": [file.to_json() for file in images.dataset.skipped],
        "accounting": account_folder(last, records),
        **more,
    }
    write_bytes(out / RECIPE, dump_recipe(recipe).encode())
    write_json(out / MEASURED, result)
    # The spec comes last: it makes it a model folder.
    for name in (WEIGHTS, CODES, ERROR_PLOT, SPEC):
        if (last / name).exists():
            write_bytes(out / name, read_bytes(last / name))
    return result
