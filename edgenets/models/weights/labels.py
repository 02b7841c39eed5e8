"""The 1000 classes of ImageNet: WordNet ids, which are the labels of its nets, and readable names.

`imagenet.txt` holds them in the order of the nets' outputs, which is that of the sorted ids.

Source: WordNet 3.0, and its synsets that ILSVRC 2012 chose (image-net.org/challenges/LSVRC/2012);
of a synset's words the one in common use.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

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


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)
