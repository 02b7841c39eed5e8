"""Open data by its source: a folder of class folders of any layout, or the built-in digits.

Above all other files here: what trains or evaluates asks this one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgenets.data.dataset import NO_IMAGES, Dataset, fingerprint, listed, require_usable, unusable
from edgenets.data.digits import digits
from edgenets.data.folder import (
    LAYOUT,
    PARTS,
    ClassFolders,
    Skipped,
    beside,
    existing_folder,
    files_by_digest,
    first_by_digest,
    first_few,
    scan,
    splits_in,
)
from edgenets.data.loading import UNLABELLED, Split
from edgenets.data.splits import TEST_FRACTION, SeededSplit, hold_out
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.progress import say

TEST, OWN_TEST, ALL = "test", "own test part", "all"  # what an evaluation scores
WITH_TRAINING = "all images are scored, training images among them: expect less of new images"
PERHAPS_TRAINING = (
    "all images are scored, and images that the model was trained on may be among them"
)


def open_dataset(
    source: str, *, seed: int = 0, strict: bool = False, test_fraction: float = TEST_FRACTION
) -> Dataset:
    """Open the data to train with; every file of a folder is decoded once.

    A folder is `DATA/{train,val,test}/CLASS/*` or `DATA/CLASS/*`; `edgenets.data.folder.PARTS` has
    the names that count. Where there is no `DATA/test`, the images of `DATA/val` are tested on and
    never chosen by; where there is neither, a seeded and stratified part is split off to test with.
    An image that stands in two parts is left out of the later one.

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
        return digits()
    root = existing_folder(source)
    splits = splits_in(root)
    if splits and "train" not in splits:
        raise EdgenetsError(
            f"{root} holds {' and '.join(path.name for path in splits.values())} but no train; "
            f"training needs {root / 'train'}"
        )
    everything = train = scan(splits.get("train", root))
    validation = replace(train.subset(np.array([], np.int64)), skipped=())
    if "validation" in splits and "test" in splits:
        given = scan(splits["validation"])
        validation = given.without_copies(_by_digest(train), root, "validation")
    if folder := _test_folder(root, splits):
        test = scan(folder).without_copies(_by_digest(train, validation), root, TEST)
    else:
        train, test = _split_off(train, test_fraction, seed)
    skipped = (*beside(root, splits), *train.skipped, *validation.skipped, *test.skipped)
    if strict and skipped:
        raise unusable(skipped)
    _require_trainable(everything)
    classes = train.classes
    if held := [name for label, name in enumerate(classes) if label not in train.labels]:
        raise EdgenetsError(
            f"all images of {first_few(held)} are copies of images of other classes, and are "
            "tested on with these; keep each image in the class that is right"
        )
    test_images, validation_images = (
        _relabel(
            part.split, part.classes, classes, f"of {part.path} is not a class of {train.path}"
        )
        for part in (test, validation)
    )
    _require_tested(classes, test, folder or root / "test")
    _say_of_two_classes(everything)
    of_images = fingerprint(classes, train.contents, test.contents, validation.contents)
    return Dataset(
        name=root.resolve().name,
        classes=classes,
        train=train.split,
        test=test_images,
        skipped=skipped,
        fingerprint=of_images,
        flip=True,
        validation=validation_images,
        seeded_split=None if folder else SeededSplit(seed, test_fraction, of_images),
    )


@dataclass(frozen=True, eq=False)
class EvaluationImages:
    """Images to evaluate a model with.

    Attributes:
        split: the images; labels are indices into the model's.
        part: which of a dataset's images they are: `TEST`, `OWN_TEST` or `ALL`.
        skipped: what was left out.
        warnings: sentences on what an accuracy on them does not say.
    """

    split: Split
    part: str
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return {split, skipped, warnings}."""
        return {
            "split": self.part,
            "skipped": [file.to_json() for file in self.skipped],
            "warnings": list(self.warnings),
        }


def open_for_evaluation(
    source: str,
    labels: tuple[str, ...],
    seeded_split: SeededSplit | None = None,
    *,
    everything: bool = False,
    of_any_class: bool = False,
) -> EvaluationImages:
    """Open the images to evaluate a model with.

    These are those of `DATA/test`, or else of `DATA/val`, that are in no earlier part. Of a folder
    without either they are the model's own test part, if the folder is as the model was trained on
    it; else all images of a folder `DATA/CLASS/*`.

    Args:
        source: the folder, or "digits" for their test images.
        labels: the model's; the folder's classes are some or all of them.
        seeded_split: how the model's own test part was split off, if it was.
        everything: take all images, those to train with too.
        of_any_class: let the images be `UNLABELLED` if a class is not in `labels`, with a warning.

    Raises:
        EdgenetsError: there is no such folder; it has no usable image; a class is not in `labels`.
    """
    not_a_label = f"of {source} is not a label of the model"

    def relabelled(images: Split, classes: Sequence[str]) -> Split:
        if of_any_class and not set(classes) <= set(labels):
            return replace(images, labels=np.full(len(images), UNLABELLED))
        return _relabel(images, classes, labels, not_a_label)

    if source == "digits":
        data = digits()
        images = data.train + data.test if everything else data.test
        split = relabelled(images, data.classes)
        return EvaluationImages(
            split,
            ALL if everything else TEST,
            warnings=((WITH_TRAINING,) if everything else ()) + _unlabelled_warnings(split, source),
        )

    root = existing_folder(source)
    splits = splits_in(root)
    folder = _test_folder(root, splits)
    part, warnings = TEST, list[str]()
    if everything:
        part, parts = ALL, [scan(path) for path in splits.values() or [root]]
        trained = "train" in splits or _own_test(parts[0], seeded_split)
        warnings.append(WITH_TRAINING if trained else PERHAPS_TRAINING)
    elif folder:
        parts = [_without_training_images(scan(folder), root, splits)]
    elif splits and not seeded_split:
        raise _no_test(root)
    else:
        found = scan(splits.get("train", root))
        if own := _own_test(found, seeded_split):
            part, parts = OWN_TEST, [own]
        elif splits:
            raise _no_test(root)
        else:
            part, parts = ALL, [found]
            if seeded_split:
                warnings.append(f"{root} is not as the model was trained on it; {PERHAPS_TRAINING}")
            elif PARTS.get(root.name.lower()) == "train":
                warnings.append(PERHAPS_TRAINING)
    split = NO_IMAGES
    for found in parts:
        _require_images(found)
        split += relabelled(found.split, found.classes)
    skipped = tuple(file for found in parts for file in found.skipped)
    return EvaluationImages(split, part, skipped, (*warnings, *_unlabelled_warnings(split, source)))


def _unlabelled_warnings(split: Split, source: str) -> tuple[str, ...]:
    if UNLABELLED not in split.labels:
        return ()
    return (f"not all classes of {source} are labels of the model, so top-1 is not counted",)


def _test_folder(root: Path, splits: Mapping[str, Path]) -> Path | None:
    """Return the folder to test with, which may be that of validation; None if there is neither."""
    folder = splits.get("test", splits.get("validation"))
    if folder and "test" not in splits:
        say(
            f"{root} holds no test images: those of {folder.name} are tested on, and never trained "
            "on or chosen by"
        )
    return folder


def _split_off(
    found: ClassFolders, test_fraction: float, seed: int
) -> tuple[ClassFolders, ClassFolders]:
    """Return the images to train and to test with; copies stay together."""
    kept, held = hold_out(found.labels, test_fraction, seed, found.digests)
    return found.subset(kept), replace(found.subset(held), skipped=())


def _own_test(found: ClassFolders, seeded_split: SeededSplit | None) -> ClassFolders | None:
    """Return the test part that was split off as told; None if it was of other images."""
    if seeded_split is None:
        return None
    train, test = _split_off(found, seeded_split.test_fraction, seeded_split.seed)
    if fingerprint(found.classes, train.contents, test.contents) != seeded_split.fingerprint:
        return None
    return replace(test, skipped=found.skipped)


def _without_training_images(
    found: ClassFolders, root: Path, splits: Mapping[str, Path]
) -> ClassFolders:
    """Return the images of `found` that are in no earlier split; those are not decoded for that."""
    sizes_bytes = {file.stat().st_size for file in found.files}
    known: dict[str, Path] = {}
    for part in ("validation", "train"):  # the latter's are named, where it is in both
        if part in splits and splits[part] != found.path:
            known |= files_by_digest(splits[part], sizes_bytes)
    return found.without_copies(known, root, TEST)


def _by_digest(*parts: ClassFolders) -> dict[str, Path]:
    """Return the first image of each content."""
    digests = [digest for part in parts for digest in part.digests]
    return first_by_digest(digests, [file for part in parts for file in part.files])


def _say_of_two_classes(found: ClassFolders) -> None:
    """Name the images that stand under two classes; both are kept."""
    firsts = _by_digest(found)
    pairs = [
        (firsts[digest].relative_to(found.path), file.relative_to(found.path))
        for digest, file in zip(found.digests, found.files, strict=True)
    ]
    differ = [f"{a} and {b}" for a, b in pairs if a.parts[0] != b.parts[0]]
    if differ:
        say(f"the same image under two classes: {first_few(differ)}; keep the one that is right")


def _no_test(root: Path) -> EdgenetsError:
    return EdgenetsError(
        f"{root} holds train but no test; make {root / 'test'}, or name {root / 'train'}"
    )


def _require_images(found: ClassFolders) -> None:
    if not found.classes:
        raise EdgenetsError(f"no class folders in {found.path}; data is laid out as {LAYOUT}")
    require_usable(found, strict=False)


def _require_trainable(found: ClassFolders) -> None:
    _require_images(found)
    if len(found.classes) == 1:
        only = found.path / found.classes[0]
        deeper = any(file.parent != only for file in found.files)
        raise EdgenetsError(
            f"{found.path} holds a single class, {only.name!r}; a classifier needs two"
            f"{f' (if the classes are in it, name {only})' if deeper else ''}"
        )
    for label, name in enumerate(found.classes):
        if label not in found.split.labels:
            inside = _of_class(found.skipped, found.path / name)
            raise EdgenetsError(
                f"no usable image in class folder {found.path / name}: {listed(inside)}; "
                "add images or remove the folder"
            )


def _require_tested(classes: Sequence[str], test: ClassFolders, folder: Path) -> None:
    """Check that every class has an image to test with; `folder` is where they may be put."""
    tested = {test.classes[label] for label in test.labels}
    if missing := [name for name in classes if name not in tested]:
        left_out = [file for name in missing for file in _of_class(test.skipped, test.path / name)]
        why = f": {listed(left_out)}" if left_out else ""
        raise EdgenetsError(
            f"no usable image to test {first_few(missing)} with{why}; each class needs one in "
            f"{folder} that is in no other part or, without that folder, at least two images that "
            "differ"
        )


def _of_class(skipped: Iterable[Skipped], folder: Path) -> list[Skipped]:
    return [file for file in skipped if folder in Path(file.path).parents]


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
