"""Half the instructions by fewer channels: the table of docs/evidence/slim.md.

    edgenets doctor --setup-emulator
    python benchmarks/slim.py --data cifar10 [--out DIR] [--speedup 2.1] [--epochs 20] [NET ...]

Each CIFAR-10 net of the package is slimmed for the Cortex-A76 of a Raspberry Pi 5, trained with the
net as it was for a teacher, and its integers are settled. Instructions are those that the int8 file
executes on the emulated cores, beside those of the same net's plain int8 file; top-1 is that of
both files on all of DATA/test, and the loss between them has a paired 95 % interval. Channels and
best epoch are chosen on training images only. Stopped, the command goes on. With --untrained only
instructions are counted, of nets that are not trained after it: counts do not depend on weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deep_compression import compress, exported, format_loss, is_right

from edgenets.data.sources import open_dataset
from edgenets.data.splits import CALIBRATION_IMAGES, balanced_sample
from edgenets.export.measure.instructions import count_contents
from edgenets.export.write import tflite
from edgenets.files import read_json, sha256_bytes, write_json
from edgenets.models.folder import Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.quantize.slim.choice import slim_net
from edgenets.quantize.slim.cost import estimate_net

NETS = ("mobilenet_v1", "shufflenet_v2", "squeezenet")
CORES = ("cortex-a72", "cortex-a76")
FINE_TUNING = {
    "batch_size": 128,
    "augment": 0.5,
    "distillation": {"alpha": 0.9, "temperature": 4.0},
}
COUNTED = tuple(f"{core} {cell}" for core in CORES for cell in ("int8", "slim", "ratio"))
COLUMNS = (
    *("net", "int8 top-1", "slim top-1", "loss", "int8 bytes", "slim bytes", *COUNTED),
    f"ratio by estimate, {CORES[-1]}",
)
UNTRAINED = ("net", "parameters", "slim parameters", *COUNTED)


def made(name: str, stages: list[dict[str, object]], data: str, out: Path) -> bytes:
    """Return the int8 file of a recipe; a finished one is taken from its folder."""
    if not (out / MEASURED).exists():
        compress(PRETRAINED / f"cifar10_{name}", stages, data, out)
    return exported(out)


def counts(content: bytes, kept: Path) -> dict[str, int]:
    """Return the instructions of a file by core; counted ones are kept beside its folder."""
    stored = read_json(kept) if kept.exists() else {}
    if stored.get("sha256") != sha256_bytes(content):
        found = {core: count_contents({"file": content}, core)["file"] for core in CORES}
        stored = {"sha256": sha256_bytes(content), "instructions": found}
        write_json(kept, stored)
    instructions: dict[str, int] = stored["instructions"]
    return instructions


def trained(name: str, data: str, out: Path, speedup: float, epochs: int) -> list[str]:
    """Return a row: what the slimmed net loses and saves."""
    slim = {"stage": "slim", "target": "rpi5", "speedup": speedup, "epochs": epochs}
    recipes = {"int8": [{"stage": "int8"}], "slim": [slim | FINE_TUNING, {"stage": "int8"}]}
    files, counted, right = {}, {}, {}
    for row, stages in recipes.items():
        folder = out / f"{name}_{row}"
        files[row] = made(name, stages, data, folder)
        counted[row] = counts(files[row], folder / "instructions.json")
        right[row] = is_right(folder, data, files[row])
    measured = read_json(out / f"{name}_slim" / MEASURED)["stages"]
    (estimated,) = (stage["instructions"] for stage in measured if stage["name"] == "slim")
    cells = [name, *(f"{100 * right[row].mean():.2f}" for row in recipes)]
    cells += [format_loss(right["int8"], right["slim"])]
    cells += [f"{len(files[row]):,}" for row in recipes]
    for core in CORES:
        cells += ratio(*(counted[row][core] for row in recipes))
    return [*cells, f"{estimated['after'] / estimated['before']:.3f}"]


def untrained(name: str, data: str, out: Path, speedup: float) -> list[str]:
    """Return a row of instructions alone, of the net as it is when its training begins."""
    folder = PRETRAINED / f"cifar10_{name}"
    model = Model.load(folder)
    train = open_dataset(data, seed=0).train
    chosen = train.subset(balanced_sample(train.labels, CALIBRATION_IMAGES, 0))
    pixels = chosen.load(model.spec.preparation).take(range(len(chosen)))
    most = estimate_net(model.net, CORES[-1]) / speedup
    small = slim_net(model.net, CORES[-1], most, pixels, 0)
    before, after = (
        counts(tflite.to_int8(net, model.spec, pixels), out / f"{name}_{row}_untrained.json")
        for row, net in (("int8", model.net), ("slim", small))
    )
    cells = [name, f"{model.net.count_params():,}", f"{small.count_params():,}"]
    return cells + [cell for core in CORES for cell in ratio(before[core], after[core])]


def ratio(before: int, after: int) -> tuple[str, str, str]:
    return f"{before:,}", f"{after:,}", f"{after / before:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET")
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=Path("runs/slim"))
    # Above 2, for an estimate is some per cent off.
    parser.add_argument("--speedup", type=float, default=2.1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--untrained", action="store_true", help="count instructions only")
    options = parser.parse_args()
    columns = UNTRAINED if options.untrained else COLUMNS
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    for name in options.nets:
        if options.untrained:
            cells = untrained(name, options.data, options.out, options.speedup)
        else:
            cells = trained(name, options.data, options.out, options.speedup, options.epochs)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
