"""What an error in a kernel costs: second derivatives of the net's answers, from unlabelled images.

The cost is the KL divergence of the changed net's answers from the net's own. To second order it is
half the squared change of a random mixture u of the logits whose covariance is diag(p) - p p'. A
change e of a row of a kernel changes u by e times the sum over positions of g x, where g is u's
gradient at the row's output and x what the row sees. The mean of its squares is the curvature,
here one for all rows of a group: images are too few to tell rows apart. A second one leaves out
what positions have in common; it is of higher rank, and keeps the first one from being believed in
directions that few images know.

Source: Botev et al. 2017, arXiv:1706.03662; Grosse and Martens 2016, arXiv:1602.01407 (positions);
Singh and Alistarh 2020, arXiv:2004.14340 (for compression).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.models.backend import keras, tf
from edgenets.progress import progress_bar
from edgenets.quantize.layers import kernel_attribute, kernel_axes, kernel_of

PROBES = 2  # mixtures of the logits per image
BATCH = 10  # images
BYTES_OF_A_SUM, MOST_BYTES = 24, 2**30
"""What an element of a layer's sums takes with those of a batch, and those of all layers that are
measured together: of a net with more the images are gone through again."""
RELU6_END = 6.0
VARIANTS = 4  # of each image
SMALLEST_CROP = 0.7  # of an image's side
DAMPING = 0.3  # of the mean curvature, added to all
EPSILON = 1e-12  # of a layer that the answers do not depend on

Array = NDArray[np.float32]


class Curvature(NamedTuple):
    """What errors of a layer's rows cost if its bias makes up for their mean."""

    matrix: Array  # [groups, inputs, inputs], nats per squared weight unit
    importance: Array  # [images, positions], of a squared error at each position of the output


def measure_curvatures(
    folded: keras.Model, images: Array, importance_images: int, *, seed: int
) -> dict[str, Curvature]:
    """Return the curvature of every kernel of a folded net, by layer.

    Args:
        folded: without BatchNorm.
        images: `[images, resolution, resolution, 3]` in [-1, 1].
        importance_images: the first ones, of which positions' importance is kept.
        seed: of the mixtures.
    """
    parts = _in_parts([layer for layer in folded.layers if kernel_axes(layer)])
    measured: dict[str, Curvature] = {}
    with progress_bar("curvature", len(parts) * len(images)) as advance:
        for layers in parts:
            measured |= _measure_layers(folded, layers, images, importance_images, seed, advance)
    return measured


def _in_parts(layers: list[keras.layers.Layer]) -> list[list[keras.layers.Layer]]:
    """Return the layers in parts, in order, whose sums take `MOST_BYTES` together or are one's."""
    parts: list[list[keras.layers.Layer]] = []
    room = 0
    for layer in layers:
        width = kernel_of(layer).shape.num_elements() // int(layer.output.shape[-1]) + 1
        needed = BYTES_OF_A_SUM * groups_of(layer) * width**2
        if needed > room:
            parts.append([])
            room = MOST_BYTES
        parts[-1].append(layer)
        room -= needed
    return parts


def _measure_layers(
    folded: keras.Model,
    layers: list[keras.layers.Layer],
    images: Array,
    importance_images: int,
    seed: int,
    advance: Callable[[int], None],
) -> dict[str, Curvature]:
    """Return the curvature of some layers' kernels, as `measure_curvatures` does of all."""
    probe = _probe(folded, layers)
    sums: list[list[NDArray[np.float64]]] = []
    importance: list[list[Array]] = [[] for _ in layers]
    for start in range(0, len(images), BATCH):
        batch = tf.constant(images[start : start + BATCH])
        found = [[part.numpy() for part in parts] for parts in probe(batch, seed + start)]
        for kept, (_, _, weights) in zip(importance, found, strict=True):
            if start < importance_images:
                kept.append(weights)
        if not sums:
            sums = [[np.zeros(part.shape) for part in parts[:2]] for parts in found]
        for both, parts in zip(sums, found, strict=True):
            for total, part in zip(both, parts[:2], strict=True):
                np.add(total, part, out=total)
        advance(len(batch))
    return {
        layer.name: Curvature(
            _damped(np.sum([_without_bias(part / len(images), layer) for part in both], axis=0)),
            np.concatenate(kept)[:importance_images],
        )
        for layer, both, kept in zip(layers, sums, importance, strict=True)
    }


def vary(images: Array, *, flip: bool, seed: int) -> Array:
    """Return the images followed by `VARIANTS` - 1 random crops of each, some of them mirrored."""
    random = np.random.default_rng(seed)
    size = images.shape[1]
    varied = [images]
    for _ in range(VARIANTS - 1):
        sides = np.maximum(1, (size * random.uniform(SMALLEST_CROP, 1, len(images))).astype(int))
        crops = []
        for image, side in zip(images, sides, strict=True):
            top, left = random.integers(0, size - side + 1, 2)
            crop = image[top : top + side, left : left + side]
            crops.append(crop[:, ::-1] if flip and random.random() < 0.5 else crop)
        varied.append(np.stack([tf.image.resize(crop, (size, size)).numpy() for crop in crops]))
    return np.concatenate(varied)


def groups_of(layer: keras.layers.Layer) -> int:
    """Return into how many groups a layer's output channels fall that see different inputs."""
    if kernel_attribute(layer) == "depthwise_kernel":
        return int(layer.input_shape[-1])
    return int(getattr(layer, "groups", 1))


def to_rows(kernel: NDArray[Any], groups: int, channels: int) -> NDArray[Any]:
    """Return a kernel as rows, [groups, channels / groups, inputs].

    >>> to_rows(np.arange(6).reshape(1, 1, 3, 2), groups=1, channels=2)
    array([[[0, 2, 4],
            [1, 3, 5]]])
    """
    return kernel.reshape(-1, groups, channels // groups).transpose(1, 2, 0)


def to_kernel(rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return rows in the shape of the kernel that they are of."""
    return np.ascontiguousarray(rows.transpose(2, 0, 1)).reshape(shape)


def seen_by(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Return what the rows of a layer see, `[images, positions, groups, inputs of a row]`."""
    groups = groups_of(layer)
    if isinstance(layer, keras.layers.Dense):
        return tf.reshape(inputs, (-1, math.prod(inputs.shape[1:-1]), 1, inputs.shape[-1]))
    height, width = layer.kernel_size
    patches = inputs
    if (height, width, *layer.strides) != (1, 1, 1, 1):
        patches = tf.image.extract_patches(
            inputs,
            (1, height, width, 1),
            (1, *layer.strides, 1),
            (1, *layer.dilation_rate, 1),
            layer.padding.upper(),
        )
    channels = inputs.shape[-1] // groups
    positions = patches.shape[1] * patches.shape[2]
    split = tf.reshape(patches, (-1, positions, height * width, groups, channels))
    ordered = tf.transpose(split, (0, 1, 3, 2, 4))
    return tf.reshape(ordered, (-1, positions, groups, height * width * channels))


def _probe(folded: keras.Model, layers: list[keras.layers.Layer]) -> Any:
    """Return the function that measures both curvatures and the importance on a batch."""
    ends = [layer.output for layer in layers]
    starts = [layer.input for layer in layers]
    opened = keras.Model(folded.input, [*ends, *starts, folded.output])
    count = len(layers)

    @tf.function(reduce_retracing=True)
    def probe(images: tf.Tensor, seed: tf.Tensor) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(images)
            *inner, logits = opened(images, training=False)
            mixtures = [_mixture(logits, (seed, i)) for i in range(PROBES)]
        gradients = [tape.gradient(mixture, inner[:count]) for mixture in mixtures]
        return [
            _measure(layer, inner[i], inner[count + i], [each[i] for each in gradients])
            for i, layer in enumerate(layers)
        ]

    return lambda images, seed: probe(images, tf.constant(seed))


def _mixture(logits: tf.Tensor, seed: tuple[Any, int]) -> tf.Tensor:
    """Return the sum over images of u'z for random u of covariance diag(p) - p p'."""
    answers = tf.nn.softmax(logits)
    root = tf.sqrt(answers)
    signs = tf.sign(tf.random.stateless_uniform(tf.shape(logits), seed, -1.0, 1.0))
    mixture = root * signs - answers * tf.reduce_sum(root * signs, axis=-1, keepdims=True)
    return tf.reduce_sum(tf.stop_gradient(mixture) * logits)


def _measure(
    layer: keras.layers.Layer, output: tf.Tensor, inputs: tf.Tensor, gradients: list[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return half the summed squares of a batch: of sums over positions, of positions; importance.

    The bias is the last input of each row.
    """
    seen = seen_by(layer, inputs)
    seen = tf.concat([seen, tf.ones_like(seen[..., :1])], axis=-1)
    groups, width = seen.shape[2], seen.shape[3]
    rows = output.shape[-1] // groups
    together, apart, importance = 0.0, 0.0, 0.0
    for gradient in gradients:
        free = gradient * tf.cast(_is_free(layer, output), gradient.dtype)
        split = tf.reshape(free, (-1, seen.shape[1], groups, rows))
        summed = tf.einsum("npgr,npgk->gnrk", split, seen)
        summed = tf.reshape(summed, (groups, -1, width))
        together += tf.matmul(summed, summed, transpose_a=True)
        squares = tf.reduce_sum(split**2, axis=-1, keepdims=True)
        weighted = tf.reshape(tf.transpose(seen * squares, (2, 0, 1, 3)), (groups, -1, width))
        plain = tf.reshape(tf.transpose(seen, (2, 0, 1, 3)), (groups, -1, width))
        apart += tf.matmul(weighted, plain, transpose_a=True)
        importance += tf.reduce_mean(squares[..., 0], axis=-1)
    scale = 2 * len(gradients) * rows
    return together / scale, apart / scale, importance / len(gradients)


def _is_free(layer: keras.layers.Layer, output: tf.Tensor) -> tf.Tensor:
    """Tell where a layer's activation passes on what changes before it."""
    name = getattr(layer.activation, "__name__", "")
    if name == "relu":
        return output > 0
    if name == "relu6":
        return (output > 0) & (output < RELU6_END)
    return tf.ones_like(output, tf.bool)


def _without_bias(matrix: NDArray[np.float64], layer: keras.layers.Layer) -> NDArray[np.float64]:
    """Return the curvature of all inputs but the last one, the bias, which follows them."""
    if not layer.use_bias:
        return matrix[:, :-1, :-1]
    last = matrix[:, :-1, -1:]
    return matrix[:, :-1, :-1] - last @ last.swapaxes(1, 2) / (matrix[:, -1:, -1:] + EPSILON)


def _damped(matrix: NDArray[np.float64]) -> Array:
    mean = np.diagonal(matrix, axis1=1, axis2=2).mean(axis=1)
    mean = np.maximum(mean, max(EPSILON, 1e-4 * mean.mean()))  # of a group that nothing depends on
    return (matrix + DAMPING * mean[:, None, None] * np.eye(matrix.shape[1])).astype(np.float32)


Curvatures = Mapping[str, Curvature]
