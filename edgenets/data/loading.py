"""Splits and their prepared pixels: decoded on all cores, kept in memory when they fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.errors import EdgenetsError
from edgenets.progress import Advance, progress_bar

MEMORY_SHARE = 0.25  # of the available memory, for the prepared pixels of one split
ASSUMED_MEMORY_BYTES = 2 * 2**30  # where the system does not say what is available
LARGEST_CHUNK = 32  # images that a thread takes at a time: Ctrl-C and the bar wait for them

UNLABELLED = -1  # in place of the class of an image that is not known

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their classes.

    Attributes:
        sources: image files, or pixels [height, width, 3].
        labels: [images], the index of each one's class, or `UNLABELLED`.
    """

    sources: tuple[Path | NDArray[np.uint8], ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sources)

    def subset(self, indices: NDArray[np.int64]) -> Split:
        """Return the images at `indices`, in that order."""
        return Split(tuple(self.sources[i] for i in indices), self.labels[indices])

    def __add__(self, other: Split) -> Split:
        """Return the images of both."""
        labels = np.concatenate([self.labels, other.labels])
        return Split((*self.sources, *other.sources), labels)

    def load(self, preparation: Preparation) -> Images:
        """Return the prepared pixels; they are read now if they fit in memory."""
        return Images(self, preparation)


class Images:
    """The prepared pixels of a split: in memory if they fit, else decoded at every `take`."""

    def __init__(self, split: Split, preparation: Preparation) -> None:
        self._sources = split.sources
        self._preparation = preparation
        self._pixels: NDArray[np.uint8] | None = None
        size_bytes = len(split) * preparation.resolution**2 * 3
        if size_bytes <= MEMORY_SHARE * available_memory_bytes():
            with progress_bar("Preparing images", len(split)) as advance:
                self._pixels = self._decode(np.arange(len(split)), advance)

    def __len__(self) -> int:
        return len(self._sources)

    def take(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the images at `indices`, [n, resolution, resolution, 3].

        Raises:
            EdgenetsError: a file cannot be read any more.
        """
        chosen = np.asarray(indices, np.int64)
        return self._decode(chosen) if self._pixels is None else self._pixels[chosen]

    def _decode(
        self, indices: NDArray[np.int64], advance: Advance | None = None
    ) -> NDArray[np.uint8]:
        resolution = self._preparation.resolution
        pixels = np.empty((len(indices), resolution, resolution, 3), np.uint8)

        def fill(row: int) -> None:
            pixels[row] = prepare(_open(self._sources[indices[row]]), self._preparation)

        map_in_threads(fill, range(len(indices)), advance)
        return pixels


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], advance: Advance | None = None
) -> list[Result]:
    """Return `function` of every item, in order, worked out on all cores.

    Threads are enough: Pillow, NumPy and hashlib release the lock while they work.
    """
    threads = os.cpu_count() or 1
    size = min(LARGEST_CHUNK, len(items) // (4 * threads) + 1)
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    pool = ThreadPoolExecutor(threads)
    results = []
    try:
        for chunk in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            results += chunk
            if advance:
                advance(len(chunk))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C the rest is not wanted
    return results


def available_memory_bytes() -> int:
    """Return how much memory this machine can give without swapping."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return ASSUMED_MEMORY_BYTES


def _open(source: Path | NDArray[np.uint8]) -> Image.Image:
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    try:
        return load_rgb(source)
    except EdgenetsError as error:
        raise EdgenetsError(f"{source} was readable before and is not now: {error}") from error
