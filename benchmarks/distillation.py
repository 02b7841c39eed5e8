"""What a teacher gives a small net: a table of docs/evidence/compression.md.

    python benchmarks/distillation.py --data cifar10 [--out runs/distillation]

Trains MobileNet V1 0.25 from random weights on 10,000 images of CIFAR-10 (the same number of each
class, always the same ones) for 10 epochs, with three seeds, with and without the package's
Xception as its teacher. A tenth of the images chooses the best epoch; the test images are measured
on once, at the end. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgenets.data.images import Preparation
from edgenets.data.sources import open_dataset
from edgenets.data.splits import balanced_sample
from edgenets.files import read_json, write_json
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.places import CHECKPOINT
from edgenets.pipeline.stages.train import train_model

IMAGES, SEEDS = 10_000, range(3)
NET = {"name": "mobilenet_v1", "width": 0.25, "resolution": 32, "output_stride": 8}
TEACHERS = {"alone": None, "taught": str(PRETRAINED / "cifar10_xception")}


def train(images: RunImages, seed: int, teacher: str | None, out: Path) -> float:
    """Return the top-1 of a training that is finished or done now."""
    if not (out / "result.json").exists():
        training = {"epochs": 10, "batch_size": 64, "teacher": teacher}
        values = {"model": NET, "train": training, "seed": seed}
        config = check_config(values, lambda place: "the benchmark")
        own = RunImages(images.dataset, images.preparation, config)
        out.mkdir(parents=True, exist_ok=True)
        model = train_model(own, None, out / CHECKPOINT, key=out.name).net
        logits = predict_logits(compile_inference(model), images.test)
        write_json(out / "result.json", {"top1": own.score(logits)["top1"]})
    return 100 * read_json(out / "result.json")["top1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    chosen = balanced_sample(dataset.train.labels, IMAGES, seed=0)
    dataset = replace(dataset, train=dataset.train.subset(chosen))
    config = check_config({"model": NET}, lambda place: "the benchmark")
    images = RunImages(dataset, Preparation.default(NET["name"], NET["resolution"]), config)
    print("| seed | alone | taught | difference, points |\n|---|---|---|---|")
    differences = []
    for seed in SEEDS:
        alone, taught = (
            train(images, seed, teacher, options.out / f"{name}-{seed}")
            for name, teacher in TEACHERS.items()
        )
        differences.append(taught - alone)
        print(f"| {seed} | {alone:.2f} | {taught:.2f} | {taught - alone:+.2f} |", flush=True)
    print(
        f"\nMean difference {np.mean(differences):+.2f} points, standard deviation over the seeds "
        f"{np.std(differences, ddof=1):.2f}; {len(dataset.test)} test images."
    )


if __name__ == "__main__":
    main()
