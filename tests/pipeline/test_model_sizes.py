"""The size accounting of real nets, and of what `edgenets compress` makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgenets.cli.main import edgenets_command
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, KernelCodes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.registry import create
from edgenets.pipeline.model_sizes import account_model, layer_weights
from edgenets.quantize.stages.int8 import quantize_kernels

pytestmark = pytest.mark.slow
FILES = {"float_file_bytes": 1000, "file_bytes": 500, "stored_bytes": 100}
NETS = (
    ("mobilenet_v1", {"width": 0.25}),
    ("mobilenet_v3_small", {}),
    ("squeezenet", {}),
    ("shufflenet_v1", {"scale": 0.25}),
)


def by_name(accounting: dict, key: str) -> dict[str, dict]:
    return {record["name"]: record for record in accounting[key]}


@pytest.mark.parametrize("name, arguments", NETS)
def test_every_weight_of_a_net_is_counted_once(name: str, arguments: dict):
    folded = fold_batch_norm(create(name, resolution=64, classes=10, **arguments))
    kernels = quantize_kernels(folded)
    accounting = account_model(folded, Codes(kernels, {}), **FILES)
    parts = by_name(accounting, "rows")["float32"]["parts"]
    assert parts["values"] + parts["biases"] == 4 * folded.count_params()
    shared = by_name(accounting, "rows")["shared"]["parts"]
    assert shared["scales"] == 4 * sum(kernel.scale.size for kernel in kernels.values())


def test_weights_come_in_the_order_of_the_output_channels():
    image = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(4, (2, 5), name="conv")
    depthwise = keras.layers.DepthwiseConv2D((2, 3), use_bias=False, name="depthwise")
    dense = keras.layers.Dense(5, name="dense")
    dense(keras.layers.Flatten()(depthwise(conv(image))))
    weights = layer_weights(conv, {})
    assert (weights.kernel.shape, weights.biases, weights.scales) == ((4, 3, 2, 5), 4, 0)
    assert weights.kernel[3, 2, 1, 4] == conv.kernel.numpy()[1, 4, 2, 3]
    codes = np.arange(2 * 3 * 4, dtype=np.int8).reshape(2, 3, 4, 1)
    kernels = {"depthwise": KernelCodes(codes, np.ones((1, 1, 4, 1), np.float32))}
    weights = layer_weights(depthwise, kernels)
    assert (weights.biases, weights.scales) == (0, 4)
    np.testing.assert_array_equal(weights.kernel[2, 0], codes[:, :, 2, 0])
    np.testing.assert_array_equal(layer_weights(dense, {}).kernel, dense.kernel.numpy().T)


def test_batch_norm_is_counted_as_the_biases_that_it_becomes(build_net):
    model = build_net()
    rows = by_name(account_model(model, None, **FILES), "rows")
    assert rows["float32"]["parts"]["biases"] == 4 * (8 + 16 + 2)
    # Nothing is pruned or shared: only the headers of the three layers come on top.
    assert rows["huffman"]["size_bytes"] == rows["float32"]["size_bytes"] + 3 * 4


def test_compress_keeps_the_accounting_of_its_last_stage_and_prints_it(
    tiny_run: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    shared, out, file = tiny_run / "stages" / "03-share", tmp_path / "small", tmp_path / "x.tflite"
    options = ["--recipe", "int8", "--data", image_folder, "--out", out, "--per-layer"]
    for command in (["compress", shared, *options], ["export", out, "--out", file]):
        edgenets_command.main([*map(str, command)], standalone_mode=False)
    stages, accounting = (
        json.loads((out / "compress.json").read_text())[key] for key in ("stages", "accounting")
    )
    rows, layers = (by_name(accounting, key) for key in ("rows", "layers"))
    assert rows["float32_tflite"]["size_bytes"] == stages[0]["size_bytes"]
    assert rows["tflite"]["size_bytes"] == stages[-1]["size_bytes"] == file.stat().st_size
    assert rows["stored"]["size_bytes"] == stages[-1]["stored_bytes"]
    assert max(layer["distinct_values"] for layer in layers.values()) == 16
    # Pointwise kernels are 60 % zeros; tiny_config shares 16 values, hence indices of 4 bits.
    assert layers["block12_pointwise_conv"]["kept"] <= 0.4
    assert layers["block12_pointwise_conv"]["weight_bits"] == 4
    sizes = [rows[step]["size_bytes"] for step in ("float32", "pruned", "shared", "huffman")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4
    printed = capsys.readouterr().out
    assert all(name in printed for name in [*layers, "total", "Huffman coded"])
