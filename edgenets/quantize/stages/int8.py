"""Post-training int8: give every kernel and activation of a folded net its integers.

Source: Jacob et al. 2017, arXiv:1712.05877; TFLite 8-bit quantization specification.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgenets.models.backend import keras
from edgenets.models.codes import KernelCodes, quantize_kernel
from edgenets.quantize.layers import kernel_axes, kernel_of


def quantize_kernels(folded: keras.Model) -> Mapping[str, KernelCodes]:
    """Return the codes of every kernel of a folded model."""
    return {
        layer.name: quantize_kernel(kernel_of(layer).numpy(), axes)
        for layer in folded.layers
        if (axes := kernel_axes(layer))
    }
