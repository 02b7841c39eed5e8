"""How well a few hundred photographs are learned: the table of docs/evidence/photographs.md.

    python benchmarks/photographs.py ../shared/data/flowers [--rows NAME ...] [--seeds 0 1 2]

DATA is laid out as DATA/{train,test}/CLASS/NNN.jpg; a set of n a class is the first n of each. The
ImageNet weights are the 8-bit files of google-coral/test_data, by default in DATA/../coral. A tenth
of the training images chooses the regularisation and the best epoch; the test images are measured
on once, at the end. Every training that is finished is kept in --out; a stopped one goes on.

Prints for each row the mean top-1 of the seeds with its 95 % interval over the test images, the
difference to the frozen features of the same net and set, paired by image, and the processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.dataset import Dataset
from edgenets.data.images import Fit
from edgenets.data.sources import open_dataset
from edgenets.files import read_json, sha256_json, write_json
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages, load_initial, preparation_of
from edgenets.pipeline.stages.places import CHECKPOINT
from edgenets.pipeline.stages.train import train_model

V1, V2 = "mobilenet_v1_0.25_128_quant.tflite", "mobilenet_v2_1.0_224_quant.tflite"
SMALL = {"name": "mobilenet_v1", "width": 0.25, "resolution": 128}
LARGE = {"name": "mobilenet_v2", "resolution": 224}
# How weights were trained on before there was transfer, and how nets were from random ones.
BEFORE = {
    **{"epochs": 30, "batch_size": 64, "learning_rate": 4e-3, "batch_norm": "trained"},
    "transfer": {"classifier": False, "frozen_layers": 0},
}


class Row(NamedTuple):
    """A way to train a net."""

    name: str
    model: dict[str, Any]
    sizes: tuple[int, ...]  # photographs a class
    weights: str | None
    settings: Mapping[str, Any] = MappingProxyType({})
    teacher: str | None = None  # the row whose net of the same seed and size teaches
    fit: Fit | None = None  # how photographs become square


ROWS = (
    Row("frozen", SMALL, (30, 100, 200), V1, {"epochs": 0}),
    Row("transfer", SMALL, (30, 100, 200), V1),
    Row("before", SMALL, (30, 100), V1, BEFORE),
    Row("v2-frozen", LARGE, (30, 100), V2, {"epochs": 0}),
    Row("v2", LARGE, (30, 100), V2),
    Row("taught", SMALL, (30, 100), V1, teacher="v2"),
    Row("scratch", SMALL, (30, 100), None),
)
FROZEN = {"transfer": "frozen", "before": "frozen", "taught": "transfer", "v2": "v2-frozen"}
"""What each row is compared with."""


def main() -> None:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, help="folder of the .tflite files")
    parser.add_argument("--out", type=Path, default=Path("runs/photographs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    weights = options.weights or options.data.parent / "coral"
    dataset = open_dataset(str(options.data))
    print("| row | a class | top-1, seeds | mean | 95 % | difference | processor s |")
    print("|---|---|---|---|---|---|---|")
    right: dict[tuple[str, int], NDArray[Any]] = {}
    for row in (row for row in ROWS if row.name in options.rows):
        for size in row.sizes:
            subset = first_of_each_class(dataset, size)
            results = [
                train(row, subset, size, seed, weights, options.out) for seed in options.seeds
            ]
            right[row.name, size] = np.array([result["right"] for result in results])
            print(table_row(row, size, results, right), flush=True)


def first_of_each_class(dataset: Dataset, count: int) -> Dataset:
    """Return the dataset with the first `count` training photographs of each class."""
    labels = dataset.train.labels
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen = np.concatenate([indices[:count] for indices in members])
    return replace(dataset, train=dataset.train.subset(chosen))


def train(
    row: Row, dataset: Dataset, size: int, seed: int, weights: Path, out: Path
) -> dict[str, Any]:
    """Return the result of a training that is finished or done now."""
    folder = out / f"{row.name}_{size}_{seed}"
    if not (folder / "result.json").exists():
        teacher = str(out / f"{row.teacher}_{size}_{seed}") if row.teacher else None
        begin = str(weights / row.weights) if row.weights else "none"
        values = {
            "model": row.model,
            "data": {"fit": row.fit},
            "train": {**row.settings, "weights": begin, "teacher": teacher},
            "seed": seed,
        }
        config, initial = load_initial(check_config(values, lambda place: "the benchmark"))
        is_resumed = (folder / CHECKPOINT).exists()
        start = time.process_time()
        preparation = initial.spec.preparation if initial else preparation_of(config)
        images = RunImages(dataset, preparation, config)
        model = train_model(images, initial, folder / CHECKPOINT, sha256_json(values))
        seconds = None if is_resumed else time.process_time() - start
        answers = predict_logits(compile_inference(model.net), images.test).argmax(axis=1)
        model.save(folder)
        is_right = (answers == dataset.test.labels).astype(int).tolist()
        write_json(folder / "result.json", {"right": is_right, "processor_seconds": seconds})
        (folder / CHECKPOINT).unlink(missing_ok=True)
    result: dict[str, Any] = read_json(folder / "result.json")
    return result


def table_row(
    row: Row,
    size: int,
    results: list[dict[str, Any]],
    right: dict[tuple[str, int], NDArray[Any]],
) -> str:
    """Return a row of the table in Markdown; `right` is [seeds, images] of each row and size."""
    own = right[row.name, size]
    each = ", ".join(f"{100 * of_seed.mean():.1f}" for of_seed in own)
    per_image = 100 * own.mean(axis=0)
    error = 1.96 * per_image.std(ddof=1) / np.sqrt(len(per_image))
    difference = ""
    if (other := FROZEN.get(row.name)) and (other, size) in right:
        loss, low, high = paired_loss(right[other, size].mean(axis=0), own.mean(axis=0))
        difference = f"{-loss:+.1f} to {other} ({-high:+.1f} to {-low:+.1f})"
    seconds = [r["processor_seconds"] for r in results if r["processor_seconds"] is not None]
    time_text = f"{np.mean(seconds):.0f}" if seconds else ""
    return (
        f"| {row.name} | {size} | {each} | {per_image.mean():.1f} % | +-{error:.1f} | "
        f"{difference} | {time_text} |"
    )


if __name__ == "__main__":
    main()
