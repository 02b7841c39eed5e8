"""Datasets by name: a folder of class folders, or the built-in digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgenets.data.folder import (
    LAYOUT,
    ClassFolders,
    Skipped,
    beside,
    existing_folder,
    first_few,
    scan,
    scan_unlabelled,
    splits_in,
)
from edgenets.data.loading import Images, Split
from edgenets.data.splits import hold_out
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.files import sha256_json

__all__ = ["Dataset", "Images", "Skipped", "Split", "open_dataset", "open_for_evaluation"]

NO_IMAGES = Split((), np.array([], np.int64))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images to train and to test with, under the same classes.

    Attributes:
        name: the folder's name, or "digits".
        classes: the names that labels are indices into.
        train, test: the images; every class has some in both.
        skipped: what was left out.
        fingerprint: a hash of the classes, the split, and the images' names and content; it does
            not depend on where the folder is.
        flip: whether a mirror image belongs to the same class.
        unlabelled: more images to learn from, by a teacher's answers alone.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    skipped: tuple[Skipped, ...]
    fingerprint: str
    flip: bool
    unlabelled: Split = NO_IMAGES

    def with_unlabelled(self, source: str, *, strict: bool = False) -> Dataset:
        """Return the same data with all images of the folder `source`, and below, beside them.

        Raises:
            EdgenetsError: there is no such folder, it holds no usable image; with `strict`, a file
                would be left out.
        """
        path = Path(source)
        if not path.is_dir():
            raise EdgenetsError(f"no folder {source!r} of unlabelled images; give one")
        found = scan_unlabelled(path)
        _require_usable(found, strict)
        return replace(
            self,
            unlabelled=found.split,
            skipped=(*self.skipped, *found.skipped),
            fingerprint=sha256_json([self.fingerprint, sorted(found.contents)]),
        )


def open_dataset(
    source: str, *, seed: int = 0, strict: bool = False, test_fraction: float = 0.2
) -> Dataset:
    """Open the data to train with; every file of a folder is decoded once.

    A folder is `DATA/{train,test}/CLASS/*` or `DATA/CLASS/*`. Where there is no `DATA/test`, a
    seeded and stratified part of the images is split off to test with.

    Args:
        source: the folder, or "digits" (a folder of that name is "./digits").
        seed: decides which images are split off.
        strict: whether a file that would be left out is an error.
        test_fraction: how many are split off, of each class.

    Raises:
        EdgenetsError: there is no such folder; it has fewer than two classes; a class has no
            usable image in train or in test; with `strict`, a file would be left out.
    """
    if source == "digits":
        return _digits()
    root = existing_folder(source)
    splits = splits_in(root)
    if splits == {"test"}:
        raise EdgenetsError(f"{root} holds test but no train; training needs {root / 'train'}")
    train = scan(root / "train" if splits else root)
    test = scan(root / "test") if "test" in splits else None
    skipped = (
        *(beside(root, splits) if splits else ()),
        *train.skipped,
        *(test.skipped if test else ()),
    )
    if strict and skipped:
        raise _unusable(skipped)
    _require_trainable(train)
    if test is None:
        kept, held = hold_out(train.split.labels, test_fraction, seed)
        train, test = train.subset(kept), train.subset(held)
    test_split = _relabel(
        test.split, test.classes, train.classes, f"of {test.path} is not a class of {train.path}"
    )
    missing = [name for label, name in enumerate(train.classes) if label not in test_split.labels]
    if missing:
        raise EdgenetsError(
            f"no usable image to test {first_few(missing)} with; each class needs one in "
            f"{root / 'test'} or, without that folder, at least two images"
        )
    return Dataset(
        name=root.resolve().name,
        classes=train.classes,
        train=train.split,
        test=test_split,
        skipped=skipped,
        fingerprint=fingerprint(train.classes, train.contents, test.contents),
        flip=True,
    )


def open_for_evaluation(source: str, labels: tuple[str, ...]) -> tuple[Split, tuple[Skipped, ...]]:
    """Open the images to evaluate with: `DATA/test`, or all of a folder `DATA/CLASS/*`.

    Args:
        source: the folder, or "digits" for their test images.
        labels: the model's; the folder's classes are some or all of them.

    Returns:
        split: its labels are indices into `labels`.
        skipped: what was left out.

    Raises:
        EdgenetsError: there is no such folder; it has no usable image; a class is not in `labels`.
    """
    not_a_label = f"of {source} is not a label of the model"
    if source == "digits":
        digits = _digits()
        return _relabel(digits.test, digits.classes, labels, not_a_label), digits.skipped
    root = existing_folder(source)
    splits = splits_in(root)
    if splits == {"train"}:
        raise EdgenetsError(
            f"{root} holds train but no test; make {root / 'test'}, or name {root / 'train'}"
        )
    found = scan(root / "test" if splits else root)
    _require_images(found)
    return _relabel(found.split, found.classes, labels, not_a_label), found.skipped


def fingerprint(classes: Iterable[str], train: Iterable[str], test: Iterable[str]) -> str:
    """Return a hash of the class names and of what each split contains, in any order."""
    return sha256_json({"classes": list(classes), "train": sorted(train), "test": sorted(test)})


def _digits() -> Dataset:
    from edgenets.data.digits import digits  # not above: digits.py imports this file

    return digits()


def _require_images(found: ClassFolders) -> None:
    if not found.classes:
        raise EdgenetsError(f"no class folders in {found.path}; data is laid out as {LAYOUT}")
    _require_usable(found, strict=False)


def _require_usable(found: ClassFolders, strict: bool) -> None:
    if strict and found.skipped:
        raise _unusable(found.skipped)
    if not len(found.split):
        raise EdgenetsError(f"no usable image in {found.path}: {_listed(found.skipped)}")


def _unusable(skipped: Sequence[Skipped]) -> EdgenetsError:
    return EdgenetsError(
        f"unusable files ({len(skipped)}): {_listed(skipped)}; repair or remove them"
    )


def _require_trainable(found: ClassFolders) -> None:
    _require_images(found)
    if len(found.classes) == 1:
        raise EdgenetsError(
            f"{found.path} holds a single class, {found.classes[0]!r}; a classifier needs two"
        )
    for label, name in enumerate(found.classes):
        if label not in found.split.labels:
            inside = [file for file in found.skipped if Path(file.path).parent.name == name]
            raise EdgenetsError(
                f"no usable image in class folder {found.path / name}: {_listed(inside)}; "
                "add images or remove the folder"
            )


def _relabel(split: Split, classes: Sequence[str], labels: Sequence[str], complaint: str) -> Split:
    """Return `split` with indices into `labels` instead of `classes`."""
    for name in classes:
        if name not in labels:
            raise EdgenetsError(
                f"class {name!r} {complaint}{did_you_mean(name, labels)} "
                f"(known: {first_few(labels, 10)})"
            )
    positions = np.array([labels.index(name) for name in classes], np.int64)
    return replace(split, labels=positions[split.labels])


def _listed(skipped: Sequence[Skipped]) -> str:
    return first_few([f"{file.path} ({file.reason})" for file in skipped]) or "it is empty"
