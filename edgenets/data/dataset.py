"""A dataset: images to train and to test with, under the same classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path

import numpy as np

from edgenets.data.folder import (
    ClassFolders,
    Skipped,
    copies_among,
    first_few,
    scan_unlabelled,
    unlabelled_folder,
)
from edgenets.data.loading import Images, Split
from edgenets.data.splits import SeededSplit
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_json

__all__ = ["Dataset", "Images", "Skipped", "Split", "fingerprint"]
NO_IMAGES = Split((), np.array([], np.int64), ())


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train and to test with, under the same classes.

    Attributes:
        name: the folder's name, or "digits".
        classes: the names that labels are indices into.
        train, test: the images; every class has some in both, and none is in both.
        skipped: what was left out.
        fingerprint: a hash of the classes, the split, and the images' names and content; it does
            not depend on where the folder is.
        flip: whether a mirror image belongs to the same class.
        unlabelled: more images to learn from, by a teacher's answers alone.
        validation: images to choose the best epoch by, in no other part; empty where the folder
            has none beside its test images.
        seeded_split: how `test` was split off; None where it came as it is.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    skipped: tuple[Skipped, ...]
    fingerprint: str
    flip: bool
    unlabelled: Split = NO_IMAGES
    validation: Split = NO_IMAGES
    seeded_split: SeededSplit | None = None

    def with_unlabelled(self, source: str, *, strict: bool = False) -> Dataset:
        """Return the same data with all images of the folder `source`, and below, beside them.

        Copies of test and validation images are left out: a net is not to learn from them.

        Raises:
            EdgenetsError: there is no such folder, it holds no usable image; with `strict`, a file
                would be left out.
        """
        found = scan_unlabelled(unlabelled_folder(source))
        judges = [*self.validation.sources, *self.test.sources]
        if files := [source for source in judges if isinstance(source, Path)]:
            known = copies_among(files, found.files)
            root = Path(commonpath([file.parent for file in files])).parent
            found = found.without_copies(known, root, "the unlabelled images")
        require_usable(found, strict)
        return replace(
            self,
            unlabelled=found.split,
            skipped=(*self.skipped, *found.skipped),
            fingerprint=sha256_json([self.fingerprint, sorted(found.contents)]),
        )


def fingerprint(
    classes: Iterable[str],
    train: Iterable[str],
    test: Iterable[str],
    validation: Iterable[str] = (),
) -> str:
    """Return a hash of the class names and of what each split contains, in any order."""
    content = {"classes": list(classes), "train": sorted(train), "test": sorted(test)}
    if chosen_by := sorted(validation):
        content["validation"] = chosen_by
    return sha256_json(content)


def require_usable(found: ClassFolders, strict: bool) -> None:
    """Check that there is an image and, with `strict`, that no file was left out.

    Raises:
        EdgenetsError: there is none, or one was.
    """
    if strict and found.skipped:
        raise unusable(found.skipped)
    if not len(found.split):
        raise EdgenetsError(f"no usable image in {found.path}: {listed(found.skipped)}")


def unusable(skipped: Sequence[Skipped]) -> EdgenetsError:
    """Return the error for files that were left out and must not be."""
    return EdgenetsError(
        f"unusable files ({len(skipped)}): {listed(skipped)}; repair or remove them"
    )


def listed(skipped: Sequence[Skipped]) -> str:
    """Return the first few files with why each was left out."""
    return first_few([f"{file.path} ({file.reason})" for file in skipped]) or "it is empty"
