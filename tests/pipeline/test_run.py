"""A whole run on a small folder of images, and what is left of it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenets import flatbuffer
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.intervals import wilson_interval
from edgenets.pipeline.config_file import load_config
from edgenets.pipeline.run import run
from edgenets.quantize.package.epk import unpack

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tiny_run: Path) -> dict:
    return json.loads((tiny_run / "report.json").read_text())


def test_run_folder_holds_what_the_design_promises(tiny_run: Path):
    names = sorted(path.name for path in tiny_run.iterdir())
    assert names == [
        *("config.yaml", "model.epk", "model.tflite", "report.html", "report.json", "stages"),
    ]
    stages = sorted(path.name for path in (tiny_run / "stages").iterdir())
    assert stages == ["01-train", "02-prune", "03-share", "04-export", "05-benchmark"]


def test_report_lists_the_stages_in_order_with_their_measurements(report: dict):
    assert [stage["name"] for stage in report["stages"]] == ["train", "prune", "share", "export"]
    for stage in report["stages"]:
        assert stage["samples"] == 36
        assert 0 <= stage["top1"] <= 1
        assert stage["top5"] is None  # three classes
        assert 0 < stage["nonzero_params"] <= stage["params"]


def test_small_net_learns_the_images_and_keeps_what_it_learned(report: dict):
    top1 = {stage["name"]: stage["top1"] for stage in report["stages"]}
    assert top1["train"] >= 0.9
    assert top1["export"] >= top1["train"] - 0.1


def test_sparsity_and_sharing_asked_for_are_counted_in_the_file(report: dict, tiny_run: Path):
    file = flatbuffer.read(tiny_run / "model.tflite")
    assert len(file.weights) == 1 + 2 * 13 + 1  # stem, 13 separable convolutions, classifier
    for kernel in (tensor.data for tensor in file.weights):
        assert kernel.dtype == np.int8
        assert len(np.unique(kernel)) <= 16
    kernels = [t.data for t in file.weights if len(t.shape) == 2 or t.shape[1:3] == (1, 1)]
    assert len(kernels) == 14
    pruned = [kernel for kernel in kernels if kernel.size >= 1000]
    assert len(pruned) == 11  # not 8 x 16, 16 x 32 and the classifier's 256 x 3
    for kernel in pruned:
        assert np.count_nonzero(kernel) <= round(0.4 * kernel.size)
    assert report["stages"][-1]["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert report["stages"][-1]["distinct_values"] <= 16


def test_reduction_is_the_ratio_of_the_files(report: dict, tiny_run: Path):
    reduction = report["reduction"]
    float_file = tiny_run / "stages" / "01-train" / "model_float32.tflite"
    assert reduction["float_tflite_bytes"] == float_file.stat().st_size
    assert reduction["tflite_bytes"] == (tiny_run / "model.tflite").stat().st_size
    assert reduction["vs_float"] == reduction["float_tflite_bytes"] / reduction["tflite_bytes"]
    assert reduction["stored_bytes"] == (tiny_run / "model.epk").stat().st_size
    assert reduction["vs_alexnet"] == 240_000_000 / reduction["stored_bytes"]


def test_accuracies_come_with_their_intervals(report: dict):
    for stage in report["stages"]:
        assert stage["ci95"] == list(wilson_interval(stage["top1"], 36))


def test_small_test_set_is_warned_of(report: dict):
    assert [w.startswith("36 test images tell little") for w in report["warnings"]] == [True]


def test_history_of_a_training_is_kept_as_a_table_and_in_the_report(report: dict, tiny_run: Path):
    for stage, epochs in (("01-train", 18), ("02-prune", 4), ("03-share", 2)):
        columns, *rows = csv.reader((tiny_run / "stages" / stage / "history.csv").open())
        assert columns[:3] == ["epoch", "loss", "accuracy"]
        assert [row[0] for row in rows] == [str(epoch) for epoch in range(1, epochs + 1)]
        history = next(s for s in report["stages"] if stage.endswith(s["name"]))["history"]
        assert [float(row[1]) for row in rows] == history["loss"]
    assert report["stages"][-1]["history"] is None


@pytest.fixture(scope="module")
def untrained(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is over before its net has learned anything."""
    out = tmp_path_factory.mktemp("untrained")
    run(load_config(tiny_config, ["train.epochs=1", "compress=int8"]), out)
    return out


def test_net_that_is_no_better_than_the_commonest_class_is_said_loudly(untrained: Path, capsys):
    edgenets_command.main(["report", str(untrained)], standalone_mode=False)
    printed = capsys.readouterr()
    assert "Always answering 'dark', the commonest class, would be right for 33.33 %" in printed.out
    sentence = "cannot be told from always answering 'dark'"
    assert re.search(f"^WARNING: top-1 .*{sentence}", printed.err, re.MULTILINE)
    report = json.loads((untrained / "report.json").read_text())
    assert sum(sentence in warning for warning in report["warnings"]) == 1
    page = (untrained / "report.html").read_text()
    assert "cannot be told from always answering &#39;dark&#39;" in page


def test_worst_mistakes_are_in_the_report_with_pictures_that_report_shows_again(
    untrained: Path, image_folder: Path
):
    report = json.loads((untrained / "report.json").read_text())
    mistakes = report["mistakes"]
    wrong = {row["label"]: row["samples"] * (1 - row["top1"]) for row in report["per_class"]}
    for label, count in wrong.items():
        assert sum(m["label"] == label for m in mistakes) == min(4, round(count))
    assert mistakes
    for mistake in mistakes:
        path = Path(mistake["path"])
        assert path.parts[:2] == ("test", mistake["label"])
        assert (image_folder / path).is_file()
        assert mistake["answer"] != mistake["label"] and 1 / 3 <= mistake["score"] <= 1
    page = (untrained / "report.html").read_text()
    (untrained / "report.html").unlink()
    edgenets_command.main(["report", str(untrained)], standalone_mode=False)
    assert (untrained / "report.html").read_text() == page
    assert page.count('<img src="data:image/jpeg;base64,/9j/') == len(mistakes)


def test_package_holds_the_exported_file(tiny_run: Path):
    packed = (tiny_run / "model.epk").read_bytes()
    assert unpack(packed) == (tiny_run / "model.tflite").read_bytes()


def test_artefacts_are_listed_with_their_hashes(report: dict, tiny_run: Path):
    paths = {artefact["path"] for artefact in report["artefacts"]}
    assert {"model.tflite", "model.epk", "stages/04-export/model.epk"} <= paths
    for artefact in report["artefacts"]:
        path = tiny_run / artefact["path"]
        assert artefact["sha256"] == sha256_file(path)
        assert artefact["size_bytes"] == path.stat().st_size


def test_second_run_repeats_nothing(tiny_run: Path, tiny_config: Path, tmp_path: Path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")

    def made() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in copy.glob("stages/*/*")}

    before = made()
    run(load_config(tiny_config), copy)
    assert made() == before


def test_damaged_stage_is_made_again_as_it_was(tiny_run: Path, tiny_config: Path, tmp_path: Path):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    exported = copy / "stages" / "04-export" / "model.tflite"
    whole = exported.read_bytes()
    exported.write_bytes(whole[:1000])
    run(load_config(tiny_config), copy)
    assert exported.read_bytes() == whole


@pytest.mark.parametrize(
    "change, sentence",
    [
        ('compress.0.layers={"stemm*": {sparsity: 0.5}}', "unknown layer of mobilenet_v1 'stemm"),
        ("compress=[{stage: slim, speedup: 100}]", "cannot be slimmed to .* a speedup of at most"),
        ("compress=[{stage: near, base: BASE}]", "an update needs a base with all integers"),
    ],
)
def test_what_cannot_be_compressed_so_is_told_before_the_training(
    tiny_run: Path, tiny_config: Path, tmp_path: Path, change: str, sentence: str
):
    base = str(tiny_run / "stages" / "01-train")
    config = load_config(tiny_config, [change.replace("BASE", base)])
    with pytest.raises(EdgenetsError, match=sentence):
        run(config, tmp_path / "out")
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_changed_config_is_refused_with_the_way_out(
    tiny_run: Path, tiny_config: Path, tmp_path: Path
):
    copy = shutil.copytree(tiny_run, tmp_path / "run")
    changed = load_config(tiny_config, ["train.epochs=5"])
    with pytest.raises(EdgenetsError, match=r"epochs: 18 there, 5 here\); pass another folder"):
        run(changed, copy)


def test_run_folder_is_reproduced_from_its_own_config(tiny_run: Path, tiny_config: Path):
    assert load_config(tiny_run / "config.yaml") == load_config(tiny_config)


def test_killed_run_completes_and_equals_an_undisturbed_one(
    tiny_run: Path, tiny_config: Path, tmp_path: Path
):
    script = ROOT / "benchmarks" / "interrupt.py"
    command = [sys.executable, str(script), "--stages", "prune", "--config", tiny_config]
    command += ["--undisturbed", tiny_run, "--out", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "its report equals the undisturbed one" in result.stdout
