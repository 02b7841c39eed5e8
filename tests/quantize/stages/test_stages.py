"""Pruning, weight sharing and quantization-aware training on a tiny net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.models.folder import Model, Spec
from edgenets.quantize.layers import copy_model, is_prunable
from edgenets.quantize.settings import PruneSettings, QatSettings, ShareSettings
from edgenets.quantize.stages.codebook import share_codes
from edgenets.quantize.stages.int8 import quantize_kernels
from edgenets.quantize.stages.prune import prune, sparsity_of
from edgenets.quantize.stages.qat import train_quantized
from edgenets.quantize.stages.share import share_weights
from edgenets.training import fit as fit_module
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit
from edgenets.training.settings import FitSettings

pytestmark = pytest.mark.slow
SHORT = {"epochs": 3, "batch_size": 16}
PRUNED = ("pointwise", "logits")
HALF = PruneSettings(sparsity=0.5, dense_below=0, **SHORT)


def kernels(model: Model) -> list[np.ndarray]:
    return [model.net.get_layer(name).kernel.numpy() for name in PRUNED]


@pytest.fixture(scope="module")
def trained(build_net: Callable, training_data: TrainingData, tmp_path_factory) -> Model:
    model = build_net()
    settings = FitSettings(epochs=8, batch_size=16, learning_rate=0.01)
    checkpoint = tmp_path_factory.mktemp("trained") / "c"
    fit(model, training_data, settings, seed=0, checkpoint=checkpoint, key="", description="")
    spec = Spec("tiny", {"classes": 2}, ("one", "two"), Preparation(8, 8), seed=0)
    return Model(model, spec)


@pytest.fixture(scope="module")
def pruned(trained: Model, training_data: TrainingData, tmp_path_factory) -> Model:
    checkpoint = tmp_path_factory.mktemp("pruned") / "c"
    return prune(trained, training_data, HALF, seed=0, checkpoint=checkpoint, key="")


def test_first_and_depthwise_convolutions_are_not_prunable():
    image = keras.Input((8, 8, 3))
    first, depthwise = keras.layers.Conv2D(8, 3), keras.layers.DepthwiseConv2D(3)
    later, dense = keras.layers.Conv2D(8, 3), keras.layers.Dense(2)
    dense(keras.layers.Flatten()(later(depthwise(first(image)))))
    assert [is_prunable(layer) for layer in (first, depthwise, later, dense)] == [0, 0, 1, 1]


def test_net_without_prunable_layers_gets_a_sentence():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="bare")
    with pytest.raises(EdgenetsError, match="bare has neither a dense layer nor a convolution"):
        copy_model(model, lambda layer: layer)


def test_pruned_kernels_keep_the_asked_share_and_the_others_all(pruned: Model):
    for kernel in kernels(pruned):
        assert np.count_nonzero(kernel) == round(0.5 * kernel.size)
    assert np.count_nonzero(pruned.net.get_layer("conv").kernel) == 3 * 3 * 3 * 8


def test_stage_leaves_the_input_model_unchanged(
    trained: Model, training_data: TrainingData, tmp_path: Path
):
    before = trained.net.get_weights()
    prune(trained, training_data, HALF, seed=0, checkpoint=tmp_path / "c", key="")
    for a, b in zip(before, trained.net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_result_has_the_layers_and_weights_of_the_input(trained: Model, pruned: Model):
    assert [layer.name for layer in pruned.net.layers] == [
        layer.name for layer in trained.net.layers
    ]
    assert [w.name for w in pruned.net.weights] == [w.name for w in trained.net.weights]


def test_layers_can_be_pruned_otherwise_or_kept_dense(
    trained: Model, training_data: TrainingData, tmp_path: Path
):
    overrides = {"*": {"sparsity": 0.25}, "logits": {"sparsity": 0}}
    settings = PruneSettings(layers=overrides, schedule="constant", **SHORT)
    pruned = prune(trained, training_data, settings, seed=0, checkpoint=tmp_path / "c", key="")
    pointwise, logits = kernels(pruned)
    assert np.count_nonzero(pointwise) == 0.75 * pointwise.size
    assert logits.all()


def test_small_kernels_stay_dense(trained: Model):
    pointwise = trained.net.get_layer("pointwise")
    assert pointwise.kernel.shape.num_elements() == 8 * 16
    assert sparsity_of(pointwise, PruneSettings(sparsity=0.5)) == 0
    assert sparsity_of(pointwise, PruneSettings(sparsity=0.5, dense_below=8 * 16)) == 0.5


def test_pattern_that_matches_no_layer_gets_a_sentence(
    trained: Model, training_data: TrainingData, tmp_path: Path
):
    meant = "unknown layer of tiny 'pointwize'; did you mean pointwise?"
    unpruned = r"unknown layer of tiny 'depthwise'.* \(known: logits, pointwise\)"
    for function, settings, sentence in (
        (prune, PruneSettings(layers={"pointwize": {"sparsity": 0.5}}, **SHORT), meant),
        (prune, PruneSettings(layers={"depthwise": {"sparsity": 0.5}}, **SHORT), unpruned),
        (share_weights, ShareSettings(layers={"pointwize": {"clusters": 4}}, **SHORT), meant),
    ):
        with pytest.raises(EdgenetsError, match=sentence):
            function(trained, training_data, settings, seed=0, checkpoint=tmp_path / "c", key="")


def test_shared_kernels_are_few_codes_times_scales_and_keep_their_zeros(
    pruned: Model, training_data: TrainingData, tmp_path: Path
):
    settings = ShareSettings(clusters=8, layers={"logits": {"clusters": 4}}, **SHORT)
    shared = share_weights(
        pruned, training_data, settings, seed=0, checkpoint=tmp_path / "c", key=""
    )
    assert len(shared.spec.history["share"]["loss"]) == 3
    assert [stage["stage"] for stage in shared.spec.recipe] == ["prune", "share"]
    assert is_folded(shared.net) and shared.spec.folded
    assert shared.kernels.keys() == {"conv", "pointwise", "logits"}
    for name, kernel in shared.kernels.items():
        assert len(np.unique(np.append(kernel.codes, 0))) <= (4 if name == "logits" else 8)
        np.testing.assert_array_equal(kernel.values, shared.net.get_layer(name).kernel)
    for before, after in zip(kernels(pruned), kernels(shared), strict=True):
        assert (after[before == 0] == 0).all()
    with pytest.raises(EdgenetsError, match="has shared weights, which pruning would make diff"):
        prune(shared, training_data, HALF, seed=0, checkpoint=tmp_path / "d", key="")


def test_quantization_aware_training_keeps_shared_weights_shared(
    trained: Model, training_data: TrainingData, tmp_path: Path
):
    folded = fold_batch_norm(trained.net)
    few = {name: share_codes(kernel, 6) for name, kernel in quantize_kernels(folded).items()}
    codes = train_quantized(
        Model(folded, trained.spec, Codes(few, {})),
        training_data,
        QatSettings(learning_rate=0.01, **SHORT),
        seed=0,
        checkpoint=tmp_path / "c",
        key="",
    ).kernels
    assert codes.keys() == few.keys()
    assert all(len(np.unique(np.append(kernel.codes, 0))) <= 6 for kernel in codes.values())
    assert any(not np.array_equal(codes[name].codes, few[name].codes) for name in codes)


def test_quantization_aware_training_keeps_the_zeros_and_gives_a_plain_folded_model(
    pruned: Model, training_data: TrainingData, tmp_path: Path
):
    settings = QatSettings(**SHORT)
    trained = train_quantized(
        pruned, training_data, settings, seed=0, checkpoint=tmp_path / "c", key=""
    )
    assert trained.codes is None
    folded = Model(fold_batch_norm(pruned.net), pruned.spec)
    assert [layer.name for layer in trained.net.layers] == [
        layer.name for layer in folded.net.layers
    ]
    assert [w.name for w in trained.net.weights] == [w.name for w in folded.net.weights]
    for before, after in zip(kernels(folded), kernels(trained), strict=True):
        np.testing.assert_array_equal(after == 0, before == 0)
        assert not np.array_equal(before, after)


def test_stopped_weight_sharing_ends_as_an_undisturbed_one(
    pruned: Model,
    training_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def train(checkpoint: str) -> Model:
        settings, path = ShareSettings(**SHORT), tmp_path / checkpoint
        return share_weights(pruned, training_data, settings, seed=0, checkpoint=path, key="")

    undisturbed = train("undisturbed")
    run_epoch = fit_module._Loop.run_epoch

    def stop_in_the_last_epoch(self, epoch, advance):
        if epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(self, epoch, advance)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_module._Loop, "run_epoch", stop_in_the_last_epoch)
        train("stopped")
    resumed = train("stopped")
    assert resumed.spec == undisturbed.spec
    for name, kernel in undisturbed.kernels.items():
        np.testing.assert_array_equal(kernel.codes, resumed.kernels[name].codes)
    for a, b in zip(undisturbed.net.get_weights(), resumed.net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_folded_model_can_be_pruned(trained: Model, training_data: TrainingData, tmp_path: Path):
    folded = Model(fold_batch_norm(trained.net), trained.spec)
    pruned = prune(folded, training_data, HALF, seed=0, checkpoint=tmp_path / "prune", key="")
    assert is_folded(pruned.net)
    for kernel in kernels(pruned):
        assert np.count_nonzero(kernel) == round(0.5 * kernel.size)
