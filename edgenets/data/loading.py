"""Splits and their prepared pixels: decoded on all cores, kept in memory or else on disk."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from edgenets.data.images import Preparation, load_prepared, prepare
from edgenets.errors import EdgenetsError
from edgenets.memory import bound_bytes
from edgenets.progress import Advance, progress_bar, say
from edgenets.units import format_bytes

DISK_SHARE = 0.5  # of the room on the disk, for those that do not fit in memory
DISK = "/var/tmp"  # unless TMPDIR says another folder; /tmp may be in memory
WRITTEN_AT_ONCE = 256  # images in memory on their way to the disk
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
        digests: the SHA-256 of each image, by which copies are known; None: they are no files.
    """

    sources: tuple[Path | NDArray[np.uint8], ...]
    labels: NDArray[np.int64]
    digests: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def subset(self, indices: NDArray[np.int64]) -> Split:
        """Return the images at `indices`, in that order."""
        digests = None if self.digests is None else tuple(self.digests[i] for i in indices)
        return Split(tuple(self.sources[i] for i in indices), self.labels[indices], digests)

    def without_copies(self, other: Split) -> Split:
        """Return the images that are not in `other`."""
        if self.digests is None or other.digests is None:
            return self
        known = set(other.digests)
        kept = [i for i, digest in enumerate(self.digests) if digest not in known]
        return self.subset(np.array(kept, np.int64))

    def __add__(self, other: Split) -> Split:
        """Return the images of both."""
        labels = np.concatenate([self.labels, other.labels])
        digests = None
        if self.digests is not None and other.digests is not None:
            digests = (*self.digests, *other.digests)
        return Split((*self.sources, *other.sources), labels, digests)

    def load(self, preparation: Preparation, *, once: bool = False) -> Images:
        """Return the prepared pixels; `once`: each is taken once."""
        return Images(self, preparation, once=once)


class Images:
    """The prepared pixels of a split.

    They are decoded at the first `take` and kept, in memory if they fit and else in a file without
    a name, which is gone when they are. Where the disk has no room either, and beyond memory if
    each is taken `once`, they are decoded at every `take`.
    """

    def __init__(self, split: Split, preparation: Preparation, *, once: bool = False) -> None:
        self._sources = split.sources
        self._preparation = preparation
        self._once = once
        self._shape = (len(split), preparation.resolution, preparation.resolution, 3)

    def __len__(self) -> int:
        return len(self._sources)

    def take(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the images at `indices`, [n, resolution, resolution, 3].

        Raises:
            EdgenetsError: a file cannot be read any more.
        """
        chosen = np.asarray(indices, np.int64)
        return self._decode(chosen) if self._kept is None else self._kept[chosen]

    @cached_property
    def _kept(self) -> NDArray[np.uint8] | None:
        """All pixels, where they are kept."""
        size_bytes = math.prod(self._shape)
        if size_bytes <= bound_bytes():
            with progress_bar("Preparing images", len(self)) as advance:
                return self._decode(np.arange(len(self)), advance)
        return None if self._once else self._decode_to_disk(size_bytes)

    def _decode(
        self, indices: NDArray[np.int64], advance: Advance | None = None
    ) -> NDArray[np.uint8]:
        pixels = np.empty((len(indices), *self._shape[1:]), np.uint8)

        def fill(row: int) -> None:
            pixels[row] = self._decode_one(indices[row])

        map_in_threads(fill, range(len(indices)), advance)
        return pixels

    def _decode_to_disk(self, size_bytes: int) -> NDArray[np.uint8] | None:
        """Return all pixels, in a file without a name; None, and a word, if there is no room."""
        folder = tempfile.gettempdir() if "TMPDIR" in os.environ else DISK
        try:
            if size_bytes > DISK_SHARE * shutil.disk_usage(folder).free:
                raise OSError("not enough room")
            with (
                tempfile.TemporaryFile(dir=folder) as file,
                progress_bar("Preparing images", len(self)) as advance,
            ):
                # Written, not mapped: where the disk is full after all, a write is an error.
                for start in range(0, len(self), WRITTEN_AT_ONCE):
                    part = np.arange(start, min(start + WRITTEN_AT_ONCE, len(self)))
                    file.write(self._decode(part, advance).data)
                file.flush()
                return np.memmap(file, np.uint8, "r", shape=self._shape)
        except OSError as error:
            say(
                f"{len(self)} prepared images take {format_bytes(size_bytes)}, for which there is "
                f"no room in memory or in {folder} ({error.strerror or error}): they are decoded "
                "at every use; free some space, or set TMPDIR to a folder on a larger disk"
            )
            return None

    def _decode_one(self, index: int) -> NDArray[np.uint8]:
        source = self._sources[index]
        if isinstance(source, np.ndarray):
            return prepare(Image.fromarray(source), self._preparation)
        try:
            return load_prepared(source, self._preparation)
        except EdgenetsError as error:
            raise EdgenetsError(f"{source} was readable before and is not now: {error}") from error


def map_in_threads(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    advance: Advance | None = None,
    *,
    largest_chunk: int = LARGEST_CHUNK,
) -> list[Result]:
    """Return `function` of every item, in order, worked out on all cores.

    Threads are enough: Pillow, NumPy and hashlib release the lock while they work.

    Args:
        function: of an item.
        items: all of them.
        advance: is told how many are done.
        largest_chunk: of items that a thread does before it looks whether the rest is wanted.
    """
    threads = os.cpu_count() or 1
    size = min(largest_chunk, len(items) // (4 * threads) + 1)
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
