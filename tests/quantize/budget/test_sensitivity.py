"""What a layer's compression costs, on a tiny net."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from edgenets.models.fold import fold_batch_norm
from edgenets.quantize.budget.choice import trade_offs
from edgenets.quantize.budget.sensitivity import (
    CLUSTERS,
    SPARSITIES,
    Sensitivity,
    compress_untrained,
    largest_weights,
    scan,
)
from edgenets.quantize.budget.sensitivity_plot import draw_sensitivity


@pytest.fixture(scope="module")
def net(build_net):
    """A net in which the kernel before folding orders weights otherwise than the folded one."""
    model = build_net()
    model.get_layer("pointwise_bn").gamma.assign(np.linspace(0.1, 10, 16))
    return model


@pytest.fixture(scope="module")
def found(net, training_data) -> dict[str, Sensitivity]:
    return scan(net, training_data.validation_images.take(range(20)), ["pointwise", "logits"])


def test_as_many_weights_are_kept_as_pruning_keeps():
    kernel = np.ones((3, 5, 7), np.float32)  # all equal: only the count decides
    assert largest_weights(kernel, 0.7).sum() == round(0.3 * 105)
    assert largest_weights(kernel, 0.0).all()


def test_scan_covers_the_options_of_every_layer_and_leaves_the_net_alone(net, found, training_data):
    before = net.get_weights()
    again = scan(net, training_data.validation_images.take(range(20)), ["pointwise", "logits"])
    assert again == found
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert found.keys() == {"conv", "pointwise", "logits"}
    assert list(found["conv"].pruning) == [0.0]
    assert list(found["logits"].pruning) == [0.0, *SPARSITIES]
    for layer in found.values():
        assert list(layer.sharing) == list(CLUSTERS)
        assert len(layer.options) == len(layer.pruning) * len(CLUSTERS)


def test_sizes_fall_with_sparsity_and_with_fewer_values(found):
    pointwise = found["pointwise"].size_bytes
    assert pointwise[0.9][255] < pointwise[0.5][255] < pointwise[0.0][255] <= 8 * 16
    assert pointwise[0.0][8] <= 8 * 16 * np.log2(8) / 8
    assert found["pointwise"].pruning[0.9] > found["pointwise"].pruning[0.3] >= 0


def test_stored_scan_is_read_as_it_was(found):
    for layer in found.values():
        assert Sensitivity.model_validate(layer.model_dump(mode="json")) == layer
        assert Sensitivity.model_validate_json(layer.model_dump_json()) == layer


def test_draft_is_pruned_where_training_prunes_and_has_few_codes(net, found):
    smallest = trade_offs({name: layer.options for name, layer in found.items()})[-1]
    codes = compress_untrained(net, fold_batch_norm(net), smallest)
    kept = codes["pointwise"].codes != 0
    assert smallest["pointwise"].sparsity == 0.9
    assert kept.sum() <= round(0.1 * 8 * 16)
    kernel = np.abs(net.get_layer("pointwise").kernel.numpy())  # not the folded one
    assert kernel[kept].min() >= np.sort(kernel, axis=None)[-round(0.1 * 8 * 16)]
    assert all(len(np.unique(np.append(kernel.codes, 0))) <= 8 for kernel in codes.values())


def test_plot_names_every_layer_and_is_the_same_each_time(found):
    choice = trade_offs({name: layer.options for name, layer in found.items()})[-1]
    content = draw_sensitivity(found, choice)
    assert content == draw_sensitivity(found, choice)
    texts = {text.strip() for text in ElementTree.fromstring(content).itertext()}
    assert found.keys() <= texts
