"""Compare `compress --budget` with uniform recipes of the same size, after the same training.

    python benchmarks/budget.py MODEL_DIR --data DATA [--epochs 2] [--part 0.5] [--out DIR]

The budget is a part of what the plain int8 file takes when it travels. A uniform recipe gives all
layers the same number of shared values, and the sparsity that makes its file as large as the chosen
one. Each is trained with the same epochs and seed. Stopped at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.export.measure.accuracy import classify
from edgenets.export.measure.classifier import Classifier
from edgenets.export.write import tflite
from edgenets.files import read_json
from edgenets.models.folder import SPEC, Model, load_spec
from edgenets.pipeline.budget import compress_to_budget, with_epochs
from edgenets.pipeline.compress import MEASURED, compress, open_images_of
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import load_recipe
from edgenets.pipeline.draft import Drafts
from edgenets.pipeline.figures import STORED
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.budget.choice import Choice, Option
from edgenets.quantize.layers import kernel_axes

CLUSTERS = (8, 16, 32, 64)
SPARSITIES = np.arange(96) / 100


def config_of(folder: Path, data: str, recipe: str) -> RunConfig:
    spec, _ = load_spec(folder)
    return load_recipe(recipe, {"model": spec.net, "data": {"source": data}, "seed": spec.seed})


def compressed(folder: Path, config: RunConfig, out: Path, budget_bytes: int | None = None) -> Any:
    """Return what was measured of the compressed model in `out`, which is made if it is missing."""
    if (out / SPEC).exists():
        return read_json(out / MEASURED)
    if budget_bytes is None:
        return compress(Model.load(folder), config, out)
    return compress_to_budget(Model.load(folder), config, budget_bytes, out)


def uniform(drafts: Drafts, clusters: int, size_bytes: int) -> tuple[float, Choice]:
    """Return the least sparsity with which a uniform choice takes at most `size_bytes`."""
    names = [layer.name for layer in drafts.model.net.layers if kernel_axes(layer)]

    def choice(sparsity: float) -> Choice:
        return {
            name: Option(sparsity if name in drafts.prunable else 0.0, clusters, 0.0, 0.0)
            for name in names
        }

    least = bisect_left(
        SPARSITIES, True, key=lambda s: drafts.figure(choice(float(s)), STORED) <= size_bytes
    )
    sparsity = float(SPARSITIES[min(least, len(SPARSITIES) - 1)])
    return sparsity, choice(sparsity)


def right_answers(folder: Path, images: RunImages) -> NDArray[np.bool_]:
    """Tell which test images the int8 file of a model folder gets right."""
    model = Model.load(folder)
    content = tflite.to_int8(model.net, model.spec, None, model.codes)
    answers = classify(Classifier(content), images.test).argmax(axis=1)
    return answers == images.dataset.test.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--part", type=float, default=0.5, help="of what int8 takes")
    parser.add_argument("--out", type=Path, default=Path("runs/budget"))
    options = parser.parse_args()
    folder, out = options.folder, options.out
    config = with_epochs(config_of(folder, options.data, "deep-compression"), options.epochs)
    int8 = compressed(folder, config_of(folder, options.data, "int8"), out / "int8")["stages"][-1]
    budget_bytes = int(options.part * int8["stored_bytes"])
    chosen = compressed(folder, config, out / "budget", budget_bytes)["stages"][-1]
    model = Model.load(folder)
    images = open_images_of(model, config)
    drafts = Drafts(model, images, config.compress)
    right = right_answers(out / "budget", images)
    print("| recipe | zeros | values | stored, bytes | top-1 | --budget is better by, points |")
    print("|---|---|---|---|---|---|")
    print(f"| int8 | 0.0 % | 255 | {int8['stored_bytes']:,} | {int8['top1']:.2%} | |")
    print(
        f"| --budget {budget_bytes} | by layer | by layer | {chosen['stored_bytes']:,} | ", end=""
    )
    print(f"{chosen['top1']:.2%} | |", flush=True)
    for clusters in CLUSTERS:
        sparsity, choice = uniform(drafts, clusters, chosen["stored_bytes"])
        own = out / f"uniform-{clusters}"
        recipe = config.model_copy(update={"compress": drafts.recipe(choice)})
        measured = compressed(folder, recipe, own)["stages"][-1]
        gain, low, high = paired_loss(right, right_answers(own, images))
        print(
            f"| uniform | {sparsity:.0%} | {clusters} | {measured['stored_bytes']:,} | "
            f"{measured['top1']:.2%} | {gain:+.2f} ({low:+.2f} to {high:+.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
