"""The sensitivity of each layer of a net to compression, measured on images without any training.

One layer at a time is pruned, or shares its values, and the mean Kullback-Leibler divergence of the
net's answers from those of the unchanged net is taken. What pruning and sharing cost is taken to
add up, and so is what several layers cost: a proxy to choose by, not what fine-tuning leaves of it.

Source: layer by layer as in Han et al. 2015, arXiv:1506.02626, section 4.1 (there on accuracy).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras
from edgenets.models.codes import KernelCodes, quantize_kernel
from edgenets.models.fold import fold_batch_norm
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.logits import mean_divergence
from edgenets.progress import progress_bar
from edgenets.quantize.budget.choice import MOST_CLUSTERS, Choice, Option
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.sizes.counts import entropy_bytes
from edgenets.quantize.stages.codebook import share_codes
from edgenets.settings import Settings

SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
CLUSTERS = (MOST_CLUSTERS, 64, 32, 16, 8)


class Sensitivity(Settings):
    """What was measured of a layer."""

    weights: int
    pruning: dict[float, float]  # mean KL divergence in nats, by sparsity
    sharing: dict[int, float]  # the same, by number of shared values
    size_bytes: dict[float, dict[int, float]]  # entropy of the codes, by sparsity and values

    @property
    def options(self) -> list[Option]:
        """All combinations of sparsities and numbers of shared values."""
        return [
            Option(sparsity, clusters, size_bytes, self.pruning[sparsity] + self.sharing[clusters])
            for sparsity, by_clusters in self.size_bytes.items()
            for clusters, size_bytes in by_clusters.items()
        ]


def scan(
    model: keras.Model, images: NDArray[np.uint8], prunable: Collection[str]
) -> dict[str, Sensitivity]:
    """Measure the sensitivity of every layer with a kernel.

    Args:
        model: left as it is.
        images: prepared, `[images, height, width, 3]`; not of the test images.
        prunable: names of the layers that may be pruned.

    Raises:
        EdgenetsError: the model cannot be folded, or the images do not fit it.
    """
    folded = fold_batch_norm(model)
    inference = compile_inference(folded)
    reference = predict_logits(inference, images)
    layers = [layer for layer in folded.layers if kernel_axes(layer)]
    measurements = len(CLUSTERS) * len(layers) + len(SPARSITIES) * len(prunable)
    found = {}
    with progress_bar("sensitivity", measurements) as advance:

        def measure(layer: keras.layers.Layer, changed: NDArray[np.float32]) -> float:
            kernel = kernel_of(layer)
            unchanged = kernel.numpy()
            kernel.assign(changed)
            logits = predict_logits(inference, images)
            kernel.assign(unchanged)
            advance(1, layer.name)
            return mean_divergence(reference, logits)

        for layer in layers:
            sparsities = SPARSITIES if layer.name in prunable else ()
            codes = {
                sparsity: pruned_codes(model, layer, sparsity) for sparsity in (0.0, *sparsities)
            }
            found[layer.name] = Sensitivity(
                weights=codes[0.0].codes.size,
                pruning={
                    0.0: 0.0,
                    **{s: measure(layer, pruned_kernel(model, layer, s)) for s in sparsities},
                },
                sharing={k: measure(layer, share_codes(codes[0.0], k).values) for k in CLUSTERS},
                size_bytes={
                    sparsity: {k: entropy_bytes(share_codes(kernel, k).codes) for k in CLUSTERS}
                    for sparsity, kernel in codes.items()
                },
            )
    return found


def compress_untrained(
    model: keras.Model, folded: keras.Model, choice: Choice
) -> dict[str, KernelCodes]:
    """Return by layer the codes that a choice would give without any training."""
    return {
        name: share_codes(
            pruned_codes(model, folded.get_layer(name), option.sparsity), option.clusters
        )
        for name, option in choice.items()
    }


def pruned_codes(model: keras.Model, layer: keras.layers.Layer, sparsity: float) -> KernelCodes:
    """Return the codes of a layer of the folded model, pruned as `pruned_kernel` does."""
    return quantize_kernel(pruned_kernel(model, layer, sparsity), kernel_axes(layer))


def pruned_kernel(
    model: keras.Model, layer: keras.layers.Layer, sparsity: float
) -> NDArray[np.float32]:
    """Return the kernel of a layer of the folded model without its least weights.

    Which these are says the kernel before folding, which is the one that is pruned in training.
    """
    kept = largest_weights(kernel_of(model.get_layer(layer.name)).numpy(), sparsity)
    return kernel_of(layer).numpy() * kept


def largest_weights(kernel: NDArray[np.float32], sparsity: float) -> NDArray[np.bool_]:
    """Tell which round((1 - sparsity) * size) weights of a kernel have the largest magnitudes.

    >>> largest_weights(np.float32([3, -1, 0.5, -2]), 0.5)
    array([ True, False, False,  True])
    """
    kept = np.zeros(kernel.size, bool)
    count = round((1 - sparsity) * kernel.size)
    kept[np.argsort(-np.abs(kernel.ravel()), kind="stable")[:count]] = True
    return kept.reshape(kernel.shape)
