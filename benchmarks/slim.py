"""Half the instructions by fewer channels: the table of docs/evidence/slim.md.

    edgenets doctor --setup-emulator
    python benchmarks/slim.py --data cifar10 [--out DIR] [--speedup 2.1] [--epochs 40] [NET ...]

Each CIFAR-10 net of the package is slimmed for the Cortex-A76 of a Raspberry Pi 5, trained with the
net as it was for a teacher, and its integers are settled: by `int8`, and by the stage `rate`, for a
package of at most `PART` of the bytes that smallest.py has for the whole net.
Instructions are those that the int8 file executes on the emulated cores, beside those of the same
net's plain int8 file; top-1 is that of the files on all of DATA/test, and losses to the plain one
have paired 95 % intervals. Channels, best epoch and price are chosen on training images only.
Stopped, the command goes on. With --untrained only instructions are counted, of nets that are not
trained after it: counts do not depend on weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deep_compression import compress, exported, format_loss, is_right
from smallest import NETS as WHOLE

from edgenets.data.sources import open_dataset
from edgenets.data.splits import CALIBRATION_IMAGES, balanced_sample
from edgenets.export.measure.instructions import count_contents
from edgenets.export.write import tflite
from edgenets.files import read_json, sha256_bytes, write_json
from edgenets.models.folder import Model
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.quantize.package.epk import pack
from edgenets.quantize.slim.choice import slim_net
from edgenets.quantize.slim.cost import estimate_net

NETS = ("mobilenet_v1", "shufflenet_v2", "squeezenet")
CORES = ("cortex-a72", "cortex-a76")
# The learning rates are those that the nets were made with.
FINE_TUNING = {
    "mobilenet_v1": {"learning_rate": 4e-3, "augment": 1.0},
    "shufflenet_v2": {"learning_rate": 4e-3, "augment": 1.0},
    "squeezenet": {"learning_rate": 1e-3, "augment": 0.5},
}
BATCH_SIZE = 128
DISTILLATION = {"alpha": 0.5, "temperature": 4.0}  # half of the loss is the teacher's
PART = 0.6
COUNTED = tuple(f"{core} {cell}" for core in CORES for cell in ("int8", "slim", "ratio"))
COLUMNS = (
    *("net", "int8 top-1", "slim top-1", "loss", "int8 bytes", "slim bytes", *COUNTED),
    *(f"ratio by estimate, {CORES[-1]}", "rate top-1", "loss", "rate .epk"),
)
UNTRAINED = ("net", "parameters", "slim parameters", *COUNTED)


def made(source: Path, stages: list[dict[str, object]], data: str, out: Path) -> Path:
    """Return the model folder that a recipe makes of one; a finished one is taken as it is."""
    if not (out / MEASURED).exists():
        compress(source, stages, data, out)
    return out


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
    whole = PRETRAINED / f"cifar10_{name}"
    slim = {"stage": "slim", "target": "rpi5", "speedup": speedup, "epochs": epochs}
    slim |= {"batch_size": BATCH_SIZE, "distillation": DISTILLATION} | FINE_TUNING[name]
    small = f"{name}_slim_{speedup:g}_{epochs}"
    float_slim = made(whole, [slim], data, out / small)
    rate = {"stage": "rate", "budget_bytes": int(PART * WHOLE[name].budget_bytes)}
    folders = {
        "int8": made(whole, [{"stage": "int8"}], data, out / f"{name}_int8"),
        "slim": made(float_slim, [{"stage": "int8"}], data, out / f"{small}_int8"),
        "rate": made(float_slim, [rate], data, out / f"{small}_rate"),
    }
    files = {row: exported(folder) for row, folder in folders.items()}
    right = {row: is_right(folders[row], data, content) for row, content in files.items()}
    counted = {
        row: counts(files[row], out / f"{folders[row].name}.json") for row in ("int8", "slim")
    }
    measured = read_json(float_slim / MEASURED)["stages"]
    (estimated,) = (stage["instructions"] for stage in measured if stage["name"] == "slim")
    cells = [name, *(f"{100 * right[row].mean():.2f}" for row in ("int8", "slim"))]
    cells += [format_loss(right["int8"], right["slim"])]
    cells += [f"{len(files[row]):,}" for row in ("int8", "slim")]
    for core in CORES:
        cells += ratio(counted["int8"][core], counted["slim"][core])
    cells += [
        f"{estimated['after'] / estimated['before']:.3f}",
        f"{100 * right['rate'].mean():.2f}",
    ]
    return [*cells, format_loss(right["int8"], right["rate"]), f"{len(pack(files['rate'])):,}"]


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
    parser.add_argument("--epochs", type=int, default=40)
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
