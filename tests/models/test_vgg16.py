from __future__ import annotations

import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.registry import create

pytestmark = pytest.mark.usefixtures("weights_not_drawn")


def test_thirteen_3x3_convolutions_and_three_dense_layers():
    model = create("vgg16", resolution=32, classes=10)
    kernels = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    assert [shape[:2] for shape in kernels[:13]] == [(3, 3)] * 13
    assert [tuple(shape) for shape in kernels[13:]] == [(512, 4096), (4096, 4096), (4096, 10)]


def test_too_small_an_image_gets_a_sentence():
    with pytest.raises(EdgenetsError, match="pool5 needs a map of at least 2 x 2 positions"):
        create("vgg16", resolution=31)
