"""A folder of class folders: what is in it, every file decoded once.

Images lie in their class folder or in folders below it. Hidden files are ignored; whatever else is
not a readable image in its place is left out, with the reason. Links are followed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenets.data.images import SUFFIXES, load_rgb
from edgenets.data.loading import UNLABELLED, Split, map_in_threads
from edgenets.data.places import folder_here
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.files import sha256_file
from edgenets.progress import progress_bar

LAYOUT = "DATA/{train,test}/CLASS/*.jpg or DATA/CLASS/*.jpg"
# Names of folders that hold a part of the images, in any case, as other tools write them.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
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
        files: the images in order of class and name.
        labels: [images], indices into `classes`.
        digests: the SHA-256 of each image.
        skipped: what was left out.
    """

    path: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    @property
    def split(self) -> Split:
        """The images and their labels."""
        return Split(self.files, self.labels, self.digests)

    @property
    def contents(self) -> tuple[str, ...]:
        """Of each image its SHA-256, and its place below `path`."""
        places = [file.relative_to(self.path).as_posix() for file in self.files]
        return tuple(map(" ".join, zip(self.digests, places, strict=True)))

    def subset(self, indices: NDArray[np.int64]) -> ClassFolders:
        """Return the same classes with the images at `indices` only."""
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            labels=self.labels[indices],
            digests=tuple(self.digests[i] for i in indices),
        )

    def without_copies(self, known: Mapping[str, Path], root: Path, part: str) -> ClassFolders:
        """Return the images whose content is not known; the others are skipped.

        Args:
            known: by SHA-256, an image that stands elsewhere.
            root: what that image is named relative to.
            part: what its copies are left out of.
        """
        copies = tuple(
            Skipped(
                str(file),
                f"the same image as {known[digest].relative_to(root)}, left out of {part}",
            )
            for file, digest in zip(self.files, self.digests, strict=True)
            if digest in known
        )
        kept = [i for i, digest in enumerate(self.digests) if digest not in known]
        found = self.subset(np.array(kept, np.int64))
        return replace(found, skipped=(*self.skipped, *copies))


def existing_folder(source: str) -> Path:
    """Return the folder `source`.

    Raises:
        EdgenetsError: it does not exist, or is a file.
    """
    path, known = folder_here(source), ["digits"]
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


def splits_in(root: Path) -> dict[str, Path]:
    """Return which folders of `root` are splits rather than classes, by the part that they hold.

    Those named as parts are if no other folder is beside them, or if folders are inside train or
    test.

    Returns:
        "train", "validation" or "test" -> the folder; empty where `root` holds classes.

    Raises:
        EdgenetsError: two folders hold the same part, such as train and training.
    """
    folders = _entries(root)[0]
    parts = [(PARTS[name], folder) for folder in folders if (name := folder.name.lower()) in PARTS]
    inside = any(part != "validation" and _entries(folder)[0] for part, folder in parts)
    if len(parts) < len(folders) and not inside:
        return {}
    splits: dict[str, Path] = {}
    for part, folder in parts:
        if part in splits:
            raise EdgenetsError(
                f"{root} must hold one folder of {part} images, and holds {splits[part].name} and "
                f"{folder.name}; put them into one"
            )
        splits[part] = folder
    return splits


def beside(root: Path, splits: Mapping[str, Path]) -> tuple[Skipped, ...]:
    """Return what lies in `root` beside its `splits`, if it has any: all of it is left out."""
    if not splits:
        return ()
    folders, files = _entries(root)
    others = [entry for entry in folders + files if entry not in splits.values()]
    return tuple(Skipped(str(entry), "beside train and test") for entry in others)


def scan(path: Path) -> ClassFolders:
    """Find the images of every class folder in `path`; decode and hash each once.

    Raises:
        EdgenetsError: a folder cannot be read.
    """
    class_folders, stray = _entries(path)
    skipped = [Skipped(str(file), "not in a class folder") for file in stray]
    inside = [list(files_below(folder, (path.resolve(),))) for folder in class_folders]
    labels = np.repeat(np.arange(len(inside)), [len(files) for files in inside])
    files = [file for of_class in inside for file in of_class]
    classes = tuple(folder.name for folder in class_folders)
    return _checked(path, classes, files, labels, skipped)


def unlabelled_folder(source: str) -> Path:
    """Return the folder `source` of unlabelled images.

    Raises:
        EdgenetsError: there is none.
    """
    path = folder_here(source)
    if not path.is_dir():
        raise EdgenetsError(f"no folder {source!r} of unlabelled images; give one")
    return path


def scan_unlabelled(path: Path) -> ClassFolders:
    """Find all images in `path` and below; they are of no class. Decode and hash each once.

    Raises:
        EdgenetsError: a folder cannot be read.
    """
    files = list(files_below(path))
    return _checked(path, (), files, np.full(len(files), UNLABELLED), [])


def files_by_digest(path: Path, sizes_bytes: Collection[int]) -> dict[str, Path]:
    """Return the files in the class folders of `path` that have one of the sizes, by SHA-256.

    Of equal files it is the first. Nothing is decoded.

    Raises:
        EdgenetsError: a folder or file cannot be read.
    """
    files = [file for folder in _entries(path)[0] for file in files_below(folder)]
    return _by_digest(files, sizes_bytes, f"Comparing with {path}")


def copies_among(known: Sequence[Path], files: Sequence[Path]) -> dict[str, Path]:
    """Return those of the known files that some of the others may be copies of, by SHA-256."""
    return _by_digest(known, {file.stat().st_size for file in files}, "Comparing with test images")


def _by_digest(
    files: Sequence[Path], sizes_bytes: Collection[int], description: str
) -> dict[str, Path]:
    alike = [file for file in files if file.is_file() and file.stat().st_size in sizes_bytes]
    with progress_bar(description, len(alike)) as advance:
        return first_by_digest(map_in_threads(sha256_file, alike, advance), alike)


def first_by_digest(digests: Sequence[str], files: Sequence[Path]) -> dict[str, Path]:
    """Return the first of equal files under each SHA-256."""
    return dict(reversed(list(zip(digests, files, strict=True))))


def images_in(folder: Path) -> list[Path]:
    """Return the files in `folder` and below whose names end as those of images do, sorted.

    Raises:
        EdgenetsError: a folder cannot be read.
    """
    return sorted(file for file in files_below(folder) if file.suffix.lower() in SUFFIXES)


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


def files_below(folder: Path, around: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files in `folder` and below; and links to a folder `around` them, as they are."""
    place = folder.resolve()
    if place in around:
        yield folder
        return
    folders, files = _entries(folder)
    yield from files
    for inner in folders:
        yield from files_below(inner, (*around, place))


def _checked(
    path: Path,
    classes: tuple[str, ...],
    files: Sequence[Path],
    labels: NDArray[np.int64],
    skipped: Sequence[Skipped],
) -> ClassFolders:
    """Return those of the files that are images; the others are skipped, too."""
    with progress_bar(f"Checking {path}", len(files)) as advance:
        results = map_in_threads(_check, files, advance)
    usable = [i for i, result in enumerate(results) if isinstance(result, str)]
    return ClassFolders(
        path,
        classes,
        tuple(files[i] for i in usable),
        labels[usable],
        tuple(result for result in results if isinstance(result, str)),
        (*skipped, *(result for result in results if isinstance(result, Skipped))),
    )


def _check(file: Path) -> str | Skipped:
    """Return the hash of a file that is an image, or why it is left out."""
    if file.is_dir():
        return Skipped(str(file), "a link to a folder around it")
    try:
        load_rgb(file, needed=1)  # which is read to its end, too
        return sha256_file(file)
    except EdgenetsError as error:
        return Skipped(str(file), str(error))
