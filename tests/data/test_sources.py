"""Datasets of folders: splits, classes, fingerprints, and one sentence for what does not fit."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets.data.loading import UNLABELLED
from edgenets.data.sources import open_dataset, open_for_evaluation
from edgenets.errors import EdgenetsError


def names(split):
    return [path.name for path in split.sources]


def test_folder_with_train_and_test_is_opened_as_it_is(make_folder):
    folder = make_folder({"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 2})
    data = open_dataset(str(folder))
    assert data.name == "photos"
    assert data.classes == ("a", "b")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert {path.parents[1].name for path in data.test.sources} == {"test"}
    assert data.skipped == ()
    assert data.flip is True


@pytest.mark.parametrize("below", ["", "train/"])
def test_folder_without_test_is_split_by_seed_and_class(make_folder, below):
    folder = make_folder({f"{below}a": 10, f"{below}b": 5})
    data = open_dataset(str(folder), seed=1)
    assert np.bincount(data.train.labels).tolist() == [8, 4]
    assert np.bincount(data.test.labels).tolist() == [2, 1]
    assert not set(data.train.sources) & set(data.test.sources)
    assert names(open_dataset(str(folder), seed=1).test) == names(data.test)
    assert names(open_dataset(str(folder), seed=2).test) != names(data.test)
    assert len(open_dataset(str(folder), test_fraction=0.4).test) == 4 + 2


def test_what_is_left_out_is_listed_for_every_level(make_folder):
    folder = make_folder({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1, "raw/a": 1})
    for name in ("README.md", "train/loose.png", "train/a/empty.png", "test/b/empty.png"):
        (folder / name).touch()
    data = open_dataset(str(folder))
    assert {skipped.path: skipped.reason for skipped in data.skipped} == {
        str(folder / "raw"): "beside train and test",
        str(folder / "README.md"): "beside train and test",
        str(folder / "train/loose.png"): "not in a class folder",
        str(folder / "train/a/empty.png"): "empty file",
        str(folder / "test/b/empty.png"): "empty file",
    }
    assert (len(data.train), len(data.test)) == (4, 2)


def test_strict_names_the_first_files_and_counts_all(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    for i in range(5):
        (folder / "a" / f"bad{i}.png").touch()
    with pytest.raises(EdgenetsError, match=r"\(5\): .*bad0.png \(empty file\), .* and 2 more;"):
        open_dataset(str(folder), strict=True)
    assert len(open_dataset(str(folder)).skipped) == 5


def test_strict_accepts_a_clean_folder(make_folder):
    assert open_dataset(str(make_folder({"a": 2, "b": 2})), strict=True).skipped == ()


# Fingerprint


def test_fingerprint_does_not_depend_on_where_the_folder_is(make_folder, tmp_path, monkeypatch):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    moved = tmp_path / "other" / "place"
    shutil.copytree(folder, moved)
    assert open_dataset(str(moved)).fingerprint == before
    monkeypatch.chdir(tmp_path)
    assert open_dataset("photos").fingerprint == before


def test_fingerprint_changes_with_one_byte(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    with (folder / "a" / "0.png").open("ab") as file:
        file.write(b"\0")
    assert open_dataset(str(folder)).fingerprint != before


def test_fingerprint_changes_with_names_classes_and_split(make_folder):
    counts = {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}
    folder = make_folder(counts)
    seen = {open_dataset(str(folder)).fingerprint}
    (folder / "train/a/0.png").rename(folder / "train/a/zero.png")
    seen.add(open_dataset(str(folder)).fingerprint)
    (folder / "train/a/zero.png").rename(folder / "test/a/zero.png")
    seen.add(open_dataset(str(folder)).fingerprint)
    for split in ("train", "test"):
        (folder / split / "b").rename(folder / split / "c")
    seen.add(open_dataset(str(folder)).fingerprint)
    one_level = make_folder({"a": 5, "b": 5}, name="one_level")
    seen |= {open_dataset(str(one_level), seed=seed).fingerprint for seed in (0, 1)}
    assert len(seen) == 6


def test_fingerprint_does_not_change_with_files_that_are_left_out(make_folder):
    folder = make_folder({"a": 4, "b": 4})
    before = open_dataset(str(folder)).fingerprint
    (folder / "a" / "empty.png").touch()
    assert open_dataset(str(folder)).fingerprint == before


# What does not fit


@pytest.mark.parametrize(
    "counts, sentence",
    [
        ({}, "no class folders in .*photos; data is laid out as DATA/"),
        ({"train": 2, "test": 2}, "no class folders in .*train;"),
        ({"a": 3}, "photos holds a single class, 'a'; a classifier needs two$"),
        (
            {"a/b": 3, "a/c": 3},
            r"a single class, 'a'; .* two \(if the classes are in it, name .*/a\)",
        ),
        ({"a": 3, "b": 0}, "no usable image in class folder .*b: it is empty; add images or"),
        ({"Train/a": 3, "Test/a": 3}, "Train holds a single class, 'a'; a classifier needs two"),
        (
            {"train/a": 3, "training/a": 3, "test/a": 1},
            "photos must hold one folder of train images, and holds train and training; put them",
        ),
        ({"val/a": 3, "test/a": 3}, "photos holds test and val but no train; training needs"),
        (
            {"train/a": 3, "train/b": 3, "val/c": 1, "test/a": 1, "test/b": 1},
            "class 'c' of .*val is not a class of .*train",
        ),
        ({"test/a": 3, "test/b": 3}, "holds test but no train; training needs .*train"),
        (
            {"train/cat": 3, "train/dog": 3, "test/cat": 1, "test/dogs": 1},
            r"class 'dogs' of .*test is not a class of .*train; did you mean dog\? \(known: cat",
        ),
        ({"train/a": 3, "train/b": 3, "test/a": 1}, "no usable image to test b with; each"),
        (
            {"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 0},
            "no usable image to test b with; each",
        ),
        (
            {"train/a": 3, "train/b": 3, "train/c": 3, "test/a": 1},
            "no usable image to test b, c with",
        ),
        ({"a": 3, "b": 1}, "no usable image to test b with; .*at least two images that differ"),
    ],
)
def test_folder_that_cannot_train_is_refused_in_one_sentence(
    make_folder, tmp_path, counts, sentence
):
    (tmp_path / "photos").mkdir()
    with pytest.raises(EdgenetsError, match=sentence):
        open_dataset(str(make_folder(counts)))


def test_class_whose_files_are_all_bad_is_refused_with_their_reasons(make_folder):
    folder = make_folder({"a": 3, "b": 0})
    (folder / "b" / "x.png").touch()
    with pytest.raises(EdgenetsError, match=r"class folder .*b: .*x\.png \(empty file\); add"):
        open_dataset(str(folder))


# Folders of other tools


@pytest.mark.parametrize("train", ["train", "training", "TRAIN"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
@pytest.mark.parametrize("test", ["test", "testing"])
def test_parts_may_be_named_as_other_tools_do(make_folder, train, validation, test):
    folder = make_folder(
        {f"{train}/a": 3, f"{train}/b": 2, f"{validation}/b": 2, f"{test}/a": 1, f"{test}/b": 1}
    )
    data = open_dataset(str(folder))
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 2, 2)
    assert data.validation.labels.tolist() == [1, 1]
    assert {path.parents[1].name for path in data.validation.sources} == {validation}
    assert (data.skipped, data.seeded_split) == ((), None)


def test_fingerprint_covers_the_validation_images(make_folder):
    counts = {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1}
    folder = make_folder(counts)
    seen = {open_dataset(str(folder)).fingerprint}
    shutil.copytree(make_folder({"a": 1, "b": 1}, "more"), folder / "val")
    shutil.copy(make_folder({"c": 9}, "others") / "c" / "8.png", folder / "val" / "a" / "0.png")
    shutil.copy(folder.parent / "others" / "c" / "7.png", folder / "val" / "b" / "100.png")
    seen.add(open_dataset(str(folder)).fingerprint)
    (folder / "val" / "a" / "0.png").unlink()
    seen.add(open_dataset(str(folder)).fingerprint)
    assert len(seen) == 3


def test_validation_images_are_tested_on_where_there_are_no_others(make_folder, capsys):
    folder = make_folder({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 2})
    data = open_dataset(str(folder))
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 0, 3)
    assert {path.parents[1].name for path in data.test.sources} == {"val"}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "photos holds no test images: those of val are tested on, and never "
        + "trained on or chosen by"
    )
    images = open_for_evaluation(str(folder), ("a", "b"))
    assert names(images.split) == names(data.test)
    assert images.part == "test"


def test_images_in_folders_within_a_class_are_of_that_class(make_folder):
    folder = make_folder({"cat": 2, "cat/2023": 2, "cat/2023/may": 1, "dog/2024": 4})
    data = open_dataset(str(folder))
    everything = data.train + data.test
    assert np.bincount(everything.labels).tolist() == [5, 4]
    for source, label in zip(everything.sources, everything.labels, strict=True):
        assert source.relative_to(folder).parts[0] == data.classes[label]


HEIC = """
import sys
if sys.argv[2] == "missing":
    sys.modules["pillow_heif"] = None
from edgenets.data.sources import open_dataset, open_for_evaluation
data = open_dataset(sys.argv[1])
assert open_for_evaluation(sys.argv[1], data.classes, data.seeded_split).split.sources
print(len(data.train) + len(data.test), *(file.reason for file in data.skipped))
"""


def test_heic_photographs_count_or_are_left_out_with_the_extra_named(make_folder):
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = make_folder({"a": 5, "b": 5})
    photograph = Image.open(folder / "a" / "0.png").resize((64, 64))
    pillow_heif.from_pillow(photograph).save(folder / "a" / "photo.heic")

    def said(state: str) -> str:
        command = [sys.executable, "-c", HEIC, str(folder), state]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert said("present") == "11"
    assert said("missing") == (
        "10 this needs pillow-heif, which is not installed; run: pip install 'edgenets[heic]'"
    )


# Evaluation


@pytest.mark.parametrize("below", ["test/", ""])
def test_evaluation_reads_test_or_all_of_one_level(make_folder, below):
    folder = make_folder({f"{below}dog": 2, f"{below}cat": 1})
    (folder / f"{below}dog" / "empty.png").touch()
    images = open_for_evaluation(str(folder), ("bird", "dog", "cat"))
    assert images.split.labels.tolist() == [2, 1, 1]
    assert [file.reason for file in images.skipped] == ["empty file"]
    assert (images.part, images.warnings) == ("test" if below else "all", ())


def test_evaluation_ignores_train(make_folder):
    folder = make_folder({"train/a": 5, "train/b": 5, "test/b": 2})
    assert open_for_evaluation(str(folder), ("a", "b")).split.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    "counts, sentence",
    [
        ({"dogs": 1}, r"class 'dogs' of .*photos is not a label of the model; did you mean dog\?"),
        ({"train/dog": 1}, "holds train but no test; make .*test, or name .*train"),
        ({"dog": 0}, "no usable image in .*photos: "),
        ({"test": 3}, "no class folders in .*test;"),
    ],
)
def test_folder_that_cannot_evaluate_is_refused_in_one_sentence(make_folder, counts, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        open_for_evaluation(str(make_folder(counts)), ("cat", "dog"))


@pytest.mark.parametrize("below", ["", "train/"])
def test_model_is_evaluated_on_the_test_part_that_was_split_off_for_it(make_folder, below):
    folder = make_folder({f"{below}a": 10, f"{below}b": 5})
    data = open_dataset(str(folder), seed=3, test_fraction=0.4)
    images = open_for_evaluation(str(folder), ("b", "a"), data.seeded_split)
    assert images.split.sources == data.test.sources
    assert images.split.labels.tolist() == (1 - data.test.labels).tolist()
    assert (images.part, images.warnings) == ("own test part", ())


def test_folder_that_changed_since_the_training_is_scored_whole_with_a_warning(make_folder):
    folder = make_folder({"a": 10, "b": 5})
    split = open_dataset(str(folder)).seeded_split
    (folder / "a" / "0.png").unlink()
    images = open_for_evaluation(str(folder), ("a", "b"), split)
    assert (images.part, len(images.split)) == ("all", 14)
    (warning,) = images.warnings
    assert "photos is not as the model was trained on it; all images are scored" in warning
    only_train = make_folder({"train/a": 3, "train/b": 3}, name="other")
    with pytest.raises(EdgenetsError, match=r"holds train but no test; make .*test, or name"):
        open_for_evaluation(str(only_train), ("a", "b"), split)


@pytest.mark.parametrize(
    "counts, scored, warning",
    [
        ({"a": 4, "b": 4}, 8, "images that the model was trained on may be among them"),
        ({"train/a": 4, "val/a": 1, "test/b": 2}, 7, "training images among them"),
        ({"test/a": 4, "test/b": 4}, 8, "images that the model was trained on may be among them"),
    ],
)
def test_all_images_are_scored_on_demand_with_a_warning(make_folder, counts, scored, warning):
    images = open_for_evaluation(str(make_folder(counts)), ("a", "b"), everything=True)
    assert (images.part, len(images.split)) == ("all", scored)
    assert len(images.warnings) == 1 and warning in images.warnings[0]


def test_all_images_of_the_models_own_folder_have_training_images_among_them(make_folder):
    folder = make_folder({"a": 10, "b": 5})
    split = open_dataset(str(folder)).seeded_split
    images = open_for_evaluation(str(folder), ("a", "b"), split, everything=True)
    assert len(images.split) == 15
    assert images.to_json() == {
        "split": "all",
        "skipped": [],
        "warnings": [
            "all images are scored, training images among them: expect less of new images"
        ],
    }


def test_unlabelled_images_of_any_folders_stand_beside_the_others(make_folder):
    data = make_folder({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 1})
    more = make_folder({"u": 2, "v/w": 3}, name="more")
    (more / "v" / "note.txt").write_text("no image")
    alone = open_dataset(str(data))
    dataset = alone.with_unlabelled(str(more))
    assert (dataset.unlabelled.labels == UNLABELLED).all() and len(dataset.unlabelled) == 5
    assert len(dataset.train) == len(alone.train)
    assert dataset.fingerprint != alone.fingerprint
    assert [Path(file.path).name for file in dataset.skipped] == ["note.txt"]
    with pytest.raises(EdgenetsError, match=r"unusable files \(1\): .*note.txt"):
        alone.with_unlabelled(str(more), strict=True)
    copied = more / "v" / "copy.png"
    copied.write_bytes(next((data / "test" / "a").iterdir()).read_bytes())
    with_a_copy = alone.with_unlabelled(str(more))
    assert len(with_a_copy.unlabelled) == 5  # a net is not to learn from what it is tested on
    (left_out,) = (file for file in with_a_copy.skipped if file.path == str(copied))
    assert left_out.reason.startswith("the same image as test/a/2")
    with pytest.raises(EdgenetsError, match=r"no folder '.*nowhere' of unlabelled images"):
        alone.with_unlabelled(str(data / "nowhere"))
