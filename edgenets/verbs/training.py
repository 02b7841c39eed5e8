"""`train`: a new model from images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgenets.errors import ArgumentError
from edgenets.results.models import CompressRecord, ImportRecord, TrainRecord
from edgenets.verbs.arguments import (
    PathOrName,
    Size,
    folder_or_temporary,
    optional_path,
    source_of,
    speaking_python,
    whole_number,
)
from edgenets.verbs.compressing import near_training
from edgenets.verbs.model import Model, written

if TYPE_CHECKING:
    from edgenets.data.images import Fit


@speaking_python()
def train(
    name: str,
    data: PathOrName | None = None,
    *,
    out: PathOrName | None = None,
    epochs: int | None = None,
    weights: PathOrName | None = None,
    input_range: tuple[float, float] | None = None,
    labels: PathOrName | None = None,
    teacher: PathOrName | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    precision: str | None = None,
    unlabelled: PathOrName | None = None,
    flip: bool | None = None,
    fit: Fit | None = None,
    strict: bool = False,
    seed: int = 0,
    log_dir: PathOrName | None = None,
    near: PathOrName | None = None,
    update_budget: Size | None = None,
    workers: int = 1,
    cluster: PathOrName | None = None,
    worker: int = 0,
    **arguments: Any,
) -> Model:
    """Train a net on images.

    ```python
    model = en.train("mobilenet_v1", data="photos", width=0.25, resolution=96, weights="imagenet")
    model.record.top1
    model.save("models/photos")
    ```

    Args:
        name: of a net, as `en.variants()` has it.
        data: folder with {train,test}/CLASS/*.jpg or CLASS/*.jpg, or the word "digits". With
            `weights` and `epochs=0`, None only imports them.
        out: new model folder, in which an interrupted training is kept and goes on; without one
            nothing is written that stays: see `Model.save`.
        epochs: passes over the images; by default 30, with weights 9, more of few images.
        weights: trained ones to begin with: "imagenet", "cifar10", a .h5, .net or .tflite file, or
            a model folder; "none" for random ones. By default as suits the images.
        input_range: what the model of a file of weights took for black and for white.
        labels: text file with the classes of the weights, one a line.
        teacher: model folder of a net of the same classes to learn from, too.
        batch_size: images per step; by default 8 to 64, as suits their number.
        learning_rate: at its peak.
        precision: "float32" or "mixed_bfloat16".
        unlabelled: folder with more images, which the teacher labels.
        flip: whether images are mirrored; by default as suits them.
        fit: how pictures become square, here and wherever the model is used: "crop", "stretch" or
            "pad"; by default as the weights', or crop.
        strict: fail on a file that is not a readable image.
        seed: decides the first weights and the order of the images.
        log_dir: folder for TensorBoard's events.
        near: begin with the weights of this compressed model folder, or with `weights`, and settle
            what was trained near to its codes: the package of the changes to its file is small.
        update_budget: let that package take at most so much, such as "10KB".
        workers: processes of this machine that train it together, each a part of every batch.
        cluster: JSON file with the workers of several machines, {"worker": ["host:port", ...]};
            this call is made on each of them, and each has the model in its `out`.
        worker: which of the cluster's this one is, from 0.
        arguments: of the net, such as width=0.25.

    Raises:
        EdgenetsError: the net, an argument or a setting is unknown, or the images do not fit.
    """
    workers = whole_number("workers", workers, 1)
    several = workers > 1 or cluster is not None
    recipe = near_training(near, update_budget, data, by_several=several)
    if data is None and epochs != 0:
        raise ArgumentError(
            "training needs images: pass --data DATA (--weights with --epochs 0 needs none)"
        )
    if data is None and weights is None:
        raise ArgumentError("--epochs 0 without --data only imports weights: pass --weights")
    if data is None and several:
        raise ArgumentError("weights alone are imported by one process; leave --workers out")
    if worker and cluster is None:
        raise ArgumentError(f"worker {worker} is one of a cluster; pass --cluster, too")
    of_images = (unlabelled, flip, strict or None, teacher, log_dir)
    if data is None and any(each is not None for each in of_images):
        raise ArgumentError(
            "weights alone are imported without images; leave --unlabelled, --flip, --strict, "
            "--teacher and --log-dir out, or pass --data"
        )
    if data is None and any(each is not None for each in (batch_size, learning_rate, precision)):
        raise ArgumentError(
            "weights alone are imported without training; leave --batch-size, --learning-rate and "
            "--precision out, or pass --data"
        )
    from edgenets.pipeline.config import check_config, require_trainable

    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "precision": precision,
        "weights": next((str(each) for each in (weights, near) if each is not None), None),
        "input_range": input_range,
        "labels": None if labels is None else str(labels),
        "teacher": None if teacher is None else str(teacher),
    }
    images: dict[str, Any] = {"fit": fit}
    if data is not None:
        images |= {"source": source_of(data), "strict": strict, "flip": flip}
    if unlabelled is not None:
        images["unlabelled"] = str(unlabelled)
    values = {
        "model": {"name": name, **arguments},
        "data": images,
        "train": {key: value for key, value in given.items() if value is not None},
        "compress": recipe,
        "seed": seed,
    }
    config = check_config(values, lambda place: f"edgenets train {name}")
    require_trainable(config)

    record: TrainRecord | ImportRecord | CompressRecord
    with folder_or_temporary(out) as folder:
        if data is None:
            from edgenets.pipeline.one_step import import_folder

            record = ImportRecord.from_json(import_folder(config, folder))
        elif recipe:
            from edgenets.pipeline.compress import train_near

            record = CompressRecord.from_json(train_near(config, folder, optional_path(log_dir)))
        else:
            from edgenets.pipeline.workers import train_by_workers

            cluster_file = optional_path(cluster)
            result = train_by_workers(
                *(config, folder, optional_path(log_dir)), workers, cluster_file, worker
            )
            record = TrainRecord.from_json(result)
        return written(folder, record, keep=out is not None)
