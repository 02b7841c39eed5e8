"""A folder of class folders: what is in it, every file decoded once.

Images lie directly in their class folder. Hidden files are ignored; whatever else is not a readable
image in its place is left out, with the reason. Links are followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenets.data.images import load_rgb
from edgenets.data.loading import UNLABELLED, Split, map_in_threads
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.files import sha256_file
from edgenets.progress import progress_bar

LAYOUT = "DATA/{train,test}/CLASS/*.jpg or DATA/CLASS/*.jpg"
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")  # hidden elsewhere, without a leading dot


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why."""

    path: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return {path, reason}."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """The usable images in the class folders of `path`.

    Attributes:
        classes: the class folders' names, sorted as text.
        split: the images in order of class and name, labels as indices into `classes`.
        contents: of each image its SHA-256, class and name.
        skipped: what was left out.
    """

    path: Path
    classes: tuple[str, ...]
    split: Split
    contents: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def subset(self, indices: NDArray[np.int64]) -> ClassFolders:
        """Return the same classes with the images at `indices` only."""
        contents = tuple(self.contents[i] for i in indices)
        return replace(self, split=self.split.subset(indices), contents=contents)


def existing_folder(source: str) -> Path:
    """Return the folder `source`.

    Raises:
        EdgenetsError: it does not exist, or is a file.
    """
    path, known = Path(source), ["digits"]
    with suppress(OSError):
        if path.is_dir():
            return path
        if path.exists():
            raise EdgenetsError(f"{path} is a file; give a folder laid out as {LAYOUT}")
        known += [neighbour.name for neighbour in path.parent.iterdir() if neighbour.is_dir()]
    raise EdgenetsError(
        f"no data folder {source!r}{did_you_mean(path.name, known)}; "
        f"give a folder laid out as {LAYOUT}, or the word digits"
    )


def splits_in(root: Path) -> set[str]:
    """Return which of "train" and "test" are splits of `root` rather than classes.

    They are if no other folder is beside them, or if folders are inside.
    """
    names = {folder.name for folder in _entries(root)[0]}
    splits = names & {"train", "test"}
    if names == splits or any(_entries(root / name)[0] for name in splits):
        return splits
    return set()


def beside(root: Path, splits: set[str]) -> tuple[Skipped, ...]:
    """Return what lies in `root` beside its `splits`: all of it is left out."""
    folders, files = _entries(root)
    others = [entry for entry in folders + files if entry.name not in splits]
    return tuple(Skipped(str(entry), "beside train and test") for entry in others)


def scan(path: Path) -> ClassFolders:
    """Find the images of every class folder in `path`; decode and hash each once.

    Raises:
        EdgenetsError: a folder cannot be read.
    """
    class_folders, stray = _entries(path)
    classes = tuple(folder.name for folder in class_folders)
    skipped = [Skipped(str(file), "not in a class folder") for file in stray]
    files: list[tuple[int, Path]] = []
    for label, folder in enumerate(class_folders):
        nested, inside = _entries(folder)
        skipped += [Skipped(str(entry), "folder inside a class folder") for entry in nested]
        files += [(label, file) for file in inside]
    images, labels, contents = [], [], []
    results = _check_all(path, [file for _, file in files])
    for (label, file), result in zip(files, results, strict=True):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            images.append(file)
            labels.append(label)
            contents.append(f"{result} {classes[label]}/{file.name}")
    split = Split(tuple(images), np.array(labels, np.int64))
    return ClassFolders(path, classes, split, tuple(contents), tuple(skipped))


def scan_unlabelled(path: Path) -> ClassFolders:
    """Find all images in `path` and below; they are of no class. Decode and hash each once.

    Raises:
        EdgenetsError: a folder cannot be read.
    """
    images, contents, skipped = [], [], []
    files = list(_files_below(path))
    for file, result in zip(files, _check_all(path, files), strict=True):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            images.append(file)
            contents.append(f"{result} {file.name}")
    split = Split(tuple(images), np.full(len(images), UNLABELLED))
    return ClassFolders(path, (), split, tuple(contents), tuple(skipped))


def first_few(items: Sequence[str], count: int = 3) -> str:
    """Return the first `count` of `items` and how many more there are.

    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the other entries of `folder` that are not hidden, sorted by name."""
    folders: list[Path] = []
    others: list[Path] = []
    try:
        for entry in sorted(folder.iterdir()):
            if not entry.name.startswith(".") and entry.name.lower() not in CLUTTER:
                (folders if entry.is_dir() else others).append(entry)
    except OSError as error:
        raise EdgenetsError(f"cannot read the folder {folder}: {error.strerror}") from error
    return folders, others


def _files_below(folder: Path) -> Iterator[Path]:
    folders, files = _entries(folder)
    yield from files
    for inner in folders:
        yield from _files_below(inner)


def _check_all(path: Path, files: Sequence[Path]) -> list[str | Skipped]:
    with progress_bar(f"Checking {path}", len(files)) as advance:
        return map_in_threads(_check, files, advance)


def _check(file: Path) -> str | Skipped:
    """Return the hash of a file that is an image, or why it is left out."""
    if file.exists() and not file.is_file():  # reading a pipe would never end
        return Skipped(str(file), "not a regular file")
    try:
        load_rgb(file)
        return sha256_file(file)
    except EdgenetsError as error:
        return Skipped(str(file), str(error))
