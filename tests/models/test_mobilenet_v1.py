from __future__ import annotations

import numpy as np

from edgenets.models.backend import keras
from edgenets.models.registry import create


def test_trainable_parameters_are_the_published_ones():
    model = create("mobilenet_v1")
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 4_231_976


def test_stem_costs_what_the_paper_s_first_row_says():
    stem = create("mobilenet_v1").get_layer("stem_conv")
    assert stem.count_params() == 32 * 3 * 3 * 3
    assert stem.output_shape == (None, 112, 112, 32)


def test_there_are_27_batch_norms():
    model = create("mobilenet_v1", width=0.25)
    norms = [m for m in model.layers if isinstance(m, keras.layers.BatchNormalization)]
    assert len(norms) == 27


def test_output_stride_removes_the_earliest_strides():
    model = create("mobilenet_v1", width=0.25, resolution=32, output_stride=8)
    strided = [layer.name for layer in model.layers if getattr(layer, "strides", (1, 1)) == (2, 2)]
    assert strided == ["block4_depthwise_conv", "block6_depthwise_conv", "block12_depthwise_conv"]


def test_output_is_logits_not_probabilities():
    assert create("mobilenet_v1", width=0.25).layers[-1].activation is keras.activations.linear
