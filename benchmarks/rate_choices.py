"""What the parts of `rate` are worth on images not seen: a table of docs/evidence/rate.md.

    python benchmarks/rate_choices.py squeezenet_deep_compression.net imagenet500

The images are those that calibrate in squeezenet_table2.py, 100 of imagenet500. Each half of them
calibrates in turn; divergence is measured in LiteRT on the other half and three crops of each of
its images, in which no two halves have anything in common. Each variant is coded at two prices, and
its divergence told where the line through both has 335,000 bytes (the logarithms of both).
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from squeezenet_table2 import open_images

from edgenets.data.pixels import to_network
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model
from edgenets.models.weights.initial import load_weights
from edgenets.pipeline.rate_search import prepare
from edgenets.quantize.rate import curvature, layerwise
from edgenets.quantize.rate.curvature import vary

AT_BYTES = 335_000
SEED = 1


class Variant(NamedTuple):
    """What is changed of the method: the attribute of a module and its value, or nothing."""

    name: str
    prices: tuple[float, float]  # nats per bit, that give packages near AT_BYTES
    change: tuple[Any, str, Any] | None = None


VARIANTS = (
    Variant("as it is", (5.4e-7, 7.5e-7)),
    Variant("no crops of the images", (5.4e-7, 7.5e-7), (curvature, "VARIANTS", 1)),
    Variant("the last layer like the others", (3.2e-7, 4.4e-7), (layerwise, "LAST_PART", 1.0)),
    Variant(
        "weights do not move with their inputs",
        (5.4e-7, 7.5e-7),
        (layerwise, "_mend", lambda rows, *_: rows),
    ),
)


def diverge(
    variant: Variant,
    model: Model,
    calibration: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
) -> float:
    """Return the divergence, in nats, of a package of AT_BYTES."""
    with ExitStack() as stack:
        if variant.change:
            stack.enter_context(patch.object(*variant.change))
        attempt = prepare(model, calibration, held_out, flip=True, seed=SEED)
        found = [attempt(price) for price in variant.prices]
    sizes, kls = (np.log([getattr(each, key) for each in found]) for key in ("package_bytes", "kl"))
    slope = (kls[1] - kls[0]) / (sizes[1] - sizes[0])
    return float(np.exp(kls[0] + slope * (np.log(AT_BYTES) - sizes[0])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="squeezenet_deep_compression.net")
    parser.add_argument("images", help="imagenet500")
    options = parser.parse_args()
    loaded = load_weights(str(options.weights), "squeezenet", {}, seed=0)
    model = Model(fold_batch_norm(loaded.net), loaded.spec)
    images = open_images(options.images, model.spec).calibration
    halves = np.array_split(np.random.default_rng(SEED).permutation(len(images)), 2)
    print("| variant | first half | second half | geometric mean |\n|---|---|---|---|")
    for variant in VARIANTS:
        kls = []
        for calibrates, other in (halves, halves[::-1]):
            crops = vary(to_network(images[other]), flip=True, seed=SEED)
            held_out = np.clip(np.rint((crops + 1) * 127.5), 0, 255).astype(np.uint8)
            kls.append(diverge(variant, model, images[calibrates], held_out))
        cells = (*kls, float(np.exp(np.mean(np.log(kls)))))
        print(f"| {variant.name} | {' | '.join(f'{each:.4f}' for each in cells)} |", flush=True)


if __name__ == "__main__":
    main()
