"""Plain int8 and the stage `rate` on trained and compressed nets: a table of docs/evidence/rate.md.

    python benchmarks/rate.py --data cifar10 [MODEL_DIR ...] [--out runs/rate]

Without MODEL_DIR, the four nets in the package. Both files are calibrated on 200 training images;
`rate` meets its default bound on training images that it did not see otherwise. Accuracy is that of
the files in LiteRT on all of DATA/test; losses are against the Keras model of the folder, in
points, with their paired 95 % interval. Stopped, the command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deep_compression import compress, exported, format_loss, is_right

from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.quantize.package.epk import pack

STAGES = ("int8", "rate")
COLUMNS = ("net", "top-1", *(f"{stage} {cell}" for stage in STAGES for cell in (".epk", "loss")))


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
                compress(folder, [{"stage": stage}], options.data, out)
            content = exported(out)
            loss = format_loss(right, is_right(folder, options.data, content))
            cells += [f"{len(pack(content)):,}", loss]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
