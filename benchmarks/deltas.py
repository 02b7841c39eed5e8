"""Updates as packages of changes: the table of docs/evidence/deltas.md.

    python benchmarks/deltas.py --data cifar10 [--nets NAME ...] [--out runs/deltas]

Each net of the package on CIFAR-10 is fine-tuned for one epoch on a tenth of the training images,
5,000 that are the same for all: its last layer alone, and as a whole at two learning rates, with
BatchNorm in training. The int8 files before and after are calibrated on the same 200 images. For
each update: how many of the 8-bit codes differ, the full package, the package of changes, what
others make of the new file, `xz` without the old one, and top-1 of the float net before and after.
Stopped, the same command goes on after the last finished update.
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import bsdiff4
import numpy as np
import zstandard
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.sources import open_dataset
from edgenets.data.splits import balanced_sample
from edgenets.export.write.tflite import to_int8
from edgenets.files import read_bytes, read_json, write_bytes, write_json
from edgenets.models.backend import keras
from edgenets.models.folder import Model
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.quantize.layers import kernel_axes
from edgenets.quantize.package.epk import pack, unpack

NETS = ("mobilenet_v1", "shufflenet_v2", "squeezenet", "xception")
NEW_IMAGES, CALIBRATION_IMAGES, BATCH = 5000, 200, 64


class Update(NamedTuple):
    """A fine-tuning."""

    name: str
    learning_rate: float  # of Adam
    last_only: bool


UPDATES = (
    Update("last layer", 1e-4, True),
    Update("all, 1e-5", 1e-5, False),
    Update("all, 1e-4", 1e-4, False),
)


class Sizes(NamedTuple):
    """What an update takes, in bytes."""

    changed: float  # the share of codes that differ
    full: int
    delta: int
    xz: int
    bsdiff4: int
    zstd: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/deltas"))
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    columns = ("net", "update", "codes changed", "full", "delta", "share", "xz -9e", "bsdiff4")
    print(f"| {' | '.join(columns)} | zstd --patch-from | top-1 |")
    print(f"|---|---|{'---:|' * 8}", flush=True)
    for name in options.nets:
        model = Model.load(PRETRAINED / f"cifar10_{name}")
        config = check_config({"model": model.spec.net}, lambda place: "the benchmark")
        images = RunImages(dataset, model.spec.preparation, config)
        old = file_of(model, images, options.out / name / "base.tflite")
        for update in UPDATES:
            folder = options.out / name / update.name.replace(", ", "-").replace(" ", "-")
            if not (folder / "result.json").exists():
                tuned = fine_tuned(model, images, update)
                new = file_of(tuned, images, folder / "new.tflite")
                top1 = [accuracy(each, images) for each in (model, tuned)]
                write_json(folder / "result.json", {**measure(new, old)._asdict(), "top1": top1})
            print_row(name, update, read_json(folder / "result.json"))


def fine_tuned(model: Model, images: RunImages, update: Update) -> Model:
    """Return the model after an epoch on new images."""
    net = keras.models.clone_model(model.net)
    net.set_weights(model.net.get_weights())
    if update.last_only:
        *_, last = (layer for layer in net.layers if kernel_axes(layer))
        for layer in net.layers:
            layer.trainable = layer is last
    chosen = balanced_sample(images.training.labels, NEW_IMAGES, seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(update.learning_rate), loss)
    keras.utils.set_random_seed(0)
    pixels = images.training.images.take(chosen).astype(np.float32) / 127.5 - 1
    net.fit(pixels, images.training.labels[chosen], BATCH, epochs=1, verbose=0)
    return Model(net, model.spec)


def file_of(model: Model, images: RunImages, path: Path) -> bytes:
    """Return the model's int8 file, from its path if it is there."""
    if not path.exists():
        calibration = images.calibration(CALIBRATION_IMAGES)
        write_bytes(path, to_int8(model.net, model.spec, calibration))
    return read_bytes(path)


def accuracy(model: Model, images: RunImages) -> float:
    """Return top-1 of a float net on the test images, in per cent."""
    return 100 * images.score(predict_logits(compile_inference(model.net), images.test))["top1"]


def measure(new: bytes, old: bytes) -> Sizes:
    """Return what an update takes; each comes back as it was."""
    delta = pack(new, base=old)
    assert unpack(delta, base=old) == new
    codes = [flat_codes(each) for each in (new, old)]
    return Sizes(
        changed=float(np.mean(codes[0] != codes[1])),
        full=len(pack(new)),
        delta=len(delta),
        xz=len(lzma.compress(new, preset=9 | lzma.PRESET_EXTREME)),
        bsdiff4=len(bsdiff4.diff(old, new)),
        zstd=len(zstd_patch(new, old)),
    )


def flat_codes(content: bytes) -> NDArray[np.int8]:
    """Return all 8-bit weights of a file, one after the other."""
    tensors = flatbuffer.read(content).weights
    return np.concatenate([t.content.ravel() for t in tensors if t.dtype == "int8"])


def zstd_patch(new: bytes, old: bytes) -> bytes:
    """Return what `zstd -19 --patch-from` makes: the old file is what the window begins with."""
    window = max(len(old), len(new)).bit_length() + 1
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window, enable_ldm=True
    )
    base = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    make: Callable[[bytes], bytes] = zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=base
    ).compress
    return make(new)


def print_row(net: str, update: Update, result: dict[str, float]) -> None:
    sizes = [f"{result[key]:,}" for key in ("full", "delta", "xz", "bsdiff4", "zstd")]
    share = f"{result['delta'] / result['full']:.3f}"
    before, after = result["top1"]
    cells = (net, update.name, f"{result['changed']:.1%}", *sizes[:2], share, *sizes[2:])
    print(f"| {' | '.join(cells)} | {before:.2f} to {after:.2f} |", flush=True)


if __name__ == "__main__":
    main()
