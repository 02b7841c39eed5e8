"""What is wrong with a config is told before TensorFlow is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from edgenets.models.weights.sources import PRETRAINED

MODEL = str(PRETRAINED / "cifar10_squeezenet")
TRAIN = ("train", "mobilenet_v1", "--out", "model")
COMPRESS = ("compress", MODEL, "--out", "model")


MISTAKES = [
    (["run", "--set", "train.epoch=5"], "unknown key 'train.epoch'; did you mean epochs?"),
    (["run", "missing.yaml"], "cannot read missing.yaml: No such file"),
    (["run", "--set", "train"], "--set needs KEY=VALUE"),
    (["run", "--set", "model.name=mobilnet_v1"], "unknown model 'mobilnet_v1'"),
    (["run", "--set", "compress.0.sparsty=0.5"], "did you mean sparsity?"),
    (["run", "--set", "data.source=missing"], "no data folder"),
    (["run", "--set", "train.weights=missing.h5"], "there is no"),
    (["run", "--set", "train.teacher=missing"], "missing is not a model folder"),
    (["run", "--set", "compress=fp16"], "for which fp16 does nothing; leave it out"),
    (["run", "--set", "data.unlabelled=."], "unlabelled images teach by a teacher's answers"),
    ([*TRAIN, "--data", "digits", "--unlabelled", "."], "by a teacher's answers; pass a"),
    ([*TRAIN, "--data", "missing"], "no data folder"),
    ([*TRAIN, "--data", "digits", "wdith=0.5"], "did you mean width?"),
    ([*TRAIN, "--data", "digits", "--weights", "missing.h5"], "there is no"),
    ([*TRAIN, "--data", "digits", "--weights", "."], "is not a model folder"),
    ([*TRAIN, "--data", "digits", "--teacher", "missing"], "missing is not a model folder"),
    (
        [*TRAIN, "--data", "digits", "--weights", MODEL, "--labels", "missing"],
        "missing: No such file",
    ),
    (["compress", ".", "--recipe", "int8", "--data", "digits", "--out", "x"], "no spec.json"),
    ([*COMPRESS, "--recipe", "int9", "--data", "digits"], "did you mean int8?"),
    ([*COMPRESS, "--recipe", "int8", "--data", "missing"], "no data folder"),
]
SCRIPT = """\
import contextlib, io, json, os, sys
from pathlib import Path

sys.modules.update(dict.fromkeys(("tensorflow", "tf_keras", "tensorflow_model_optimization")))
from edgenets.cli.main import main

lines, results = json.load(sys.stdin), []
here = Path.cwd()
for i, line in enumerate(lines):
    folder = here / str(i)
    folder.mkdir()
    os.chdir(folder)
    sys.argv[1:] = line
    said, status = io.StringIO(), None
    with contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            status = end.code
    results.append((status, said.getvalue(), os.listdir(folder)))
print(json.dumps(results))
"""


class Result(NamedTuple):
    """What a command line came to."""

    status: int
    said: str
    files: list[str]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Of each line of the table, one after the other in a process that cannot load TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([arguments for arguments, _ in MISTAKES]),
        cwd=tmp_path_factory.mktemp("mistakes"),
        capture_output=True,
        text=True,
        check=True,
    )
    return [Result(*each) for each in json.loads(done.stdout)]


@pytest.mark.parametrize(
    "index", range(len(MISTAKES)), ids=[" ".join(a).replace(MODEL, "MODEL") for a, _ in MISTAKES]
)
def test_a_mistake_is_told_where_tensorflow_cannot_be(index: int, results: list[Result]):
    result = results[index]
    assert result.status == 1
    assert MISTAKES[index][1] in result.said
    assert not result.files
