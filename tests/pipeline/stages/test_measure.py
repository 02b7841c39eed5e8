"""What a stage measures of its model and file."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgenets.data.images import Preparation
from edgenets.export.formats import FP16, INT8
from edgenets.export.targets import TARGETS
from edgenets.export.write.checked_file import export_checked
from edgenets.models.backend import keras
from edgenets.models.folder import Model, Spec
from edgenets.models.grouped import GroupedPointwise
from edgenets.pipeline.stages import measure
from edgenets.quantize.layers import is_prunable, kernel_of


@pytest.fixture(scope="module")
def pruned():
    """A net with a grouped convolution, three quarters of whose prunable weights are 0."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = GroupedPointwise(8, 1, groups=2, name="grouped")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(4, name="logits")(x), name="net")
    for layer in filter(is_prunable, model.layers):
        kernel = kernel_of(layer)
        values = np.linspace(1, 2, kernel.shape.num_elements(), dtype=np.float32)
        values[np.arange(values.size) % 4 > 0] = 0
        kernel.assign(values.reshape(kernel.shape))
    return model


@pytest.fixture(scope="module")
def spec():
    return Spec("net", {"classes": 4}, ("a", "b", "c", "d"), Preparation(8, 8), seed=0)


CALIBRATION = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
IMAGES = SimpleNamespace(score=lambda logits: {})  # nothing is scored here


@pytest.mark.parametrize("target", TARGETS)
def test_zeros_are_counted_in_the_same_kernels_for_all_targets(pruned, spec, target):
    exported = export_checked(INT8, pruned, spec, CALIBRATION, None, TARGETS[target])
    measured = measure.measure_export(IMAGES, exported, pruned, 1, np.zeros((1, 4)))
    # 8 x 4 grouped and 8 x 4 dense weights; no image's convolution, no zeros between the groups
    assert measured["sparsity"] == 0.75


def test_float_files_are_not_packed(pruned, spec, monkeypatch):
    def refuse(content):
        raise AssertionError("a float file was packed")

    monkeypatch.setattr("edgenets.quantize.package.epk.pack", refuse)
    monkeypatch.setattr("edgenets.quantize.sizes.counts.pack", refuse)
    exported = export_checked(FP16, pruned, spec, CALIBRATION, None)
    assert measure.measure_export(IMAGES, exported, pruned, None, [])["stored_bytes"] is None
    images = SimpleNamespace(score=lambda logits: {}, test=CALIBRATION)
    monkeypatch.setattr(measure, "predict_logits", lambda model, images: [])
    assert measure.measure_model(images, Model(pruned, spec), b"12345")["stored_bytes"] is None
