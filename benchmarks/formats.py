"""What each number format costs: bytes, accuracy, closeness to Keras, latency of trained nets.

    python benchmarks/formats.py --data cifar10 [MODEL_DIR ...] [--out runs/formats]

Without MODEL_DIR, the four nets in the package. DATA/train calibrates (200 images, seed 0, as
`edgenets export` does), all of DATA/test is evaluated, once. Each row is kept in the folder --out
when it is measured; started again, the command goes on. It prints the tables of
docs/evidence/formats.md: of files that passed their checks, or why there is none.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from edgenets.data.dataset import Dataset
from edgenets.data.sources import open_dataset
from edgenets.data.splits import balanced_sample
from edgenets.errors import EdgenetsError
from edgenets.export.formats import FORMATS
from edgenets.export.measure.accuracy import classify, score
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.promises import measure_fidelity, random_images
from edgenets.export.write.checked_file import export_checked
from edgenets.files import read_json, sha256_file, write_bytes, write_json
from edgenets.models.folder import WEIGHTS, Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.quantize.sizes.counts import stored_bytes

CALIBRATION_IMAGES = 200
SEED = 0
HEADER = (
    "| format | bytes | stored, bytes | top-1 | same answer | dB | dB on noise | fastest, ms |",
    "|---|---|---|---|---|---|---|---|",
)


def measure_keras(folder: Path, dataset: Dataset) -> dict[str, Any]:
    loaded = Model.load(folder)
    model, spec = loaded.net, loaded.spec
    logits = predict_logits(compile_inference(model), dataset.test.load(spec.preparation))
    return {"top1": score(logits, dataset.test.labels, spec.labels)["top1"]}


def measure(name: str, folder: Path, dataset: Dataset, out: Path) -> dict[str, Any]:
    """Export in one format and measure the file, which is left in `out`."""
    loaded = Model.load(folder)
    model, spec, codes = loaded.net, loaded.spec, loaded.codes
    chosen = balanced_sample(dataset.train.labels, CALIBRATION_IMAGES, SEED)
    images = dataset.train.subset(chosen).load(spec.preparation).take(range(len(chosen)))
    try:
        exported = export_checked(FORMATS[name], model, spec, images, codes)
    except EdgenetsError as error:
        return {"error": str(error)}
    content, fidelity = exported.content, exported.fidelity
    file = out / f"{folder.name}_{name}.tflite"
    write_bytes(file, content)
    noise = random_images(spec.preparation.resolution)
    of_noise = measure_fidelity(content, noise, predict_logits(compile_inference(model), noise))
    logits = classify(Classifier(content), dataset.test.load(spec.preparation))
    return {
        "size_bytes": len(content),
        "stored_bytes": stored_bytes(content),
        "top1": score(logits, dataset.test.labels, spec.labels)["top1"],
        "fidelity": fidelity._asdict(),
        "noise_snr_db": of_noise.snr_db,
        "fastest_ms": min(benchmark_file(file, min_seconds=0.5).samples_ms),
    }


def once(path: Path, key: str, work: Any) -> dict[str, Any]:
    """Return what `path` holds of the weights `key`, or do the work and keep it there."""
    if path.exists() and (kept := read_json(path))["weights_sha256"] == key:
        return kept
    write_json(path, {"weights_sha256": key, **work()})
    return read_json(path)


def print_row(name: str, row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"| {name} | {row['error']} | | | | | | |", flush=True)
        return
    fidelity = row["fidelity"]
    print(
        f"| {name} | {row['size_bytes']:,} | {row['stored_bytes']:,} | {100 * row['top1']:.2f} | "
        f"{100 * fidelity['agreement']:.1f} | {fidelity['snr_db']:.1f} | "
        f"{row['noise_snr_db']:.1f} | {row['fastest_ms']:.3g} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--data", required=True, help="the images that the nets were trained on")
    parser.add_argument("--out", type=Path, default=Path("runs/formats"))
    options = parser.parse_args()
    dataset = open_dataset(options.data, seed=SEED)
    for folder in options.folders or sorted(PRETRAINED.glob("cifar10_*")):
        kept, key = options.out / folder.name, sha256_file(folder / WEIGHTS)
        keras = once(kept / "keras.json", key, partial(measure_keras, folder, dataset))
        print(
            f"\n{folder.name}: the Keras model's top-1 is {100 * keras['top1']:.2f} on "
            f"{len(dataset.test)} images.\n"
        )
        print("\n".join(HEADER), flush=True)
        for name in FORMATS:
            work = partial(measure, name, folder, dataset, kept)
            print_row(name, once(kept / f"{name}.json", key, work))


if __name__ == "__main__":
    main()
