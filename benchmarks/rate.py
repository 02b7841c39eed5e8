"""Plain int8 and the stage `rate` on trained and on compressed nets: a table of docs/rate.md.

    python benchmarks/rate.py --data cifar10 [MODEL_DIR ...] [--out runs/rate]

Without MODEL_DIR, the four nets in the package. Both files are calibrated on 200 training images;
`rate` meets its default bound on training images that it did not see otherwise. Accuracy is that of
the files in LiteRT on all of DATA/test; losses are against the Keras model of the folder, in
points, with their paired 95 % interval. Stopped, the command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.dataset import open_for_evaluation
from edgenets.export.checked import export_checked
from edgenets.export.evaluate import classify
from edgenets.export.formats import INT8
from edgenets.export.runtime import Classifier
from edgenets.models.folder import load_codes, load_model, load_spec
from edgenets.models.weights.initial import PRETRAINED
from edgenets.pipeline.compress import MEASURED, compress_folder
from edgenets.pipeline.config import check_config
from edgenets.quantize.package import pack
from edgenets.train.fit import compile_inference, predict_logits

STAGES = ("int8", "rate")
COLUMNS = ("net", "top-1", *(f"{stage} {cell}" for stage in STAGES for cell in (".epk", "loss")))


def compress(folder: Path, stage: str, data: str, out: Path) -> None:
    spec, _ = load_spec(folder)
    values = {"model": spec.net, "data": {"source": data}, "compress": [{"stage": stage}]}
    compress_folder(folder, check_config(values, lambda place: stage), out)


def exported(folder: Path) -> bytes:
    """Return the int8 file of a compressed folder."""
    model, spec = load_model(folder)
    return export_checked(INT8, model, spec, None, load_codes(folder, model)).content


def is_right(folder: Path, data: str, content: bytes | None = None) -> NDArray[np.bool_]:
    """Tell of each test image whether the folder's model, or else its file, is right."""
    model, spec = load_model(folder)
    split, _ = open_for_evaluation(data, spec.labels)
    images = split.load(spec.preparation)
    if content is None:
        logits = predict_logits(compile_inference(model), images)
    else:
        logits = classify(Classifier(content), images)
    return logits.argmax(axis=1) == split.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--data", required=True, help="the images that the nets were trained on")
    parser.add_argument("--out", type=Path, default=Path("runs/rate"))
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n" + "|---" * len(COLUMNS) + "|")
    for folder in options.folders or sorted(PRETRAINED.glob("cifar10_*")):
        right = is_right(folder, options.data)
        cells = [folder.name, f"{100 * right.mean():.2f}"]
        for stage in STAGES:
            out = options.out / f"{folder.name}_{stage}"
            if not (out / MEASURED).exists():
                compress(folder, stage, options.data, out)
            content = exported(out)
            lost = paired_loss(right, is_right(folder, options.data, content))
            cells += [f"{len(pack(content)):,}", "{:.2f} ({:.2f} to {:.2f})".format(*lost)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
