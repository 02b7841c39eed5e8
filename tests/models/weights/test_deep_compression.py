from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgenets.data.images import Preparation, load_rgb, prepare
from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.registry import create
from edgenets.models.weights.convolutions import slots
from edgenets.models.weights.labels import imagenet_labels
from edgenets.models.weights.reading import read_weights

MEAN = np.float32([104, 117, 123])  # of B, G, R
KEPT = 100  # weights of each layer, an even number


def encode(shapes: list[tuple[int, ...]]) -> tuple[bytes, list[tuple[np.ndarray, np.ndarray]]]:
    """Return a `.net` file of random weights and the Caffe kernels and biases that it holds."""
    random = np.random.default_rng(0)
    content = [np.full(len(shapes), KEPT, "<u4").tobytes()]
    layers = []
    for height, width, channels, out in shapes:
        codebook = random.normal(0, 0.1, 256).astype("<f4")
        codebook[0] = 0
        bias = random.normal(0, 0.1, out).astype("<f4")
        codes = random.integers(1, 256, KEPT).astype(np.uint8)
        gaps = random.integers(0, 7, KEPT)
        nibbles = gaps.reshape(-1, 2)
        content += [codebook.tobytes(), bias.tobytes(), codes.tobytes()]
        content += [(nibbles[:, 0] + 16 * nibbles[:, 1]).astype(np.uint8).tobytes()]
        kernel = np.zeros(out * channels * height * width, np.float32)
        place = -1
        for code, gap in zip(codes, gaps, strict=True):
            place += gap + 1
            kernel[place] = codebook[code]
        layers.append((kernel.reshape(out, channels, height, width), bias))
    return b"".join(content), layers


@pytest.fixture(scope="module")
def encoded() -> tuple[bytes, list[tuple[np.ndarray, np.ndarray]]]:
    return encode([slot.kernel_shape for slot in slots(create("squeezenet"))])


def test_kernels_are_caffe_s_and_the_first_takes_bgr_less_the_mean(encoded, tmp_path: Path):
    content, layers = encoded
    (tmp_path / "x.net").write_bytes(content)
    imported = read_weights(tmp_path / "x.net", "squeezenet", {"resolution": 64})
    read = slots(imported.net)
    for (kernel, bias), target in list(zip(layers, read, strict=True))[1:]:
        ours, our_bias = target.layer.get_weights()
        np.testing.assert_array_equal(ours.transpose(3, 2, 0, 1), kernel)
        np.testing.assert_array_equal(our_bias, bias)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    kernel, bias = layers[0]
    caffe = pixels[..., ::-1] - MEAN
    expected = tf.nn.conv2d(caffe, kernel.transpose(2, 3, 1, 0), 2, "VALID") + bias
    first = keras.Model(imported.net.input, read[0].layer.output)(to_network(pixels))
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-3)
    assert imported.spec.labels == imagenet_labels()
    assert imported.spec.preparation == Preparation.default("squeezenet", 64)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content[:50], "ends after 50 bytes"),
        (lambda content: content[:-1], "ends after"),
        (lambda content: content + b"x", "has 1 bytes too many"),
        (lambda content: b"\xff\xff\xff\xff" + content[4:], "ends after"),
        (lambda content: b"model " * 1000, "ends after"),
    ],
)
def test_a_damaged_file_is_refused(encoded, change, message: str, tmp_path: Path):
    (tmp_path / "x.net").write_bytes(change(encoded[0]))
    with pytest.raises(EdgenetsError, match=rf"not a whole Deep Compression file.*{message}"):
        read_weights(tmp_path / "x.net", "squeezenet", {"resolution": 64})


def test_places_beyond_the_kernel_are_refused(encoded, tmp_path: Path):
    content = bytearray(encoded[0])
    first = 26 * 4 + 256 * 4 + 96 * 4 + KEPT + KEPT // 2
    gaps = first + 256 * 4 + 16 * 4 + KEPT  # of fire2's squeeze, which has 96 * 16 weights
    content[gaps : gaps + KEPT // 2] = b"\xff" * (KEPT // 2)
    (tmp_path / "x.net").write_bytes(content)
    with pytest.raises(EdgenetsError, match="fire2_squeeze_conv has more than its 1536 weights"):
        read_weights(tmp_path / "x.net", "squeezenet", {"resolution": 64})


@pytest.mark.parametrize("argument, value", [("version", "1.1"), ("bypass", "simple")])
def test_it_is_version_1_0_without_bypass(encoded, argument: str, value: str, tmp_path: Path):
    (tmp_path / "x.net").write_bytes(encoded[0])
    with pytest.raises(EdgenetsError, match=f"got {argument}={value}; leave {argument} out"):
        read_weights(tmp_path / "x.net", "squeezenet", {argument: value})


def test_it_says_its_input_range_itself(encoded, tmp_path: Path):
    (tmp_path / "x.net").write_bytes(encoded[0])
    with pytest.raises(EdgenetsError, match="says its input range itself"):
        read_weights(tmp_path / "x.net", "squeezenet", {}, input_range=(0.0, 1.0))


@pytest.mark.slow
def test_the_authors_file_classifies_as_well_as_published(shared_data: Path):
    imported = read_weights(shared_data / "squeezenet_deep_compression.net", "squeezenet", {})
    assert imported.spec.preparation == Preparation(227, 256)
    files = sorted(shared_data.glob("imagenet500/test/*/*.jpg"))
    pixels = np.stack([prepare(load_rgb(file), imported.spec.preparation) for file in files])
    logits = imported.net.predict(to_network(pixels), batch_size=25, verbose=0)
    labels = np.array([imported.spec.labels.index(file.parent.name) for file in files])
    assert (logits.argmax(1) == labels).mean() == pytest.approx(0.618, abs=0.006)
