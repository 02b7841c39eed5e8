"""The stages that compress: a step of `quantize`, its model folder, its file when it is settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgenets.export.formats import FP16, INT8
from edgenets.export.lower.lower import has_sparse_forms
from edgenets.export.report.layer_errors import measure_error
from edgenets.export.report.layer_errors_plot import draw_errors
from edgenets.export.write.checked_file import export_checked, float_file
from edgenets.export.write.codes import read_grids
from edgenets.files import write_bytes
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, weights_sha256
from edgenets.models.operator_costs import TARGET_CORES
from edgenets.pipeline.near import identity_of, load_base, settle_near
from edgenets.pipeline.rate_search import Train, code_to_goal
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.measure import measure_export, measure_model
from edgenets.pipeline.stages.places import CHECKPOINT, ERROR_PLOT, Record
from edgenets.pipeline.stages.train import write_history
from edgenets.progress import say, warn
from edgenets.quantize.layers import assign_kernels, check_patterns, prunable_layers
from edgenets.quantize.rate.near_training import train_near
from edgenets.quantize.rate.priced_training import train_codes
from edgenets.quantize.recipe import AnyStage, Recipe
from edgenets.quantize.settings import (
    Fp16Settings,
    Int8Settings,
    NearSettings,
    PruneSettings,
    QatSettings,
    RateSettings,
    ShareSettings,
    SlimSettings,
)
from edgenets.quantize.sizes.counts import stored_bytes
from edgenets.quantize.slim.choice import require_possible
from edgenets.quantize.slim.cost import estimate_net
from edgenets.quantize.stages.fp16 import round_weights
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.prune import prune
from edgenets.quantize.stages.qat import train_quantized
from edgenets.quantize.stages.share import share_weights
from edgenets.quantize.stages.slim import slim
from edgenets.training.fit import pace_of
from edgenets.training.settings import FROZEN_BELOW, Distillation, FitSettings

# Of those that choose the best epoch: neither calibrated on nor tested on.
ERROR_IMAGES, DIVERGENCE_IMAGES = 64, 500
SLOW_ZEROS = (
    "XNNPACK has no sparse forms for all operators of {name}: pruned for it, it is no faster; "
    "MobileNet V1, V2 and minimalistic V3 with output_stride 32 are"
)
COMPRESS: dict[str, Callable[..., Model]] = {
    "slim": slim,
    "prune": prune,
    "share": share_weights,
    "qat": train_quantized,
}

AnyFit = SlimSettings | PruneSettings | ShareSettings | QatSettings | RateSettings | NearSettings


def check_recipe(model: Model, recipe: Recipe) -> None:
    """Check what a recipe asks of the model that it begins with, before anything is trained for it.

    What would be of no use is warned of.

    Raises:
        EdgenetsError: a layer that it names is not there, the model cannot become so fast, or a
            base is another net.
    """
    for stage in recipe:
        of_pruning = prunable_layers(model.net) if isinstance(stage, PruneSettings) else None
        check_patterns(model.net, getattr(stage, "layers", ()), of_pruning)
        check_patterns(model.net, getattr(stage, "keep_float", ()))
        is_sparse = isinstance(stage, PruneSettings) and stage.policy == "xnnpack"
        if is_sparse and not has_sparse_forms(model.net):
            warn([SLOW_ZEROS.format(name=model.net.name)])
        if isinstance(stage, SlimSettings):
            core = TARGET_CORES[stage.target]
            most = stage.most_instructions(estimate_net(model.net, core))
            require_possible(model.net, core, most)
        if isinstance(stage, NearSettings):
            load_base(Path(stage.base), model.spec)


def compress_stage(
    settings: AnyStage,
    images: RunImages,
    log_dir: Path | None,
    folder: Path,
    previous: Path,
    key: str,
) -> Record:
    """Compress the previous stage's model; write the new folder."""
    model = Model.load(previous)
    training: dict[str, Any] = {}  # as every training takes it
    base = None
    if isinstance(settings, NearSettings):
        base = load_base(Path(settings.base), model.spec)
        if settings.distillation is None and weights_sha256(model.net) == weights_sha256(base.net):
            # There is nothing that it should answer but what the labels say.
            settings = settings.model_copy(update={"distillation": Distillation(alpha=0)})
    untrained = isinstance(settings, RateSettings) and settings.epochs == 0
    if isinstance(settings, FitSettings) and not untrained:
        settings, distillation = _complete(settings, model, len(images.training.images))
        training = {
            "data": images.training,
            "settings": settings,
            "seed": images.config.seed,
            "checkpoint": folder / CHECKPOINT,
            "key": key,
            "teacher": _first_net(previous, model) if distillation.alpha else None,
            "log_dir": log_dir,
        }
    if isinstance(settings, Int8Settings):
        return _settle_integers(settings, images, folder, model)
    if isinstance(settings, RateSettings):
        train = partial(train_codes, **training) if training else None
        return _settle_rate(settings, images, folder, model, train)
    if isinstance(settings, NearSettings):
        assert base is not None  # it was loaded above
        return _settle_near(settings, images, folder, model, base, training)
    if isinstance(settings, Fp16Settings):
        return _settle_halves(settings, images, folder, model)
    made = COMPRESS[settings.stage](model, **training)
    made.save(folder)
    instructions = {}
    if isinstance(settings, SlimSettings):
        core = TARGET_CORES[settings.target]
        before, after = estimate_net(model.net, core), estimate_net(made.net, core)
        instructions = {
            "instructions": {"target": settings.target, "before": before, "after": after},
            "channels": made.spec.channels,
        }
    return {
        **instructions,
        **measure_model(images, made, float_file(made.net, made.spec)),
        "history": write_history(folder, made.spec.history[settings.stage]),
    }


def _complete(settings: AnyFit, model: Model, images: int) -> tuple[AnyFit, Distillation]:
    """Return the settings, and what they leave open, of a training on so many images."""
    transferred = bool(model.spec.initial_weights) and images < FROZEN_BELOW
    keeps_batch_norm = settings.stage in ("slim", "prune")
    trained = model.net if keeps_batch_norm else fold_batch_norm(model.net)
    # Without some channels BatchNorm's statistics are others, and much has to be learned anew.
    is_gentle = transferred and settings.stage != "slim"
    pace = pace_of(settings, trained, images, transferred=is_gentle)
    distillation = settings.distillation_for(transferred)
    update = {**pace._asdict(), "distillation": distillation}
    return settings.model_copy(update=update), distillation


def _first_net(stage: Path, model: Model) -> keras.Model:
    """Return the net before any compression: the first stage's beside `stage`, which has `model`.

    It may be that model's own net, which no stage changes.
    """
    (first,) = stage.parent.glob("01-*")
    return model.net if first == stage else Model.load(first).net


def _settle_integers(
    settings: Int8Settings, images: RunImages, folder: Path, model: Model
) -> Record:
    """Give a model all the integers of its int8 file, which is checked; write the new folder."""
    settled = model.after(settings.model_dump(mode="json"), fold_batch_norm(model.net))
    net, spec = settled.net, replace(settled.spec, keep_float=settings.keep_float)
    kernels = {
        name: model.kernels.get(name, kernel)
        for name, kernel in quantize_kernels(net).items()
        if name in model.kernels or not spec.keeps_float(name)
    }
    calibration = images.calibration(settings.calibration_images)
    exported = export_checked(INT8, net, spec, calibration, Codes(kernels, {}))
    error = _write_error(folder, images, exported.named, net)
    assign_kernels(net, kernels)
    Model(net, spec, Codes(kernels, read_grids(exported.named, net))).save(folder)
    stored = stored_bytes(exported.content)
    return {**measure_export(images, exported, net, stored), "error": error}


def _settle_rate(
    settings: RateSettings, images: RunImages, folder: Path, model: Model, train: Train | None
) -> Record:
    """Give a model integers whose package is small; write the new folder."""
    settled = model.after(settings.model_dump(mode="json"), fold_batch_norm(model.net))
    settled = replace(settled, spec=replace(settled.spec, keep_float=()))
    calibration = images.calibration(settings.calibration_images, unlabelled=True)
    held_out = images.validation(DIVERGENCE_IMAGES)
    flip = images.training.flip
    found = code_to_goal(
        settled, settings, calibration, held_out, flip=flip, seed=images.config.seed, train=train
    )
    if found.agreement < INT8.minimum_agreement:
        say(
            f"only {found.agreement:.1%} of the answers are those that the net gave before; pass a "
            "lower price, a lower max_kl or more calibration images"
        )
    # The file is held against the net that it is of; what the coding changed is `divergence`.
    coded = found.model
    exported = export_checked(INT8, coded.net, coded.spec, calibration, coded.codes)
    error = _write_error(folder, images, exported.named, found.equalized)
    if found.history:
        told = {**coded.spec.history, settings.stage: found.history}
        coded = replace(coded, spec=replace(coded.spec, history=told))
    coded.save(folder)
    history = write_history(folder, found.history)
    return {
        **measure_export(images, exported, coded.net, stored_bytes(exported.content)),
        **({"history": history} if history else {}),
        "error": error,
        "price": found.price,
        "package_bytes": found.package_bytes,
        **({"npu": {"target": settings.target, **found.estimates}} if found.estimates else {}),
        "divergence": {"kl": found.kl, "agreement": found.agreement, "images": len(held_out)},
    }


def _settle_near(
    settings: NearSettings,
    images: RunImages,
    folder: Path,
    model: Model,
    base: Model,
    training: dict[str, Any],
) -> Record:
    """Train from a base's codes and settle those of the update; write the new folder."""
    moved = train_near(base, settings.price, **training)
    # The base is named by what it holds: where it lies is nothing that a file should tell.
    stage = {**settings.model_dump(mode="json"), "base": identity_of(Path(settings.base))}
    spec = model.after(stage, base.net, moved.history).spec
    spec = replace(spec, keep_float=(), channels=base.spec.channels)  # the net is the base's
    found = settle_near(base, spec, moved, settings.update_bytes)
    near = found.model
    held_out = images.validation(ERROR_IMAGES)
    exported = export_checked(INT8, near.net, near.spec, held_out, near.codes)
    error = _write_error(folder, images, exported.named, near.net)
    near.save(folder)
    history = write_history(folder, moved.history)
    return {
        **measure_export(images, exported, near.net, stored_bytes(exported.content)),
        **({"history": history} if history else {}),
        "error": error,
        "update_bytes": found.update_bytes,
        "package_bytes": found.package_bytes,
        "changed": found.changed,
    }


def _write_error(folder: Path, images: RunImages, file: File, folded: keras.Model) -> list[Record]:
    """Measure an int8 file's error by layer and draw it into the folder."""
    error = measure_error(file, folded, images.validation(ERROR_IMAGES))
    write_bytes(folder / ERROR_PLOT, draw_errors(error))
    return [layer._asdict() for layer in error]


def _settle_halves(settings: Fp16Settings, images: RunImages, folder: Path, model: Model) -> Record:
    """Give a model the float16 weights of its fp16 file, which is checked; write the new folder."""
    folded = fold_batch_norm(model.net)
    round_weights(folded)
    settled = model.after(settings.model_dump(mode="json"), folded)
    settled.save(folder)
    exported = export_checked(FP16, folded, settled.spec, images.validation(ERROR_IMAGES), None)
    return measure_export(images, exported, folded)
