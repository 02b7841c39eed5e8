"""Updates kept small by `compress --near`: the second table of docs/evidence/updates.md.

    python benchmarks/near_updates.py --data cifar10 [--nets NAME ...] [--out runs/near]

Each net of the package on CIFAR-10 is fine-tuned for an epoch on a tenth of the training images, as
a whole at Adam 1e-4, as in benchmarks/deltas.py. The base is its int8 file before. The update is
made of the fine-tuned net: by the recipe int8, which knows nothing of the base; the same with the
base's scales wherever a channel's range still fits them, and its grids; and by `compress --near`
with budgets that are shares of the full package. Sizes are as in benchmarks/deltas.py. DATA is a
folder with {train,test}/CLASS/*.png; only the tenth is learned from. Top-1 is that of the `.tflite`
on all test images, with its interval of 95 %. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from deltas import NETS, NEW_IMAGES, UPDATES, fine_tuned, measure

import edgenets as en
from edgenets.data.sources import open_dataset
from edgenets.files import read_bytes, read_json, write_bytes, write_json
from edgenets.models.codes import LARGEST_CODE, Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import SPEC, Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.near import content_of
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.layers import assign_kernels, kernel_of
from edgenets.quantize.package.epk import pack
from edgenets.quantize.stages.int8 import quantize_kernels

SHARES = (None, 0.01)  # of the full package that an update may take; None: no budget
TUNING = UPDATES[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/near"))
    options = parser.parse_args()
    data = a_tenth(options.data, options.out / "images")
    columns = ("net", "update", "codes changed", "full", "delta", "share", "xz -9e", "bsdiff4")
    print(f"| {' | '.join(columns)} | zstd --patch-from | top-1, % | 95 % interval |")
    print(f"|---|---|{'---:|' * 9}", flush=True)
    for name in options.nets:
        out = options.out / name
        model = en.Model.load(PRETRAINED / f"cifar10_{name}")
        base = compressed(model, data, out / "base", recipe="int8")
        tuned = fine_tuned_folder(name, data, out / "tuned")
        full = compressed(tuned, data, out / "int8", recipe="int8")
        old, new = content(base), content(full)
        print_row(name, "none", old, old, top1_of(base))
        print_row(name, "int8", new, old, top1_of(full))
        path = on_scales_of(base, tuned, out / "base-scales.tflite")
        print_row(name, "int8, the base's scales", read_bytes(path), old, evaluated(path, data))
        takes = whole = len(pack(new))
        for share in SHARES:
            asked = "no budget" if share is None else f"budget {share}"
            folder = out / f"near-{asked.replace(' ', '-')}"
            budget = None if share is None else round(share * whole)
            if budget and takes <= budget:
                continue  # it holds without one
            near = compressed(tuned, data, folder, near=base.folder, update_budget=budget)
            takes = read_json(near.folder / MEASURED)["stages"][-1]["update_bytes"]
            print_row(name, f"near, {asked}", content(near), old, top1_of(near))


def a_tenth(data: Path, out: Path) -> Path:
    """Return a folder with links to the images that are learned from and those of the test."""
    for label in sorted((data / "train").iterdir()):
        own = out / "train" / label.name
        own.mkdir(parents=True, exist_ok=True)
        for image in sorted(label.iterdir())[: NEW_IMAGES // 10]:
            if not (own / image.name).exists():
                (own / image.name).symlink_to(image.absolute())
    if not (out / "test").exists():
        (out / "test").symlink_to((data / "test").absolute())
    return out


def fine_tuned_folder(name: str, data: Path, folder: Path) -> en.Model:
    """Return the net after an epoch on the images, from its folder if it is there."""
    if not (folder / SPEC).exists():
        model = Model.load(PRETRAINED / f"cifar10_{name}")
        config = check_config({"model": model.spec.net}, lambda place: "the benchmark")
        images = RunImages(open_dataset(str(data)), model.spec.preparation, config)
        fine_tuned(model, images, TUNING).save(folder)
    return en.Model.load(folder)


def compressed(model: en.Model, data: Path, folder: Path, **how: object) -> en.Model:
    """Return what `compress` makes of a model, from its folder if it is there."""
    if not (folder / SPEC).exists():
        model.compress(data, out=folder, **how)
    return en.Model.load(folder)


def content(model: en.Model) -> bytes:
    """Return the int8 file of a compressed model."""
    return content_of(Model.load(model.folder))


def on_scales_of(base: en.Model, tuned: en.Model, path: Path) -> Path:
    """Write the int8 file of a net on a base's scales, where no channel would be cut off."""
    if not path.exists():
        start, model = (Model.load(each.folder) for each in (base, tuned))
        net = fold_batch_norm(model.net)
        kernels = {}
        for name, own in quantize_kernels(net).items():
            kernel, scale = kernel_of(net.get_layer(name)).numpy(), start.kernels[name].scale
            axes = tuple(i for i, size in enumerate(scale.shape) if size == 1)
            fits = np.abs(kernel).max(axis=axes, keepdims=True) <= (LARGEST_CODE + 0.5) * scale
            kept = np.clip(np.rint(kernel / scale), -LARGEST_CODE, LARGEST_CODE)
            codes = np.where(fits, kept, own.codes).astype(np.int8)
            kernels[name] = KernelCodes(codes, np.where(fits, scale, own.scale))
        assign_kernels(net, kernels)
        codes_of_all = Codes(kernels, start.codes.activations)
        write_bytes(path, content_of(Model(net, start.spec, codes_of_all)))
    return path


def evaluated(path: Path, data: Path) -> dict[str, Any]:
    """Return the accuracy of a file on the test images, from beside it if it is there."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        write_json(beside, en.File(path).evaluate(data).to_json())
    return read_json(beside)


def top1_of(model: en.Model) -> dict[str, Any]:
    """Return the accuracy of a compressed model's file."""
    return read_json(model.folder / MEASURED)["stages"][-1]


def print_row(net: str, update: str, new: bytes, old: bytes, score: dict[str, Any]) -> None:
    sizes = measure(new, old)
    low, high = (100 * end for end in score["ci95"])
    cells = (net, update, f"{sizes.changed:.2%}", f"{sizes.full:,}", f"{sizes.delta:,}")
    cells += (f"{sizes.delta / sizes.full:.3f}", f"{sizes.xz:,}", f"{sizes.bsdiff4:,}")
    cells += (f"{sizes.zstd:,}", f"{100 * score['top1']:.2f}", f"{low:.2f} to {high:.2f}")
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
