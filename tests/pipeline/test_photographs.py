"""Photographs, few of each class: what trained weights give, and what is said without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgenets.cli.main import edgenets_command

pytestmark = pytest.mark.slow
WEIGHTS = "mobilenet_v1_0.25_128_quant.tflite"


@pytest.fixture(scope="module")
def few_photographs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flowers: 20 of each of five classes to learn from, 40 of each to test with."""
    folder = tmp_path_factory.mktemp("photographs")
    for part, count in (("train", 20), ("test", 40)):
        for kind in sorted((shared_data / "flowers" / part).iterdir()):
            (folder / part / kind.name).mkdir(parents=True)
            for path in sorted(kind.iterdir())[:count]:
                (folder / part / kind.name / path.name).symlink_to(path)
    return folder


def train(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[dict, str]:
    edgenets_command.main(["train", *map(str, arguments), "--json"], standalone_mode=False)
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_trained_weights_beat_the_commonest_class_by_30_points(
    few_photographs: Path, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    weights = shared_data / "coral" / WEIGHTS
    options = ("--weights", weights, "--data", few_photographs, "--epochs", 4)
    result, said = train(capsys, "mobilenet_v1", *options, "--out", tmp_path / "m")
    assert result["samples"] == 200
    assert result["ci95"][0] >= 0.2 + 0.3
    assert not [warning for warning in result["warnings"] if "commonest class" in warning]
    assert "classifier on frozen features: held-out top-1" in said
    assert "of the way from the frozen features is kept" in said


def test_net_that_learned_nothing_is_said_to_be_no_better_than_the_commonest_class(
    few_photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    net = ("mobilenet_v1", "width=0.25", "resolution=64", "--weights", "none")
    options = ("--data", few_photographs, "--epochs", 1, "--learning-rate", 1e-6)
    result, _ = train(capsys, *net, *options, "--out", tmp_path / "m")
    (warning,) = [warning for warning in result["warnings"] if "commonest class" in warning]
    assert result["ci95"][0] <= 0.2
    assert "more images" in warning and "weights" in warning
