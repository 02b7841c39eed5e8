"""What README and docs say can be typed: commands, the stand-alone example, the config."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIG_PAGE = ROOT / "docs" / "reference" / "config.md"
GUIDE = ROOT / "docs" / "guide"


def python_in(text: str) -> str:
    """Return the one example in Python."""
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(example)


# A physical camera: one grey frame in the size that the example's configuration gives by default.
FAKE_CAMERA = """\
import numpy as np

class Picamera2:
    def create_still_configuration(self, main):
        assert main == {"format": "BGR888"}
        return main

    def configure(self, configuration):
        self.configuration = configuration

    def start(self):
        self.started = True

    def capture_array(self):
        assert self.started and self.configuration
        return np.full((480, 640, 3), 100, np.uint8)
"""


def test_ci_runs_the_readme_s_test_command():
    (command,) = re.findall(r"^(pip install .* && pytest .*)$", README, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text()
    install, test = command.split(" && ")
    assert install.removeprefix("pip install ") in ci
    assert re.search(rf"^{re.escape(test)}$", ci, re.MULTILINE)


def test_no_placeholder_is_left():
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert not re.search(r"@[A-Z]+@", file.read_text()), file


def test_config_in_the_docs_is_the_default_one():
    from edgenets.pipeline.config import RunConfig

    (block,) = re.findall(r"```yaml\n(.*?)```", CONFIG_PAGE.read_text(), re.DOTALL)
    assert RunConfig.model_validate(yaml.safe_load(block)) == RunConfig()


@pytest.mark.slow
def test_example_with_a_keras_model_of_ones_own_writes_its_file(tmp_path: Path, monkeypatch):
    from edgenets.models.backend import keras

    example = python_in((GUIDE / "export.md").read_text())
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    monkeypatch.chdir(tmp_path)
    exec(example, {"model": model, "labels": ("cat", "dog"), "images": images})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.tflite", "mine.tflite.json"]


@pytest.mark.slow
def test_camera_example_answers_with_a_label(tiny_run: Path, tmp_path: Path):
    example = python_in((GUIDE / "predict.md").read_text())
    (tmp_path / "picamera2.py").write_text(FAKE_CAMERA)
    (tmp_path / "example.py").write_text(example)
    (tmp_path / "model.tflite").write_bytes((tiny_run / "model.tflite").read_bytes())
    result = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in ("dark", "left", "right")


@pytest.mark.slow
def test_example_of_the_readme_exports_and_measures(
    tiny_run: Path, image_folder: Path, tmp_path: Path, monkeypatch, capsys
):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    exec(python_in(README).replace('"digits"', repr(str(image_folder))), {})
    top1, size_bytes, latency_ms = capsys.readouterr().out.split()
    assert int(size_bytes) == (tmp_path / "digits.tflite").stat().st_size
    assert float(latency_ms) > 0 and 0.5 < float(top1) <= 1
