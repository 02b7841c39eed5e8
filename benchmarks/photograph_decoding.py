"""Time the preparation of photographs of 12 megapixels: decoded whole, and at JPEG's reduced scale.

The photographs are made here, of gradients and noise. Both ways check every file, as is done when a
folder is opened, and prepare every image for a net; they take turns, so that a busy machine slows
both.

python benchmarks/photograph_decoding.py                 # 500 photographs, of which 20 files differ
python benchmarks/photograph_decoding.py --images 60     # the same ratio in a minute
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from edgenets.data.images import Preparation, load_prepared, load_rgb, prepare
from edgenets.data.loading import map_in_threads

SIZE = (4000, 3000)
QUALITY = 90
DIFFERENT = 20
AT_ONCE = 20


def save_photograph(path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (SIZE[1] // 32, SIZE[0] // 32, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
    noise = random.integers(-6, 7, (SIZE[1], SIZE[0], 3), dtype=np.int16)
    pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=QUALITY)


def whole(path: Path, preparation: Preparation) -> np.ndarray:
    load_rgb(path)
    return prepare(load_rgb(path), preparation)


def reduced(path: Path, preparation: Preparation) -> np.ndarray:
    load_rgb(path, needed=1)
    return load_prepared(path, preparation)


def seconds(
    way: Callable[[Path, Preparation], np.ndarray], files: list[Path], preparation: Preparation
) -> float:
    start = time.perf_counter()
    map_in_threads(lambda file: way(file, preparation), files)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500, metavar="N")
    parser.add_argument("--resolution", type=int, default=224, metavar="PIXELS")
    options = parser.parse_args()
    preparation = Preparation.default("", options.resolution)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{i}.jpg" for i in range(min(DIFFERENT, options.images))]
        for seed, file in enumerate(files):
            save_photograph(file, seed)
        megabytes = sum(file.stat().st_size for file in files) / len(files) / 1e6
        before = after = 0.0
        for start in range(0, options.images, AT_ONCE):
            count = min(AT_ONCE, options.images - start)
            part = [files[(start + i) % len(files)] for i in range(count)]
            before += seconds(whole, part, preparation)
            after += seconds(reduced, part, preparation)
        difference = np.abs(
            whole(files[0], preparation) - reduced(files[0], preparation).astype(int)
        )
    print(
        f"{options.images} photographs of {SIZE[0]} x {SIZE[1]} ({megabytes:.1f} MB) for "
        f"{options.resolution} pixels: whole {before:.1f} s, reduced {after:.1f} s, "
        f"{before / after:.1f}x as fast; a pixel differs by {difference.mean():.2f} of 255 levels"
    )


if __name__ == "__main__":
    main()
