"""Training by several processes: the same weights in all, and after one of them was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import edgenets as en
from edgenets.errors import EdgenetsError
from edgenets.models.folder import WEIGHTS
from edgenets.pipeline.stages.places import CHECKPOINT
from edgenets.pipeline.workers import free_ports, read_cluster

TRAIN = (
    *(sys.executable, "-m", "edgenets", "train", "mobilenet_v1", "width=0.25", "resolution=16"),
    *("output_stride=8", "--data", "digits", "--epochs", "3", "--batch-size", "128"),
)
TWO = '{"worker": ["a:1", "b:1"]}'


def train(*options: str | Path) -> subprocess.Popen[str]:
    # Kernels divide their work, and so round, by the number of threads.
    env = os.environ | {"TF_NUM_INTRAOP_THREADS": "1"}
    command = [*TRAIN, *map(str, options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)


def children(process: int) -> list[int]:
    """The processes that a process started, the oldest first."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in listed.split()]


@pytest.mark.slow
def test_workers_have_the_same_weights_and_after_a_kill_the_same_again(tmp_path: Path):
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps({"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}))
    cluster = [
        train("--out", tmp_path / f"of_{i}", "--cluster", hosts, "--worker", str(i))
        for i in range(2)
    ]
    for worker in cluster:
        assert worker.communicate(timeout=300) and worker.returncode == 0
    weights = (tmp_path / "of_0" / WEIGHTS).read_bytes()
    assert (tmp_path / "of_1" / WEIGHTS).read_bytes() == weights

    out = tmp_path / "killed"
    killed = train("--out", out, "--workers", "2")
    deadline = time.monotonic() + 300
    while not (out / CHECKPOINT).exists():
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.05)
    workers = children(killed.pid)
    os.kill(workers[-1], signal.SIGKILL)
    _, said = killed.communicate(timeout=60)
    assert killed.returncode == 1
    assert "worker 1 ended with status -9" in said.splitlines()[-1]
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)

    again = train("--out", out, "--workers", "2")
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0
    assert "train 1/3" not in said
    assert (out / WEIGHTS).read_bytes() == weights


def test_cluster_is_as_tensorflow_has_it_too(tmp_path: Path):
    for i, text in enumerate((TWO, f'{{"cluster": {TWO}}}')):
        path = tmp_path / f"{i}.json"
        path.write_text(text)
        assert read_cluster(path) == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ('{"worker": ["a:1"]}', {}, "at least two workers"),
        ('{"worker": ["a:1", "b"]}', {}, "at least two workers"),
        ('["a:1", "b:1"]', {}, "at least two workers"),
        ('{"worker": ["a:1", "a:1"]}', {}, "names a worker twice"),
        ("{", {}, "is not valid JSON"),
        (TWO, {"worker": 2}, "worker must be from 0 to 1"),
        (TWO, {"workers": 2}, "pass one of the two"),
        (None, {"worker": 1}, "worker 1 is one of a cluster; pass cluster, too"),
        (None, {"workers": 0}, "workers must be a whole number, at least 1"),
    ],
)
def test_wrong_workers_are_refused(
    tmp_path: Path, content: str | None, arguments: dict, message: str
):
    if content is not None:
        arguments = {**arguments, "cluster": tmp_path / "hosts.json"}
        arguments["cluster"].write_text(content)
    with pytest.raises(EdgenetsError, match=message):
        en.train("mobilenet_v1", "digits", out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_weights_alone_need_one_worker(tmp_path: Path):
    with pytest.raises(EdgenetsError, match="leave workers out"):
        en.train("squeezenet", weights="cifar10", epochs=0, workers=2)
