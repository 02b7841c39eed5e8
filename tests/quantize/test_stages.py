"""Pruning, weight sharing and quantization-aware training on a tiny net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.quantize.layers import copy_model, is_compressible
from edgenets.quantize.prune import PruneSettings, prune
from edgenets.quantize.qat import QatSettings, train_quantized
from edgenets.quantize.share import ShareSettings, share_weights
from edgenets.train import fit as fit_module
from edgenets.train.fit import FitSettings, TrainingData, fit

pytestmark = pytest.mark.slow
SHORT = {"epochs": 3, "batch_size": 16}
COMPRESSIBLE = ("pointwise", "logits")


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [model.get_layer(name).kernel.numpy() for name in COMPRESSIBLE]


@pytest.fixture(scope="module")
def trained(build_net: Callable, training_data: TrainingData, tmp_path_factory) -> keras.Model:
    model = build_net()
    settings = FitSettings(epochs=8, batch_size=16, learning_rate=0.01)
    checkpoint = tmp_path_factory.mktemp("trained") / "c"
    fit(model, training_data, settings, seed=0, checkpoint=checkpoint, key="", description="")
    return model


@pytest.fixture(scope="module")
def pruned(trained: keras.Model, training_data: TrainingData, tmp_path_factory) -> keras.Model:
    settings = PruneSettings(sparsity=0.5, **SHORT)
    checkpoint = tmp_path_factory.mktemp("pruned") / "c"
    return prune(trained, training_data, settings, seed=0, checkpoint=checkpoint, key="")[0]


def test_first_and_depthwise_convolutions_are_not_compressible():
    assert not is_compressible(keras.layers.Conv2D(8, 3))
    assert not is_compressible(keras.layers.DepthwiseConv2D(1))
    assert is_compressible(keras.layers.Conv2D(8, 1))
    assert is_compressible(keras.layers.Dense(8))


def test_net_without_compressible_layers_gets_a_sentence():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="bare")
    with pytest.raises(EdgenetsError, match="bare has neither a 1x1 convolution nor a dense layer"):
        copy_model(model, lambda layer: layer)


def test_pruned_kernels_keep_the_asked_share_and_the_others_all(pruned: keras.Model):
    for kernel in kernels(pruned):
        assert np.count_nonzero(kernel) == round(0.5 * kernel.size)
    assert np.count_nonzero(pruned.get_layer("conv").kernel) == 3 * 3 * 3 * 8


def test_stage_leaves_the_input_model_unchanged(
    trained: keras.Model, training_data: TrainingData, tmp_path: Path
):
    before = trained.get_weights()
    settings = PruneSettings(sparsity=0.5, **SHORT)
    prune(trained, training_data, settings, seed=0, checkpoint=tmp_path / "c", key="")
    for a, b in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_result_has_the_layers_and_weights_of_the_input(trained: keras.Model, pruned: keras.Model):
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in trained.layers]
    assert [w.name for w in pruned.weights] == [w.name for w in trained.weights]


def test_shared_kernels_hold_few_values_and_keep_their_zeros(
    pruned: keras.Model, training_data: TrainingData, tmp_path: Path
):
    settings = ShareSettings(clusters=8, **SHORT)
    shared, history = share_weights(
        pruned, training_data, settings, seed=0, checkpoint=tmp_path / "c", key=""
    )
    assert len(history["loss"]) == 3
    for before, after in zip(kernels(pruned), kernels(shared), strict=True):
        assert len(np.unique(after)) <= 8
        assert (after[before == 0] == 0).all()


def test_quantization_aware_training_keeps_the_zeros_and_gives_a_plain_folded_model(
    pruned: keras.Model, training_data: TrainingData, tmp_path: Path
):
    settings = QatSettings(**SHORT)
    trained, _ = train_quantized(
        pruned, training_data, settings, seed=0, checkpoint=tmp_path / "c", key=""
    )
    folded = fold_batch_norm(pruned)
    assert [layer.name for layer in trained.layers] == [layer.name for layer in folded.layers]
    assert [w.name for w in trained.weights] == [w.name for w in folded.weights]
    for before, after in zip(kernels(folded), kernels(trained), strict=True):
        np.testing.assert_array_equal(after == 0, before == 0)
        assert not np.array_equal(before, after)


def test_stopped_quantization_aware_training_ends_as_an_undisturbed_one(
    pruned: keras.Model,
    training_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def train(checkpoint: str) -> tuple[keras.Model, dict]:
        settings, path = QatSettings(**SHORT), tmp_path / checkpoint
        return train_quantized(pruned, training_data, settings, seed=0, checkpoint=path, key="")

    undisturbed, history = train("undisturbed")
    run_epoch = fit_module._Loop.run_epoch

    def stop_in_the_last_epoch(self, epoch, advance):
        if epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(self, epoch, advance)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_module._Loop, "run_epoch", stop_in_the_last_epoch)
        train("stopped")
    resumed, resumed_history = train("stopped")
    assert resumed_history == history
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_folded_model_can_be_pruned_and_shared(
    trained: keras.Model, training_data: TrainingData, tmp_path: Path
):
    folded = fold_batch_norm(trained)
    pruned, _ = prune(
        folded,
        training_data,
        PruneSettings(sparsity=0.5, **SHORT),
        seed=0,
        checkpoint=tmp_path / "prune",
        key="",
    )
    shared, _ = share_weights(
        pruned,
        training_data,
        ShareSettings(clusters=8, **SHORT),
        seed=0,
        checkpoint=tmp_path / "share",
        key="",
    )
    assert is_folded(shared)
    for before, after in zip(kernels(pruned), kernels(shared), strict=True):
        assert np.count_nonzero(before) == round(0.5 * before.size)
        assert len(np.unique(after)) <= 8
