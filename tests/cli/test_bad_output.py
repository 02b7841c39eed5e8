"""A place that cannot take the output, or a full disk: a sentence, and what was there is intact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgenets.files import locked_folder

NET = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
TRAIN = ("train", *NET, "--weights", "none")


# Where the output goes


def test_run_folder_that_cannot_be_one_is_refused_at_once(tmp_path: Path, failure):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is not a folder; pass another one with --out" in failure("run", "--out", file)
    for out in (file / "run", Path("/proc/run")):
        assert f"cannot use the folder {out}: " in failure("run", "--out", out)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["model.tflite", "report.json", "stages"])
def test_run_does_not_overwrite_what_is_not_a_run(name: str, tmp_path: Path, failure, content_of):
    (tmp_path / name).write_text("mine")
    assert f"holds {name} but no config.yaml of a run; pass another" in failure(
        "run", "--out", tmp_path
    )
    assert content_of(tmp_path) == {name: b"mine"}


def test_run_that_could_not_begin_leaves_the_folder_free_for_another_config(
    tmp_path: Path, failure
):
    out = tmp_path / "runs" / "mine"
    source = f"data.source={tmp_path / 'nowhere'}"
    assert "no data folder" in failure("run", "--set", source, "--out", out)
    assert not out.exists()
    out.mkdir(parents=True)
    assert "no data folder" in failure("run", "--set", source, "--out", out)
    assert list(out.iterdir()) == []  # the folder was there before, and is still


def test_second_process_in_a_folder_is_refused(tmp_path: Path, failure):
    with locked_folder(tmp_path):
        for command in (("run",), (*TRAIN, "--data", "digits")):
            sentence = failure(*command, "--out", tmp_path)
            assert f"{tmp_path} is in use by another edgenets process; wait for it" in sentence
    assert list(tmp_path.iterdir()) == []


def test_model_folder_that_cannot_be_one_is_refused_before_training(
    untrained, tmp_path: Path, failure, content_of
):
    train = (*TRAIN, "--data", "digits", "--out")
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is not a folder; pass another one with --out" in failure(*train, file)
    assert f"cannot use the folder {file / 'model'}: " in failure(*train, file / "model")
    before = content_of(untrained)
    assert "already holds a model; pass another folder or remove it" in failure(*train, untrained)
    assert (content_of(untrained), file.read_text()) == (before, "mine")


def test_tflite_that_cannot_be_written_is_refused_before_the_conversion(
    untrained, tmp_path, failure, content_of
):
    export = ("export", untrained, "--format", "fp32", "--out")
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (tmp_path, "."):
        assert "is a folder; pass the name of a file with --out" in failure(*export, folder)
    assert f"{file} is not a folder; pass another --out" in failure(*export, file / "m.tflite")
    assert content_of(tmp_path) == {"file": b"mine"}


def test_read_only_disk_is_refused_at_once(untrained: Path, small_disk, failure):
    disk = small_disk("size=1m")
    (disk / "empty").mkdir()
    small_disk("ro")
    train = (*TRAIN, "--data", "digits", "--out")
    assert "it cannot be written; pass another one with --out" in failure(*train, disk / "empty")
    assert "Read-only file system; pass another one" in failure(*train, disk / "new")
    assert "it cannot be written" in failure(
        "export", untrained, "--format", "fp32", "--out", disk / "m.tflite"
    )


# A full disk


@pytest.mark.slow
def test_full_disk_ends_an_export_and_leaves_the_old_file(
    untrained: Path, small_disk, capsys, edgenets, failure, content_of
):
    disk = small_disk("size=400k")  # the float32 file has over 800 KiB
    file = disk / "model.tflite"
    file.write_text("old")
    export = ("export", untrained, "--format", "fp32", "--out", file)
    assert f"cannot write {file}: No space left on device; what was there is" in failure(*export)
    assert content_of(disk) == {"model.tflite": b"old"}
    small_disk("size=2m")
    edgenets(*export)
    assert file.stat().st_size > 800_000


@pytest.mark.slow
def test_full_disk_ends_a_training_and_leaves_no_model(
    image_folder, small_disk, capsys, edgenets, failure, content_of
):
    disk = small_disk("size=400k")  # the weights have over 800 KiB
    (disk / "mine").write_text("mine")
    train = (*TRAIN, "--data", image_folder, "--out", disk / "model", "--epochs", 0)
    assert "No space left on device; what was there is unchanged, free some" in failure(*train)
    assert content_of(disk) == {"mine": b"mine"}
    small_disk("size=4m")
    edgenets(*train)
    assert sorted(p.name for p in (disk / "model").iterdir()) == [
        "spec.json",
        "weights.safetensors",
    ]


@pytest.mark.slow
def test_full_disk_ends_a_run_and_the_same_command_completes_it(
    tiny_run: Path, tiny_config: Path, small_disk, capsys, edgenets, failure, content_of, fill
):
    run_dir = shutil.copytree(tiny_run, small_disk("size=20m") / "run")
    shutil.rmtree(run_dir / "stages" / "04-export")
    (run_dir / "model.tflite").write_text("old")
    fill(run_dir.parent)
    before = content_of(run_dir.parent)
    run = ("run", tiny_config, "--out", run_dir)
    assert "No space left on device; what was there is unchanged, free some" in failure(*run)
    assert content_of(run_dir.parent) == before
    (run_dir.parent / "filler").unlink()
    edgenets(*run)
    for name in ("model.tflite", "stages/04-export/model.tflite"):
        assert (run_dir / name).read_bytes() == (tiny_run / name).read_bytes()
