"""Damaged run folders and Ctrl-C: what is done is kept, and the same command goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgenets.pipeline.config_file import dump_config, load_config
from edgenets.training.checkpoint import Progress, save_checkpoint

NET = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
TRAIN = ("train", *NET, "--weights", "none")


# Damaged run folders


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
def test_stage_with_a_damaged_record_is_made_again(
    content: bytes, run_dir: Path, tiny_config: Path, capsys, edgenets, content_of
):
    record = run_dir / "stages" / "05-benchmark" / "stage.json"
    record.write_bytes(content)
    before = {name: c for name, c in content_of(run_dir).items() if "benchmark" not in name}
    edgenets("run", tiny_config, "--out", run_dir)
    assert json.loads(record.read_text())["name"] == "benchmark"
    after = content_of(run_dir)
    for name in before.keys() - {"report.json", "report.html"}:
        assert after[name] == before[name]


@pytest.mark.slow
def test_process_killed_just_before_the_end_of_a_stage_does_not_repeat_it(
    run_dir: Path, tiny_config: Path, capsys, edgenets
):
    stage = run_dir / "stages" / "01-train"
    for name in ("key", "checkpoint.safetensors"):  # which the next process removes
        (stage / name).write_text("left over")
    edgenets("run", tiny_config, "--out", run_dir)
    assert "train ..." not in capsys.readouterr().err
    assert not (stage / "key").exists() and not (stage / "checkpoint.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x7fELF\0", "config.yaml is not valid YAML"),
        (b"seed: 0\nseeds: 1\n", "config.yaml line 2: unknown key 'seeds'"),
        (b"", "holds a run whose 'data' differs"),
    ],
)
def test_damaged_config_of_a_run_is_refused_with_the_way_out(
    content: bytes, message: str, run_dir: Path, tiny_config: Path, failure, content_of
):
    (run_dir / "config.yaml").write_bytes(content)
    before = content_of(run_dir)
    sentence = failure("run", tiny_config, "--out", run_dir)
    assert message in sentence
    assert sentence.endswith(f"pass another folder with --out, or remove {run_dir} to start again")
    assert content_of(run_dir) == before


@pytest.mark.slow
def test_stage_with_a_bad_checkpoint_is_refused_with_the_way_out(
    run_dir: Path, tiny_config: Path, capsys, failure
):
    stages = run_dir / "stages"
    key = json.loads((stages / "03-share" / "stage.json").read_text())["key"]
    shutil.rmtree(stages / "03-share")
    partial = stages / ".03-share.partial"
    partial.mkdir()
    (partial / "key").write_text(key)
    checkpoint = partial / "checkpoint.safetensors"
    save_checkpoint(checkpoint, "another", Progress(), [], [])
    sentence = failure("run", tiny_config, "--out", run_dir)
    assert f"the checkpoint {checkpoint} belongs to a training with other settings" in sentence


# Ctrl-C


def interrupted_when(seen: Callable[[], bool], *arguments: object) -> str:
    """Start a command, press Ctrl-C once `seen`, and return what it says then."""
    script = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs ignore it
        "from edgenets.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not seen():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in messages
    assert messages.endswith(
        "interrupted; what is done is kept, the same command goes on from there\n"
    )
    return messages


def progress_in(checkpoint: Path) -> dict:
    content = checkpoint.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["progress"])


@pytest.mark.slow
def test_ctrl_c_in_a_training_keeps_its_checkpoint_and_the_command_goes_on(
    image_folder: Path, tmp_path: Path, capsys, edgenets, failure
):
    model = tmp_path / "model"
    checkpoint = model / "checkpoint.safetensors"
    train = (*TRAIN, "--data", image_folder, "--out", model, "--epochs", 5)
    interrupted_when(checkpoint.exists, *train)
    previous = model / "checkpoint.safetensors.previous"
    assert {*model.iterdir()} <= {checkpoint, previous}
    assert "belongs to a training with other settings" in failure(*train, "--no-flip")
    losses = progress_in(checkpoint)["history"]["loss"]
    assert 1 <= len(losses) < 5
    edgenets(*train)
    history = json.loads((model / "spec.json").read_text())["history"]["train"]
    assert len(history["loss"]) == 5 and history["loss"][: len(losses)] == losses
    assert not checkpoint.exists() and not previous.exists()


@pytest.mark.slow
def test_ctrl_c_in_the_benchmark_of_a_run_loses_nothing(
    run_dir: Path, tiny_config: Path, tmp_path: Path, capsys, edgenets, content_of
):
    config = load_config(tiny_config, ["benchmark.min_seconds=4"])
    for path in (tmp_path / "config.yaml", run_dir / "config.yaml"):
        path.write_text(dump_config(config))
    run = ("run", tmp_path / "config.yaml", "--out", run_dir)
    stages = run_dir / "stages"
    before = content_of(stages)
    messages = interrupted_when((stages / ".05-benchmark.partial" / "key").exists, *run)
    assert "[4/5] export: top-1" in messages and "[1/5] train ..." not in messages
    assert content_of(stages) == before
    edgenets(*run)
    record = json.loads((stages / "05-benchmark" / "stage.json").read_text())
    assert record["measured"]["latency_ms"]["median"] > 0
    assert not (stages / ".05-benchmark.partial").exists()
