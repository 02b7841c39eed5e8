"""Updates kept small by `compress --near`: the second table of docs/evidence/updates.md.

    python benchmarks/near_updates.py --data cifar10 [--nets NAME ...] [--out runs/near]

Each net of the package on CIFAR-10 is fine-tuned for an epoch on a tenth of the training images, as
a whole at Adam 1e-4, as in benchmarks/deltas.py. The base is its int8 file before. The update is
made of the fine-tuned net twice: by the recipe int8, which knows nothing of the base, and by
`compress --near` with budgets that are shares of the full package. DATA is a folder with
{train,test}/CLASS/*.png; only the tenth is learned from. Top-1 is that of the `.tflite` on all test
images, with its interval of 95 %. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deltas import NETS, NEW_IMAGES, UPDATES, fine_tuned

import edgenets as en
from edgenets.data.sources import open_dataset
from edgenets.files import read_json
from edgenets.models.folder import SPEC, Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.near import content_of
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.package.epk import pack, unpack

SHARES = (None, 0.01)  # of the full package that an update may take; None: no budget
TUNING = UPDATES[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/near"))
    options = parser.parse_args()
    data = a_tenth(options.data, options.out / "images")
    print("| net | update | update, bytes | share of the full package | top-1, % | 95 % interval |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    for name in options.nets:
        out = options.out / name
        model = en.Model.load(PRETRAINED / f"cifar10_{name}")
        base = compressed(model, data, out / "base", recipe="int8")
        tuned = fine_tuned_folder(name, data, out / "tuned")
        full = compressed(tuned, data, out / "int8", recipe="int8")
        old = content(base)
        whole = len(pack(content(full)))
        print_row(name, "none", base, 0, whole)
        print_row(name, "int8, full package", full, whole, whole)
        print_row(name, "int8, changes", full, update_bytes(full, old), whole)
        for share in SHARES:
            asked = "no budget" if share is None else f"budget {share}"
            folder = out / f"near-{asked.replace(' ', '-')}"
            budget = None if share is None else round(share * whole)
            near = compressed(tuned, data, folder, near=base.folder, update_budget=budget)
            print_row(name, f"near, {asked}", near, update_bytes(near, old), whole)


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


def update_bytes(model: en.Model, old: bytes) -> int:
    """Return what the package of changes takes, which gives the file back."""
    new = content(model)
    delta = pack(new, base=old)
    assert unpack(delta, base=old) == new
    return len(delta)


def print_row(net: str, update: str, model: en.Model, size: int, whole: int) -> None:
    last = read_json(model.folder / MEASURED)["stages"][-1]
    low, high = (100 * end for end in last["ci95"])
    print(
        f"| {net} | {update} | {size:,} | {size / whole:.3f} | {100 * last['top1']:.2f} | "
        f"{low:.2f} to {high:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
