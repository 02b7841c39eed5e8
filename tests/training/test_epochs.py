"""What is seen of a training; TensorBoard is kept from being imported throughout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import tf
from edgenets.training.epochs import EpochLog

VALUES = {"loss": 0.8, "validation_accuracy": 0.75}


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)


def test_each_epoch_is_a_line_on_stderr(capsys: pytest.CaptureFixture):
    log = EpochLog("prune", 2, 40)
    log.tell(1, VALUES)
    log.tell(2, VALUES)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("prune 1/2: loss 0.800, held-out top-1 75.00 % (59.8 to 85.8 %), ")
    assert first.endswith(" s left")
    assert last == "prune 2/2: loss 0.800, held-out top-1 75.00 % (59.8 to 85.8 %)"


def test_time_left_is_that_of_usual_epochs(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    moments = iter([0.0, 500.0, 560.0, 562.0, 564.0])  # the first epoch is compiled
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    log = EpochLog("train", 13, 40)
    for epoch in (0, 1, 2, 3):
        log.tell(epoch, VALUES)
    before, first, *_, third = capsys.readouterr().err.splitlines()
    assert before == "train 0/13: loss 0.800, held-out top-1 75.00 % (59.8 to 85.8 %)"
    assert first.endswith(", 12 min 0 s left")
    assert third.endswith(", 20.0 s left")


def test_events_need_no_tensorboard(tmp_path: Path):
    with pytest.raises(ImportError):
        import tensorboard  # noqa: F401

    log = EpochLog("train", 2, 40, tmp_path / "log")
    log.tell(1, VALUES)
    log.tell(2, {**VALUES, "loss": 0.5})
    (file,) = (tmp_path / "log" / "train").iterdir()
    written = [
        (
            event.step,
            value.tag,
            value.metadata.plugin_data.plugin_name,
            tf.make_ndarray(value.tensor),
        )
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    assert written == [
        (1, "loss", "scalars", np.float32(0.8)),
        (1, "validation_accuracy", "scalars", np.float32(0.75)),
        (2, "loss", "scalars", np.float32(0.5)),
        (2, "validation_accuracy", "scalars", np.float32(0.75)),
    ]


def test_log_dir_that_is_a_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "log").write_text("")
    with pytest.raises(EdgenetsError, match=r"must be written to a folder, .* pass another"):
        EpochLog("train", 2, 40, tmp_path / "log")
