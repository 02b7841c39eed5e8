"""What is wrong with a config is told before TensorFlow is loaded, which takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgenets.models.weights.sources import PRETRAINED

MODEL = str(PRETRAINED / "cifar10_squeezenet")
TRAIN = ("train", "mobilenet_v1", "--out", "model")
COMPRESS = ("compress", MODEL, "--out", "model")


@pytest.mark.parametrize(
    "arguments, message",
    [
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
    ],
    ids=lambda value: " ".join(value).replace(MODEL, "MODEL") if isinstance(value, list) else "",
)
def test_a_mistake_is_told_where_tensorflow_cannot_be(
    arguments: list[str], message: str, tmp_path: Path
):
    blocked = dict.fromkeys(("tensorflow", "tf_keras", "tensorflow_model_optimization"))
    script = (
        f"import sys; sys.modules.update({blocked}); sys.argv[1:] = {arguments}; "
        "from edgenets.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
