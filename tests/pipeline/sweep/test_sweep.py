"""A whole sweep on three small nets, with real trainings and files."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner

import edgenets as en
from edgenets.cli.sweep import command
from edgenets.errors import EdgenetsError
from edgenets.pipeline.config_file import load_config
from edgenets.pipeline.sweep import work
from edgenets.pipeline.sweep.search import search
from edgenets.pipeline.sweep.space import run_config
from edgenets.pipeline.sweep.store import Store
from edgenets.pipeline.sweep.trial import _take_over, take_training, train_trial
from edgenets.pipeline.sweep.worker import search_together

KEYS = set(
    "net arguments recipe target top1 ci95 stored_bytes size_bytes instructions cycles arena_bytes "
    "run".split()
)


@pytest.fixture(scope="module")
def result(tiny_sweep):
    return json.loads((tiny_sweep / "sweep.json").read_text())


@pytest.mark.slow
def test_a_point_outside_the_constraints_is_counted_and_never_trained(result, tiny_sweep):
    (outside,) = (row for row in result["trials"] if row["state"] == "outside")
    assert outside["arguments"]["base_expand"] == 512
    assert outside["macs"] > 100_000_000
    assert outside["stored_bytes"] > 300_000
    assert result["removed"] == {"stored <= 300KB": 1, "macs <= 100M": 1}
    assert not list((tiny_sweep / "trials" / "0002").glob("*/stages"))


@pytest.mark.slow
def test_every_trial_has_the_keys_that_are_promised(result):
    assert len(result["trials"]) == 3
    assert all(row.keys() >= KEYS for row in result["trials"])
    assert all(0 <= i < len(result["trials"]) for i in result["front"])


@pytest.mark.slow
def test_however_often_it_was_interrupted_no_epoch_was_trained_twice(result, tiny_sweep):
    for row, name in zip(result["trials"], ("0000", "0001", "0002"), strict=True):
        log = (tiny_sweep / "trials" / name / "log").read_text()
        told = re.findall(r"^train (\d)/2", log, re.M)
        assert told == ["1", "2"][: {"finished": 2, "stopped": 1, "outside": 0}[row["state"]]]


@pytest.mark.slow
def test_half_is_stopped_after_its_rung_and_the_other_half_is_finished(result):
    epochs = {row["state"]: row["epochs"] for row in result["trials"]}
    assert epochs == {"finished": 2, "stopped": 1, "outside": 0}
    assert result["epochs"] == 3


@pytest.mark.slow
def test_what_was_counted_before_the_training_is_nearly_what_the_file_takes(tiny_sweep):
    trial = next(t for t in Store(tiny_sweep).trials() if t.state == "finished")
    for counted, measured in zip(trial.counted, trial.measured, strict=True):
        for key in ("macs", "params", "arena_bytes"):
            assert counted[key] == measured[key], key
        # What the file says of its training comes on top.
        assert 0 <= measured["size_bytes"] - counted["size_bytes"] < 1024
        assert counted["stored_bytes"] == pytest.approx(measured["stored_bytes"], rel=0.1)


@pytest.mark.slow
def test_a_finished_sweep_does_nothing_and_shows_the_same(tiny_sweep, sweep_file, result):
    trials = en.sweep(sweep_file, out=tiny_sweep)
    assert trials.to_json() == result
    assert [trial.run for trial in trials.front("stored_bytes", "top1")] == [
        result["trials"][i]["run"] for i in result["front"]
    ]
    with pytest.raises(EdgenetsError, match="unknown figure 'price'"):
        trials.front("price")
    with pytest.raises(EdgenetsError, match="compared by their top1"):
        trials.front("stored_bytes", "macs")


@pytest.mark.slow
def test_runs_for_other_targets_and_recipes_take_over_what_they_have_in_common(
    tiny_sweep, tmp_path
):
    store = Store(tiny_sweep)
    (trial,) = (t for t in store.trials() if t.state == "finished")
    shutil.copytree(store.folder_of(trial), tmp_path / "0000")
    trained = (tmp_path / "0000/generic/stages/01-train/stage.json").read_bytes()
    _take_over(tmp_path / "0000/generic", "mcu")
    own = run_config(store.config, trial.point, "generic")
    take_training(tmp_path / "0000", own, tmp_path / "0001/generic")
    for target, stages in (("0000/mcu", ["01-train", "02-int8"]), ("0001/generic", ["01-train"])):
        taken = tmp_path / target / "stages"
        assert sorted(path.name for path in taken.iterdir()) == stages
        assert (taken / "01-train/stage.json").read_bytes() == trained
        assert load_config(tmp_path / target / "config.yaml").export.target == target[5:]
    rung = train_trial(store.config, trial.point, tmp_path / "0001", "generic", 0.5)
    assert rung["epochs"] == 1  # of the two that it was trained for
    assert rung["score"] == pytest.approx(trial.rungs[0]["score"])
    assert [path.name for path in (tmp_path / "0001/generic/stages").iterdir()] == ["01-train"]


@pytest.mark.slow
def test_the_command_shows_the_front_and_how_to_make_the_file_again(tiny_sweep):
    shown = CliRunner().invoke(command, ["--out", str(tiny_sweep)]).output
    assert "1 finished" in shown
    assert re.search(r"The one to take for generic: edgenets run \S+config.yaml --out \S+", shown)


@pytest.mark.slow
def test_a_folder_of_another_config_or_version_is_refused(
    tiny_sweep, sweep_file, tmp_path, monkeypatch
):
    folder = tmp_path / "sweep"
    shutil.copytree(tiny_sweep, folder, ignore=shutil.ignore_patterns("trials"))
    other = tmp_path / "other.yaml"
    other.write_text(sweep_file.read_text() + "seed: 1\n")
    with pytest.raises(EdgenetsError, match="whose 'seed' differs"):
        en.sweep(other, out=folder)
    monkeypatch.setattr(en, "__version__", "9.9")
    with pytest.raises(EdgenetsError, match=r"a sweep of edgenets 0\.\d+\.\d+, and this is 9\.9"):
        en.sweep(sweep_file, out=folder)


def test_a_damaged_journal_is_told(sweep_file, tmp_path):
    (tmp_path / "sweep.yaml").write_text(sweep_file.read_text())
    (tmp_path / "sweep.journal").write_text("{\n{\n")
    with pytest.raises(EdgenetsError, match=r"sweep\.journal is damaged"):
        en.sweep(out=tmp_path)


def test_a_folder_that_holds_no_sweep_or_cannot_be_written_is_told(sweep_file, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgenetsError, match="is not a folder"):
        en.sweep(sweep_file, out=tmp_path / "file")
    with pytest.raises(EdgenetsError, match="no data folder"):
        en.sweep(data="nowhere", out=tmp_path / "new")
    with pytest.raises(EdgenetsError, match="leave data and target out"):
        en.sweep(sweep_file, data="digits", out=tmp_path / "new")
    with pytest.raises(EdgenetsError, match="pass workers of this machine, or"):
        en.sweep(sweep_file, workers=2, ray="auto", out=tmp_path / "new")


def test_an_empty_space_says_which_constraint_removed_how_many(sweep_file, tmp_path, monkeypatch):
    sizes = {8: 500, 16: 2_000, 512: 3_000_000}

    def count(config, point):
        size = sizes[point.arguments["base_expand"]]
        return [{"target": t, "stored_bytes": size, "macs": size} for t in config.targets]

    monkeypatch.setattr(work, "count_trial", count)
    file = tmp_path / "sweep.yaml"
    file.write_text(
        sweep_file.read_text().replace(
            '"stored <= 300KB", "macs <= 100M"', '"stored <= 1KB", "macs <= 400"'
        )
    )
    with pytest.raises(
        EdgenetsError, match="of 3 points 'stored <= 1KB' removed 2, 'macs <= 400' removed 3"
    ):
        en.sweep(file, out=tmp_path / "sweep")


def test_a_trial_that_fails_is_noted_and_a_full_disk_is_not_its_fault(
    sweep_file, tmp_path, monkeypatch
):
    def fail(config, point):
        raise EdgenetsError("the net is too small")

    monkeypatch.setattr(work, "count_trial", fail)
    with pytest.raises(EdgenetsError, match=r"3 of 3 failed, the first .* the net is too small"):
        en.sweep(sweep_file, out=tmp_path / "failed")

    def full(config, point):
        raise EdgenetsError("the disk is full") from OSError(28, "No space left on device")

    monkeypatch.setattr(work, "count_trial", full)
    with pytest.raises(EdgenetsError, match="the disk is full"):
        en.sweep(sweep_file, out=tmp_path / "full")
    assert {trial.state for trial in Store(tmp_path / "full").trials()} == {"chosen"}


def test_a_disk_that_fails_is_one_sentence(sweep_file, tmp_path, monkeypatch):
    def fail(config, point):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work, "count_trial", fail)
    sentence = "cannot work in .*0000: No space left on device; .* free some space"
    with pytest.raises(EdgenetsError, match=sentence):
        en.sweep(sweep_file, out=tmp_path / "sweep")


def test_images_that_are_gone_are_no_fault_of_the_trials(
    sweep_file, image_folder, tmp_path, monkeypatch
):
    images = tmp_path / "images"
    images.symlink_to(image_folder)
    file = tmp_path / "sweep.yaml"
    file.write_text(sweep_file.read_text().replace(str(image_folder), str(images)))

    def gone(config, point):
        images.unlink()
        raise EdgenetsError("the disk is full") from OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(EdgenetsError, match="the disk is full"):
        patch.setattr(work, "count_trial", gone)
        en.sweep(file, out=tmp_path / "sweep")
    images.symlink_to(image_folder)
    store = Store(tmp_path / "sweep")
    images.unlink()
    with pytest.raises(EdgenetsError, match="no data folder"):
        search(store)
    assert {trial.state for trial in store.trials()} == {"chosen"}


def test_no_work_begins_after_the_hours(sweep_file, tmp_path):
    trials = en.sweep(sweep_file, out=tmp_path / "sweep", hours=1e-12)
    assert trials == ()
    assert "Nothing is finished yet" in (tmp_path / "sweep" / "sweep.html").read_text()


@pytest.mark.slow
def test_two_workers_find_nothing_left_to_do_and_end_well(tiny_sweep, result):
    assert en.sweep(out=tiny_sweep, workers=2).to_json() == result


@pytest.mark.slow
def test_a_worker_that_fails_is_told(tmp_path, capfd):
    with pytest.raises(EdgenetsError, match="of 1 processes of the sweep 1 failed, as said above"):
        search_together(tmp_path / "nothing", 1, None)
    assert "holds no sweep; pass SWEEP.yaml" in capfd.readouterr().err
