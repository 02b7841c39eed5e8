"""The stages that compress: a step of `quantize`, its model folder, its file when it is settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgenets.export.formats import FP16, INT8
from edgenets.export.report.layer_errors import measure_error
from edgenets.export.report.layer_errors_plot import draw_errors
from edgenets.export.write.checked_file import export_checked, float_file
from edgenets.export.write.codes import read_grids
from edgenets.files import write_bytes
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.models.folder import (
    Model,
    Spec,
    load_model,
    save_model,
)
from edgenets.pipeline.rate_search import code_to_goal
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.measure import measure_export, measure_model
from edgenets.pipeline.stages.places import CHECKPOINT, ERROR_PLOT, Record
from edgenets.pipeline.stages.train import write_history
from edgenets.progress import say
from edgenets.quantize.layers import (
    Compressed,
    assign_kernels,
)
from edgenets.quantize.recipe import AnyStage
from edgenets.quantize.settings import Fp16Settings, Int8Settings, RateSettings
from edgenets.quantize.sizes.counts import stored_bytes
from edgenets.quantize.stages.fp16 import round_weights
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.prune import prune
from edgenets.quantize.stages.qat import train_quantized
from edgenets.quantize.stages.share import share_weights
from edgenets.training.fit import pace_of
from edgenets.training.settings import FROZEN_BELOW

# Of those that choose the best epoch: neither calibrated on nor tested on.
ERROR_IMAGES, DIVERGENCE_IMAGES = 64, 500
COMPRESS: dict[str, Callable[..., Compressed]] = {
    "prune": prune,
    "share": share_weights,
    "qat": train_quantized,
}


def compress_stage(
    settings: AnyStage,
    images: RunImages,
    log_dir: Path | None,
    folder: Path,
    previous: Path,
    key: str,
) -> Record:
    """Compress the previous stage's model; write the new folder."""
    made = Model.load(previous)
    model, spec, codes = made.net, made.spec, made.codes
    if isinstance(settings, Int8Settings):
        return _settle_integers(settings, images, folder, model, spec, codes)
    if isinstance(settings, RateSettings):
        return _settle_rate(settings, images, folder, model, spec)
    if isinstance(settings, Fp16Settings):
        return _settle_halves(settings, images, folder, model, spec)
    data = images.training
    transferred = bool(spec.initial_weights) and len(data.images) < FROZEN_BELOW
    trained = model if settings.stage == "prune" else fold_batch_norm(model)
    pace = pace_of(settings, trained, len(data.images), transferred=transferred)
    distillation = settings.distillation_for(transferred)
    settings = settings.model_copy(update={**pace._asdict(), "distillation": distillation})
    compressed = COMPRESS[settings.stage](
        model,
        codes.kernels if codes else {},
        data,
        settings,
        seed=images.config.seed,
        checkpoint=folder / CHECKPOINT,
        key=key,
        teacher=_first_model(previous) if distillation.alpha else None,
        log_dir=log_dir,
    )
    model, kernels, history = compressed
    spec = spec.with_stage(settings.model_dump(mode="json"), history, folded=is_folded(model))
    save_model(folder, model, spec, Codes(kernels, {}) if kernels else None)
    return {
        **measure_model(images, model, float_file(model, spec), kernels),
        "history": write_history(folder, history),
    }


def _first_model(stage: Path) -> keras.Model:
    """Return the model before any compression: the first stage's beside the folder `stage`."""
    (first,) = stage.parent.glob("01-*")
    return load_model(first)[0]


def _settle_integers(
    settings: Int8Settings,
    images: RunImages,
    folder: Path,
    model: keras.Model,
    spec: Spec,
    codes: Codes | None,
) -> Record:
    """Give a model all the integers of its int8 file, which is checked; write the new folder."""
    folded = fold_batch_norm(model)
    spec = spec.with_stage(settings.model_dump(mode="json"), {}, folded=True)
    spec = replace(spec, keep_float=settings.keep_float)
    shared = codes.kernels if codes else {}
    kernels = {
        name: shared.get(name, kernel)
        for name, kernel in quantize_kernels(folded).items()
        if name in shared or not spec.keeps_float(name)
    }
    calibration = images.calibration(settings.calibration_images)
    exported = export_checked(INT8, folded, spec, calibration, Codes(kernels, {}))
    error = _write_error(folder, images, exported.named, folded)
    assign_kernels(folded, kernels)
    save_model(folder, folded, spec, Codes(kernels, read_grids(exported.named, folded)))
    stored = stored_bytes(exported.content)
    return {**measure_export(images, exported, folded, stored), "error": error}


def _settle_rate(
    settings: RateSettings, images: RunImages, folder: Path, model: keras.Model, spec: Spec
) -> Record:
    """Give a model integers whose package is small; write the new folder."""
    folded = fold_batch_norm(model)
    spec = replace(
        spec.with_stage(settings.model_dump(mode="json"), {}, folded=True), keep_float=()
    )
    calibration = images.calibration(settings.calibration_images, unlabelled=True)
    held_out = images.validation(DIVERGENCE_IMAGES)
    flip = images.training.flip
    found = code_to_goal(
        folded, spec, settings, calibration, held_out, flip=flip, seed=images.config.seed
    )
    if found.agreement < INT8.minimum_agreement:
        say(
            f"only {found.agreement:.1%} of the answers are those that the net gave before; pass a "
            "lower price, a lower max_kl or more calibration images"
        )
    # The file is held against the net that it is of; what the coding changed is `divergence`.
    coded = found.coded.model
    exported = export_checked(INT8, coded, spec, calibration, found.codes)
    error = _write_error(folder, images, exported.named, found.folded)
    save_model(folder, coded, spec, found.codes)
    return {
        **measure_export(images, exported, coded, stored_bytes(exported.content)),
        "error": error,
        "price": found.price,
        "package_bytes": found.package_bytes,
        "divergence": {"kl": found.kl, "agreement": found.agreement, "images": len(held_out)},
    }


def _write_error(folder: Path, images: RunImages, file: File, folded: keras.Model) -> list[Record]:
    """Measure an int8 file's error by layer and draw it into the folder."""
    error = measure_error(file, folded, images.validation(ERROR_IMAGES))
    write_bytes(folder / ERROR_PLOT, draw_errors(error))
    return [layer._asdict() for layer in error]


def _settle_halves(
    settings: Fp16Settings, images: RunImages, folder: Path, model: keras.Model, spec: Spec
) -> Record:
    """Give a model the float16 weights of its fp16 file, which is checked; write the new folder."""
    folded = fold_batch_norm(model)
    round_weights(folded)
    spec = spec.with_stage(settings.model_dump(mode="json"), {}, folded=True)
    save_model(folder, folded, spec)
    exported = export_checked(FP16, folded, spec, images.validation(ERROR_IMAGES), None)
    return measure_export(images, exported, folded)
