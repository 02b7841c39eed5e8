"""The built-in dataset: handwritten digits, 1,797 images of 8 x 8 pixels, with scikit-learn.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, test part.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from edgenets.data.dataset import Dataset, Split, fingerprint
from edgenets.data.splits import balanced_sample
from edgenets.files import read_bytes, sha256_bytes
from edgenets.packages import missing_package

RESOLUTION = 32
TEST_IMAGES = 360  # 36 of each digit; the other 1,437 are for training
SPLIT_SEED = 0  # never the caller's: results on digits are comparable between runs


def digits() -> Dataset:
    """Return the digits as RGB images of 32 x 32 pixels, split into 1,437 and 360.

    Values 0..16 become round(value * 255 / 16) and 8 x 8 pixels are enlarged bilinearly. The test
    images are `balanced_sample(labels, 360, seed=0)`, whatever seed the caller trains with.

    Raises:
        EdgenetsError: scikit-learn is not installed.
    """
    values, labels = _read()
    greys = np.rint(values * 255 / 16).astype(np.uint8)
    size = (RESOLUTION, RESOLUTION)
    images = [
        np.array(Image.fromarray(grey).resize(size, Resampling.BILINEAR).convert("RGB"))
        for grey in greys
    ]
    everything = Split(tuple(images), labels.astype(np.int64))
    test = balanced_sample(labels, TEST_IMAGES, SPLIT_SEED)
    train = np.setdiff1d(np.arange(len(labels)), test)
    classes = tuple(str(digit) for digit in range(10))
    contents = [f"{sha256_bytes(image.tobytes())} {i}" for i, image in enumerate(images)]
    return Dataset(
        name="digits",
        classes=classes,
        train=everything.subset(train),
        test=everything.subset(test),
        skipped=(),
        fingerprint=fingerprint(classes, [contents[i] for i in train], [contents[i] for i in test]),
        flip=False,
    )


def _read() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images [1797, 8, 8] from 0 to 16, and their labels.

    What scikit-learn's `load_digits` returns, from its file: importing scikit-learn takes the
    processor longer than all else that is done with the digits.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise missing_package("scikit-learn")
    content = read_bytes(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz")
    rows: NDArray[Any] = np.loadtxt(gzip.decompress(content).decode().splitlines(), delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
