"""SqueezeNet's table 2 from the paper's own weights, without training: bytes against accuracy.

    python benchmarks/squeezenet_table2.py squeezenet_deep_compression.net imagenet500

The images are one of every second class of ImageNet, `test/WNID/NNNN.jpg`, NNNN the class. Those of
which NNNN / 2 is divisible by 5 calibrate; everything is measured on the other ones, in LiteRT, and
nothing is chosen by them. Differences are against the float file, with their paired 95 % intervals.
Writes docs/evidence/rate.svg and prints the table of docs/evidence/rate.md; stopped, it goes on.

    python benchmarks/squeezenet_table2.py --folders runs/deep-compression/*

prints instead what the int8 files of compressed model folders take, as they are and packed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from paired import paired_loss

from edgenets.data.sources import open_for_evaluation
from edgenets.export.measure.classifier import Classifier
from edgenets.export.metadata import with_description
from edgenets.export.write import tflite
from edgenets.export.write.checked_file import float_file
from edgenets.files import read_bytes, replacing, write_bytes
from edgenets.flatbuffer import File
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec, weights_sha256
from edgenets.models.logits import mean_divergence
from edgenets.models.weights.initial import load_weights
from edgenets.pipeline.rate_search import Attempt, prepare
from edgenets.quantize.package.epk import pack

PLOT = Path(__file__).parents[1] / "docs" / "evidence" / "rate.svg"
ALEXNET_BYTES = 240_000_000
PRICES = (6e-8, 1.5e-7, 3e-7, 5.4e-7, 8e-7, 1.5e-6)  # nats of KL divergence that a bit may cost
PAPER = {"8 bits": 0.66e6, "6 bits": 0.47e6}  # bytes of table 2, of 240 MB 363x and 510x
COLUMNS = (
    *("what", "bytes", "under AlexNet", "top-1", "difference", "top-5", "difference"),
    *("same answer", "KL, nats"),
)
MEASURES = {  # of the plot: label of the axis, whether smaller is better
    "kl": "mean KL divergence from float, nats",
    "agreement": "same answer as float, %",
    "top1": "top-1, %",
    "top5": "top-5, %",
}


class Images(NamedTuple):
    """What is calibrated with and what is measured on."""

    calibration: NDArray[np.uint8]
    evaluation: NDArray[np.uint8]
    labels: NDArray[np.int64]  # of the evaluation


class Row(NamedTuple):
    """One line of the table."""

    name: str
    size_bytes: int
    logits: NDArray[np.float32]


def open_images(source: str, spec: Spec) -> Images:
    split = open_for_evaluation(source, spec.labels).split
    numbers = np.array([int(Path(str(path)).stem) for path in split.sources])
    chosen = numbers // 2 % 5 == 0
    images = split.load(spec.preparation)
    return Images(
        images.take(np.flatnonzero(chosen)),
        images.take(np.flatnonzero(~chosen)),
        split.labels[~chosen],
    )


def measure(weights: Path, source: str, out: Path) -> tuple[list[Row], NDArray[np.int64]]:
    """Return the rows of the table, float first, and the labels of their images."""
    loaded = load_weights(str(weights), "squeezenet", {}, seed=0)
    model, spec = loaded.net, loaded.spec
    images = open_images(source, spec)

    @cache
    def coder() -> Callable[[float], Attempt]:
        calibration = images.calibration
        folded = Model(fold_batch_norm(model), spec)
        return prepare(folded, calibration, calibration, flip=True, seed=0)

    def rated(price: float) -> bytes:
        return coder()(price).content

    makers: dict[str, Callable[[], bytes]] = {
        "float32": lambda: float_file(model, spec),
        "int8": lambda: _described(model, spec, tflite.to_int8(model, spec, images.calibration)),
        **{name_of(price): partial(rated, price) for price in PRICES},
    }
    found: dict[str, tuple[bytes, NDArray[np.float32]]] = {}
    for name, make in makers.items():
        file, answers = out / f"{name}.tflite", out / f"{name}.npy"
        if not file.exists():
            write_bytes(file, make())
        if not answers.exists():
            with replacing(answers) as partial_file, partial_file.open("wb") as stream:
                np.save(stream, Classifier(read_bytes(file)).logits(images.evaluation))
        found[name] = read_bytes(file), np.load(answers)
    content, reference = found["float32"]
    authors = read_bytes(weights)
    rows = [
        Row("float32 .tflite", len(content), reference),
        Row("its .epk", len(pack(content)), reference),
        Row("the authors' file", len(authors), reference),
        Row("its .epk", len(pack(authors)), reference),
    ]
    content, logits = found["int8"]
    rows += [Row("int8 .tflite", len(content), logits)]
    rows += [Row("its .epk", len(pack(content)), logits)]
    for price in PRICES:
        content, logits = found[name_of(price)]
        rows.append(Row(f"{name_of(price)} .epk", len(pack(content)), logits))
    return rows, images.labels


def _described(model: keras.Model, spec: Spec, named: bytes) -> bytes:
    """Return a converted file as it is kept."""
    return with_description(File(named), spec, weights_sha256(model)).content


def name_of(price: float) -> str:
    return f"rate, price {price:g}".replace("e-0", "e-")


def right(logits: NDArray[np.float32], labels: NDArray[np.int64], top: int) -> NDArray[np.bool_]:
    """Tell of which images the class is among the first answers."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return (best == labels[:, np.newaxis]).any(axis=1)


def values_of(row: Row, reference: Row, labels: NDArray[np.int64]) -> dict[str, float]:
    same = row.logits.argmax(axis=1) == reference.logits.argmax(axis=1)
    return {
        "kl": mean_divergence(reference.logits, row.logits),
        "agreement": 100 * same.mean(),
        "top1": 100 * right(row.logits, labels, 1).mean(),
        "top5": 100 * right(row.logits, labels, 5).mean(),
    }


def table(rows: list[Row], labels: NDArray[np.int64]) -> str:
    """Return the table in Markdown; differences in points, positive where the file is worse."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        values = values_of(row, rows[0], labels)
        cells = [row.name, f"{row.size_bytes:,}", f"{ALEXNET_BYTES / row.size_bytes:.0f}x"]
        for top in (1, 5):
            cells.append(f"{values[f'top{top}']:.2f}")
            both = (right(each.logits, labels, top) for each in (rows[0], row))
            changed = row.logits is not rows[0].logits
            loss = "{:+.2f} ({:+.2f} to {:+.2f})".format(*paired_loss(*both))
            cells.append(loss if changed else "")
        cells += [f"{values['agreement']:.2f} %", f"{values['kl']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(rows: list[Row], labels: NDArray[np.int64]) -> Figure:
    """Draw each measure over the bytes: the packages at their prices, and int8 for comparison.

    Bars are the 95 % intervals of the paired differences to float.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    rated = [row for row in rows if row.name.startswith("rate")]
    plain = [row for row in rows if row.name == "int8 .tflite" or row is _packed_int8(rows)]
    for axes, (key, label) in zip(panels.flat, MEASURES.items(), strict=True):
        for chosen, name, style in (
            (rated, "rate, packed", {"marker": "o", "color": "#123f73"}),
            (plain, "int8, as it is and packed", {"marker": "s", "color": "#e07b39"}),
        ):
            points = [
                (row.size_bytes / 1e3, values_of(row, rows[0], labels)[key]) for row in chosen
            ]
            axes.plot(*zip(*points, strict=True), label=name, **style)
            if key.startswith("top"):
                bars = [_interval(row, rows[0], labels, int(key[-1])) for row in chosen]
                axes.errorbar(
                    *zip(*points, strict=True), bars, fmt="none", ecolor=style["color"], capsize=2
                )
        if key.startswith("top"):
            level = values_of(rows[0], rows[0], labels)[key]
            axes.axhline(level, color="#6b6b6b", linewidth=0.8, label="float")
            axes.legend(frameon=False)
        for name, size_bytes in PAPER.items():
            axes.axvline(size_bytes / 1e3, color="#b0b0b0", linestyle=":", linewidth=1)
            if key == "kl":
                text = f" paper, {name}"
                top = axes.get_ylim()[1]
                axes.text(size_bytes / 1e3, top, text, va="top", fontsize=8, color="#6b6b6b")
        axes.set_ylabel(label)
        axes.set_xscale("log")
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1]:
        axes.set_xlabel("bytes / 1000 (logarithmic)")
        axes.set_xticks(
            [300, 400, 500, 700, 1000, 1400], ["300", "400", "500", "700", "1000", "1400"]
        )
        axes.minorticks_off()
    panels[0, 0].legend(frameon=False)
    return figure


def _interval(row: Row, reference: Row, labels: NDArray[np.int64], top: int) -> float:
    """Return half the 95 % interval of the paired difference to the reference, in points."""
    loss, low, _ = paired_loss(*(right(each.logits, labels, top) for each in (reference, row)))
    return loss - low


def _packed_int8(rows: list[Row]) -> Row:
    (place,) = (i for i, row in enumerate(rows) if row.name == "int8 .tflite")
    return rows[place + 1]


def describe_folders(folders: list[Path]) -> str:
    """Return a table of the int8 files of compressed model folders."""
    lines = ["| net | .tflite | .epk | part |", "|---|---|---|---|"]
    for folder in folders:
        content = exported(Model.load(folder))
        package = len(pack(content))
        part = f"{100 * package / len(content):.1f} %"
        lines.append(f"| {folder.name} | {len(content):,} | {package:,} | {part} |")
    return "\n".join(lines)


def exported(model: Model) -> bytes:
    """Return the int8 file of a compressed model."""
    content = tflite.to_int8(model.net, model.spec, None, model.codes)
    return _described(model.net, model.spec, content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="?", type=Path, help="squeezenet_deep_compression.net")
    parser.add_argument("images", nargs="?", help="imagenet500")
    parser.add_argument("--out", type=Path, default=Path("runs/squeezenet_table2"))
    parser.add_argument("--folders", nargs="+", type=Path, metavar="MODEL_DIR")
    options = parser.parse_args()
    if options.folders:
        print(describe_folders(options.folders))
        return
    if not options.images:
        parser.error("pass the weights and the images, or --folders")
    options.out.mkdir(parents=True, exist_ok=True)
    rows, labels = measure(options.weights, options.images, options.out)
    with rc_context({"svg.hashsalt": "edgenets", "svg.fonttype": "none"}):
        draw(rows, labels).savefig(PLOT, metadata={"Date": None})
    print(table(rows, labels))


if __name__ == "__main__":
    main()
