"""A scan finds every usable image and gives a reason for everything else."""

import hashlib
import os

import pytest

from edgenets.data.folder import existing_folder, first_few, images_in, scan, splits_in
from edgenets.errors import EdgenetsError


def test_scan_lists_images_by_class_and_name(make_folder):
    folder = make_folder({"b": 2, "a": 1})
    found = scan(folder)
    assert found.classes == ("a", "b")
    assert found.split.sources == (
        folder / "a" / "100.png",
        folder / "b" / "0.png",
        folder / "b" / "1.png",
    )
    assert found.split.labels.tolist() == [0, 1, 1]
    assert found.skipped == ()


def test_scan_says_what_each_image_contains(make_folder):
    folder = make_folder({"a": 1})
    digest = hashlib.sha256((folder / "a" / "0.png").read_bytes()).hexdigest()
    assert scan(folder).contents == (f"{digest} a/0.png",)


def test_classes_are_sorted_as_text(make_folder):
    assert scan(make_folder({"10": 1, "9": 1, "B": 1, "a": 1})).classes == ("10", "9", "B", "a")


def test_bad_files_are_left_out_with_their_reasons(make_folder):
    folder = make_folder({"a": 3, "b": 3})
    (folder / "a" / "empty.png").touch()
    (folder / "a" / "notes.txt").write_text("not an image")
    (folder / "b" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "b" / "cut.png").write_bytes((folder / "b" / "100.png").read_bytes()[:100])
    (folder / "stray.png").write_bytes((folder / "a" / "0.png").read_bytes())
    found = scan(folder)
    reasons = {skipped.path: skipped.reason for skipped in found.skipped}
    cut = reasons.pop(str(folder / "b" / "cut.png"))
    assert cut.startswith("truncated or damaged: ")
    assert reasons == {
        str(folder / "stray.png"): "not in a class folder",
        str(folder / "a" / "empty.png"): "empty file",
        str(folder / "a" / "notes.txt"): "not an image Pillow can read",
        str(folder / "b" / "gone.png"): "no such file or directory",
    }
    assert len(found.split) == 6
    assert found.skipped[0].to_json() == {
        "path": str(folder / "stray.png"),
        "reason": "not in a class folder",
    }


def test_hidden_files_and_folders_are_ignored(make_folder):
    folder = make_folder({"a": 1, ".git": 1, "__MACOSX": 1})
    for name in (".DS_Store", "a/.DS_Store", "a/._0.png", "a/Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"rubbish")
    found = scan(folder)
    assert found.classes == ("a",)
    assert len(found.split) == 1
    assert found.skipped == ()


def test_links_are_followed_and_loops_end(make_folder, tmp_path):
    folder = make_folder({"a": 1})
    elsewhere = make_folder({"x": 2}, name="elsewhere")
    (folder / "b").symlink_to(elsewhere / "x")
    (folder / "a" / "linked.png").symlink_to(elsewhere / "x" / "0.png")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "c").symlink_to(folder)
    (folder / "d").symlink_to(folder / "d")
    found = scan(folder)
    assert found.classes == ("a", "b", "c")
    assert found.split.labels.tolist() == [0, 0, 1, 1]
    assert {skipped.path: skipped.reason for skipped in found.skipped} == {
        str(folder / "d"): "not in a class folder",
        str(folder / "a" / "up"): "a link to a folder around it",
        str(folder / "c"): "a link to a folder around it",
    }


def test_files_in_folders_within_a_class_folder_follow_its_own(make_folder):
    folder = make_folder({"a/2023": 1, "a": 2, "b/x/y": 1})
    found = scan(folder)
    assert [file.relative_to(folder).as_posix() for file in found.files] == [
        "a/100.png",
        "a/101.png",
        "a/2023/0.png",
        "b/x/y/200.png",
    ]
    assert found.labels.tolist() == [0, 0, 0, 1]
    assert [content.split()[1] for content in found.contents][2:] == [
        "a/2023/0.png",
        "b/x/y/200.png",
    ]


def test_images_in_a_folder_are_found_by_the_ends_of_their_names(make_folder):
    folder = make_folder({"b": 1, "a/c": 1, ".git": 1})
    for name in ("photo.JPEG", "a/new.heic", "notes.txt", "._photo.jpg"):
        (folder / name).touch()
    found = [path.relative_to(folder).as_posix() for path in images_in(folder)]
    assert found == ["a/c/100.png", "a/new.heic", "b/0.png", "photo.JPEG"]


def test_pipe_is_not_waited_for(make_folder):
    folder = make_folder({"a": 1})
    os.mkfifo(folder / "a" / "pipe.png")
    assert [skipped.reason for skipped in scan(folder).skipped] == ["not a regular file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_folder_without_permission_is_an_error_that_names_it(make_folder, mode):
    folder = make_folder({"a": 1})
    (folder / "a").chmod(mode)
    with pytest.raises(EdgenetsError, match=f"cannot read .*{folder / 'a'}.*ermission denied"):
        scan(folder)
    (folder / "a").chmod(0o700)


@pytest.mark.parametrize(
    "counts, splits",
    [
        ({"train/a": 1, "test/a": 1}, {"train", "test"}),
        ({"train/a": 1, "test/a": 1, "raw/a": 1}, {"train", "test"}),
        ({"train/a": 1, "test/a": 1, "val/a": 1}, {"train", "test", "validation"}),
        ({"Training/a": 1, "TESTING/a": 1}, {"train", "test"}),
        ({"valid/lot": 1, "invalid/lot": 1}, set()),  # two classes of a product
        ({"train/a": 1}, {"train"}),
        ({"test/a": 1}, {"test"}),
        ({"train": 1, "test": 1}, {"train", "test"}),  # no class folders: an error later
        ({"car": 1, "bus": 1, "train": 1}, set()),  # a train on rails
        ({"a": 1, "b": 1}, set()),
    ],
)
def test_train_and_test_are_splits_or_names_of_classes(make_folder, counts, splits):
    assert set(splits_in(make_folder(counts))) == splits


def test_missing_folder_suggests_its_neighbour(make_folder):
    folder = make_folder({"a": 1}, name="flowers")
    with pytest.raises(EdgenetsError, match=r"did you mean flowers\?"):
        existing_folder(str(folder.parent / "flowrs"))


def test_misspelt_digits_suggest_digits():
    with pytest.raises(EdgenetsError, match=r"no data folder 'digit'; did you mean digits\?"):
        existing_folder("digit")


def test_missing_folder_of_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(EdgenetsError, match=r"no data folder .*; give a folder laid out as"):
        existing_folder(str(tmp_path / "neither" / "nor"))


def test_file_instead_of_a_folder_is_named(tmp_path):
    (tmp_path / "photos.zip").touch()
    with pytest.raises(EdgenetsError, match=r"photos\.zip is a file; give a folder"):
        existing_folder(str(tmp_path / "photos.zip"))


def test_first_few_counts_the_rest():
    assert first_few(["a"]) == "a"
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(["a", "b", "c", "d"]) == "a, b, c and 1 more"
