"""Labels of trained weights: a user's file of them, and the 1000 classes of ImageNet.

ImageNet's nets have WordNet ids as labels, which have readable names too.

`imagenet.txt` holds them in the order of the nets' outputs, which is that of the sorted ids.

Source: WordNet 3.0, and its synsets that ILSVRC 2012 chose (image-net.org/challenges/LSVRC/2012);
of a synset's words the one in common use.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.files import read_bytes

FILE = Path(__file__).with_name("imagenet.txt")


def imagenet_labels() -> tuple[str, ...]:
    """Return the WordNet ids of the 1000 classes in the order of the nets' outputs.

    >>> imagenet_labels()[:2]
    ('n01440764', 'n01443537')
    """
    return tuple(_names())


def readable_name(label: str) -> str | None:
    """Return what the class with this WordNet id is called; None for any other label.

    >>> readable_name("n01440764"), readable_name("person")
    ('tench', None)
    """
    return _names().get(label)


def read_labels(path: Path, *, distinct: bool = True) -> tuple[str, ...]:
    """Return the labels in a text file, one a line.

    Args:
        path: of the file, in UTF-8, with a byte order mark or without.
        distinct: whether each must be another one. Lists of ImageNet's names have two cranes.

    Raises:
        EdgenetsError: it cannot be read, a line is empty, or it repeats another and must not.
    """
    try:
        labels = tuple(line.strip() for line in read_bytes(path).decode("utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise EdgenetsError(f"{path} must be text in UTF-8, one label in each line") from error
    for number, label in enumerate(labels, start=1):
        if not label or (distinct and label in labels[: number - 1]):
            what = f"repeats the label {label!r}" if label else "is empty"
            raise EdgenetsError(f"{path} line {number} {what}; each line names one class")
    return labels


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)
