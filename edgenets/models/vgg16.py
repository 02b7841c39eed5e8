"""VGG-16: a baseline that ratios are stated against, for shapes and counts.

Source: arXiv:1409.1556, table 1, column D.
"""

from __future__ import annotations

from edgenets.models.backend import keras
from edgenets.models.layers import conv, dense_classifier, max_pool

STAGES = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # channels of 3x3 convolutions


def vgg16(resolution: int = 224, classes: int = 1000) -> keras.Model:
    """Build the net: `[batch, resolution, resolution, 3]` in [-1, 1] -> `[batch, classes]` logits.

    Args:
        resolution: height and width of the image, at least 32.
        classes: number of logits.
    """
    image = keras.Input((resolution, resolution, 3), name="image")
    x = image
    for s, stage in enumerate(STAGES, start=1):
        for i, channels in enumerate(stage, start=1):
            x = conv(x, channels, kernel=3, batch_norm=False, name=f"stage{s}_{i}")
        x = max_pool(x, window=2, padding="valid", name=f"pool{s}")
    return keras.Model(image, dense_classifier(x, classes), name="vgg16")
