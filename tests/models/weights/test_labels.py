from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.weights import labels
from edgenets.models.weights.labels import imagenet_labels, read_labels, readable_name


def test_the_labels_are_a_thousand_sorted_wordnet_ids():
    ids = imagenet_labels()
    assert len(ids) == 1000 and list(ids) == sorted(set(ids))
    assert all(re.fullmatch(r"n\d{8}", label) for label in ids)


def test_every_class_has_a_name_of_its_own():
    names = [readable_name(label) for label in imagenet_labels()]
    assert len(set(names)) == 1000
    assert all(name and name == name.strip() for name in names)
    assert [names[i] for i in (0, 282, 999)] == ["tench", "tiger cat", "toilet tissue"]


def test_names_stand_in_the_order_of_published_nets(shared_data: Path):
    published = (shared_data / "coral" / "imagenet_labels.txt").read_text().splitlines()[1:]
    for label, synonyms in zip(imagenet_labels(), published, strict=True):
        name = re.sub(r" \(.*\)", "", readable_name(label))
        assert name.lower() in synonyms.lower()


def test_a_byte_order_mark_is_no_part_of_a_label(tmp_path: Path):
    (tmp_path / "labels.txt").write_bytes("\ufeffant\r\nbee\r\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("ant", "bee")


def test_labels_are_distinct_where_they_must_be(tmp_path: Path):
    file = tmp_path / "labels.txt"
    file.write_text("crane\nbee\ncrane\n")
    assert read_labels(file, distinct=False) == ("crane", "bee", "crane")
    with pytest.raises(EdgenetsError, match="line 3 repeats the label 'crane'"):
        read_labels(file)


def test_docstring_examples_are_right():
    assert doctest.testmod(labels).failed == 0
