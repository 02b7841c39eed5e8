"""Round a folded net's weights to float16, half the bytes of float32."""

from __future__ import annotations

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras

LARGEST = float(np.finfo(np.float16).max)


def round_weights(folded: keras.Model) -> None:
    """Round all weights of a folded model, which stays in float32, to values of float16.

    Raises:
        EdgenetsError: one is larger than float16 can hold; the model is then unchanged.
    """
    for weight in folded.weights:
        if np.abs(weight.numpy()).max() > LARGEST:
            raise EdgenetsError(
                f"{weight.name} of {folded.name} has a value beyond {LARGEST:g}, the largest of "
                "float16; use the recipe int8"
            )
    for weight in folded.weights:
        weight.assign(weight.numpy().astype(np.float16).astype(np.float32))
