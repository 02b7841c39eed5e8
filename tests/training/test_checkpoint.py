"""A checkpoint is trained on as it was written, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz import checkpoint_outcomes, flip

from edgenets.models.backend import tf
from edgenets.training import fit as fit_module
from edgenets.training.checkpoint import (
    Progress,
    checkpoint_names,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings

BITS = 300  # that are flipped here; `benchmarks/fuzz.py` flips them all


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Two generations: of the epochs 1 and 2."""
    path = tmp_path / "checkpoint.safetensors"
    for epoch in (1, 2):
        variables = [tf.Variable([1.0 * epoch, 2.0])]
        save_checkpoint(path, "key", Progress(epoch=epoch), variables, [np.float32([epoch])])
    return path


def previous_of(path: Path) -> Path:
    return path.with_name(checkpoint_names(path.name)[1])


def epoch_of(path: Path) -> int | None:
    """Return which epoch is gone on from, with its variables; None if it begins again."""
    variable = tf.Variable([0.0, 0.0])
    found = load_checkpoint(path, "key", [variable])
    epoch, best = (found[0].epoch, found[1][0][0]) if found else (0, 0)
    assert variable.numpy().tolist() == ([epoch, 2.0] if found else [0.0, 0.0])
    assert best == epoch
    return epoch or None


def test_newest_generation_is_gone_on_from(checkpoint: Path):
    assert epoch_of(checkpoint) == 2
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == list(
        checkpoint_names(checkpoint.name)
    )
    remove_checkpoint(checkpoint)
    assert not list(checkpoint.parent.iterdir())
    assert epoch_of(checkpoint) is None


def test_damaged_checkpoint_is_said_and_the_older_one_taken(checkpoint: Path, capsys):
    checkpoint.write_bytes(flip(checkpoint.read_bytes(), 800))
    assert epoch_of(checkpoint) == 1
    assert f"{checkpoint} was damaged and is removed" in capsys.readouterr().err
    assert not checkpoint.exists()


def test_every_flipped_bit_is_noticed(checkpoint: Path):
    """A seeded part of all; the first length is that of the header, the last bits the hash."""
    last = 8 * checkpoint.stat().st_size - 1
    bits = [0, last, *np.random.default_rng(0).choice(last, BITS, replace=False)]
    assert checkpoint_outcomes(bits) == {"noticed": BITS + 2}


@pytest.mark.parametrize("kept", [0, 7, 31, 100, -1])
def test_cut_file_is_noticed(kept: int, checkpoint: Path):
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    assert epoch_of(checkpoint) == 1


def test_both_damaged_is_the_beginning(checkpoint: Path, capsys):
    for path in (checkpoint, previous_of(checkpoint)):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert epoch_of(checkpoint) is None
    assert capsys.readouterr().err.count("was damaged and is removed") == 2


def test_process_killed_between_the_two_names_left_the_older_one(checkpoint: Path):
    checkpoint.unlink()
    assert epoch_of(checkpoint) == 1


@pytest.mark.slow
def test_training_from_a_damaged_checkpoint_ends_as_an_undisturbed_one(
    build_net: Callable, training_data: TrainingData, tmp_path: Path, monkeypatch, capsys
):
    settings = FitSettings(epochs=3, batch_size=16, learning_rate=0.01)

    def train(folder: Path) -> list[np.ndarray]:
        net = build_net()
        options = {"seed": 1, "key": "key", "description": "", "checkpoint": folder / "c"}
        fit(net, training_data, settings, **options)
        return net.get_weights()

    undisturbed = train(tmp_path / "undisturbed")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        run_epoch = fit_module._Loop.run_epoch

        def stop(loop, epoch, advance):
            if epoch == 2:
                raise KeyboardInterrupt
            return run_epoch(loop, epoch, advance)

        patch.setattr(fit_module._Loop, "run_epoch", stop)
        train(tmp_path / "stopped")
    checkpoint = tmp_path / "stopped" / "c"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"epoch", b"epocj", 1))
    capsys.readouterr()
    for weight, expected in zip(train(tmp_path / "stopped"), undisturbed, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert "the training goes on from an earlier epoch" in capsys.readouterr().err
