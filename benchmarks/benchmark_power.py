"""Does `--vs` name a winner where there is one, and only there: tried with known pairs.

    python benchmarks/benchmark_power.py

A file is compared with itself and with one that has a layer more. The nets are chains of equal 3x3
convolutions, int8, with random weights: six of them, and seven. The two comparisons alternate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from edgenets.export.measure.benchmark import benchmark_file
from edgenets.models.backend import keras, tf

LAYERS = 6
CHANNELS = 32
RESOLUTION = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="comparisons of each kind")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        six, seven = Path(folder) / "six.tflite", Path(folder) / "seven.tflite"
        six.write_bytes(chain(LAYERS))
        seven.write_bytes(chain(LAYERS + 1))
        print("| comparison | ratio | 99 % interval | faster |")
        print("|---|---|---|---|")
        named = {six: 0, seven: 0}
        for _ in range(runs):
            for other in (six, seven):
                result = benchmark_file(six, versus=other).versus
                low, high = result["ratio"]["ci99"]
                wanted = "this" if other == seven else None
                named[other] += result["faster"] == "this" if wanted else bool(result["faster"])
                print(
                    f"| six against {other.stem} | {result['ratio']['median']:.3f} "
                    f"| {low:.3f} to {high:.3f} | {result['faster'] or '-'} |",
                    flush=True,
                )
    print(f"a winner of a file against itself: {named[six]} of {runs}")
    print(f"one layer more found slower: {named[seven]} of {runs}")


def chain(layers: int) -> bytes:
    """Return an int8 file of so many equal convolutions behind a first one."""
    keras.utils.set_random_seed(0)
    image = keras.Input((RESOLUTION, RESOLUTION, 3), batch_size=1)
    x = keras.layers.Conv2D(CHANNELS, 3, strides=2, padding="same", activation="relu")(image)
    for _ in range(layers):
        x = keras.layers.Conv2D(CHANNELS, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10)(x))

    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (20, 1, RESOLUTION, RESOLUTION, 3)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


if __name__ == "__main__":
    main()
