"""Instructions of one operator on the emulated cores: writes edgenets/models/operator_costs.py.

    edgenets doctor --setup-emulator
    python benchmarks/operator_costs.py [--out runs/operator_costs]

Files of one int8 operator are counted on each core, and the constants of `Cost` are fitted to the
counts of each kind by the least relative error. What a file costs beside its operator (Python, the
interpreter) is that of the smallest addition. Each count is kept in --out; started again, the
command goes on.
"""

from __future__ import annotations

import argparse
import itertools
import pprint
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from edgenets.export.devices.emulator import RECIPE
from edgenets.export.measure.instructions import count_contents
from edgenets.files import read_json, write_bytes, write_json
from edgenets.models.backend import keras, tf
from edgenets.models.grouped import ChannelHalf, ChannelShuffle
from edgenets.models.layers import hard_sigmoid, hard_swish
from edgenets.models.operator_costs import CORES, Cost, instructions
from edgenets.progress import quiet_stderr

L = keras.layers
TABLE = Path(__file__).parents[1] / "edgenets/models/operator_costs.py"
BEGIN = "# Written by benchmarks/operator_costs.py:\n"
COLUMNS = (
    *("operator", "core", "blocks, in x out", "a MAC", "an output and window position"),
    *("an output", "largest error"),
)
MULTIPLES_IN, MULTIPLES_OUT = (1, 4, 8, 16), (1, 4, 8, 16, 32)


class Case(NamedTuple):
    """One file: an operator on a map of `side` x `side` positions."""

    kind: str
    side: int
    inputs: int  # channels
    outputs: int
    window: int = 1  # side of the kernel

    def __str__(self) -> str:
        return f"{self.kind} {self.side} {self.inputs} {self.outputs} {self.window}"


def _same(kind: str, *maps: tuple[int, int], window: int = 1) -> list[Case]:
    return [Case(kind, side, channels, channels, window) for side, channels in maps]


MAPS = ((32, 8), (16, 24), (8, 64), (8, 40), (4, 256))
CASES = [
    *(Case("pointwise", *c) for c in ((16, 32, 64), (16, 24, 24), (16, 8, 16), (16, 16, 8))),
    *(Case("pointwise", *c) for c in ((8, 64, 128), (8, 48, 48), (8, 128, 128), (8, 128, 40))),
    *(Case("pointwise", *c) for c in ((4, 256, 256), (4, 192, 512), (4, 100, 64), (16, 16, 40))),
    *(Case("convolution", *c, 3) for c in ((32, 3, 8), (32, 3, 24), (16, 16, 64), (16, 32, 64))),
    *(Case("convolution", *c, 3) for c in ((8, 48, 192), (8, 24, 56), (8, 64, 64), (8, 20, 40))),
    *(Case("convolution", *c) for c in ((32, 3, 96, 7), (16, 16, 32, 5), (4, 64, 256, 3))),
    *_same("depthwise", *MAPS, (16, 12), window=3),
    *_same("depthwise", (16, 32), (8, 64), window=5),
    *(Case("dense", 1, *c) for c in ((256, 10), (1024, 10), (512, 1000), (128, 64), (64, 100))),
    *_same("max_pool", *MAPS, window=3),
    *_same("max_pool", (16, 24), (8, 64), window=2),
    *_same("average_pool", *MAPS, window=3),
    *_same("mean", *MAPS),
    *_same("add", *MAPS, (1, 8)),
    *_same("multiply", *MAPS),
    *_same("concatenate", *MAPS),
    *_same("shuffle", *MAPS),
    *_same("half", *MAPS),
    *_same("hard_swish", *MAPS),
    *_same("hard_sigmoid", *MAPS),
    *_same("relu", *MAPS),
]


def build(case: Case) -> keras.Model:
    x = keras.Input((case.side, case.side, case.inputs), batch_size=1)
    bias = {"use_bias": True, "bias_initializer": "random_normal"}
    outputs: dict[str, Callable[[], Any]] = {
        "pointwise": lambda: L.Conv2D(case.outputs, 1, **bias)(x),
        "convolution": lambda: L.Conv2D(case.outputs, case.window, padding="same", **bias)(x),
        "depthwise": lambda: L.DepthwiseConv2D(case.window, padding="same", **bias)(x),
        "dense": lambda: L.Dense(case.outputs, **bias)(L.Reshape((case.inputs,))(x)),
        "max_pool": lambda: L.MaxPooling2D(case.window, strides=1, padding="same")(x),
        "average_pool": lambda: L.AveragePooling2D(case.window, strides=1, padding="same")(x),
        "mean": lambda: L.GlobalAveragePooling2D()(x),
        "shuffle": lambda: ChannelShuffle(2)(x),
        "half": lambda: ChannelHalf(0)(x),
        "hard_swish": lambda: L.Activation(hard_swish)(x),
        "hard_sigmoid": lambda: L.Activation(hard_sigmoid)(x),
        "relu": lambda: L.ReLU()(x),
    }
    if case.kind in ("add", "multiply", "concatenate"):
        y = keras.Input(x.shape[1:], batch_size=1)
        merge = {"add": L.Add, "multiply": L.Multiply, "concatenate": L.Concatenate}[case.kind]
        return keras.Model([x, y], merge()([x, y]))
    return keras.Model(x, outputs[case.kind]())


def export(case: Case) -> bytes:
    keras.utils.set_random_seed(0)
    model = build(case)
    random = np.random.default_rng(0)
    shapes = [tensor.shape for tensor in model.inputs]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [random.uniform(-3, 3, shape).astype(np.float32) for shape in shapes] for _ in range(2)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet_stderr():
        content: bytes = converter.convert()
    return content


def count(out: Path) -> dict[str, dict[str, int]]:
    """Return the instructions of each case by core; count those that are missing in `out`."""
    kept = out / "counts.json"
    stored = read_json(kept) if kept.exists() else {}
    counts = stored["counts"] if stored.get("recipe") == RECIPE else {}
    missing = [case for case in CASES if str(case) not in counts]
    files = {str(case): export(case) for case in missing}
    if files:
        by_core = {core: count_contents(files, core) for core in CORES}
        counts |= {name: {core: by_core[core][name] for core in CORES} for name in files}
        write_json(kept, {"recipe": RECIPE, "counts": counts})
    return counts


def fit(cases: list[Case], counted: list[float]) -> tuple[Cost, float]:
    """Return the constants that fit, and their largest relative error on the cases."""
    wanted = np.array(counted, np.float64)
    is_matrix = cases[0].kind in ("pointwise", "convolution", "dense")
    best: tuple[float, Cost] | None = None
    for of_inputs, of_outputs in itertools.product(
        MULTIPLES_IN if is_matrix else (1,), MULTIPLES_OUT
    ):
        unit = np.eye(5)
        columns = [
            [instructions(Cost(of_inputs, of_outputs, *row), *_shape(c)) for c in cases]
            for row in unit
        ]
        constants, residual = nnls(np.transpose(columns) / wanted[:, None], np.ones(len(wanted)))
        if best is None or residual < best[0] * 0.98:  # the simpler multiple, where it is as good
            best = residual, Cost(of_inputs, of_outputs, *(float(f"{c:.4g}") for c in constants))
    assert best is not None
    found = [instructions(best[1], *_shape(c)) for c in cases]
    return best[1], float(np.max(np.abs(np.array(found) / wanted - 1)))


def _shape(case: Case) -> tuple[int, int, int, int]:
    """Return what `instructions` takes of a case."""
    positions, window = case.side**2, case.window**2
    if case.kind == "mean":
        positions, window = window, positions
    per_filter = case.inputs if case.kind in ("pointwise", "convolution", "dense") else 1
    outputs = {"concatenate": 2 * case.outputs, "half": case.outputs // 2}
    return positions, window, per_filter, outputs.get(case.kind, case.outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/operator_costs"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    counts = count(options.out)
    base = {core: counts[str(Case("add", 1, 8, 8))][core] for core in CORES}
    costs: dict[str, dict[str, tuple[float, ...]]] = {}
    print(f"| {' | '.join(COLUMNS)} |\n" + "|---" * len(COLUMNS) + "|")
    for kind in dict.fromkeys(case.kind for case in CASES):
        cases = [c for c in CASES if c.kind == kind and (c.kind, c.side) != ("add", 1)]
        rows: dict[str, list[str]] = {}
        for core in CORES:
            cost, error = fit(cases, [max(1, counts[str(c)][core] - base[core]) for c in cases])
            costs.setdefault(kind, {})[core] = tuple(cost)
            blocks = f"{cost.input_multiple} x {cost.output_multiple}"
            figures = f"{cost.mac:.2f} | {cost.tap:.2f} | {cost.output:.2f}"
            rows.setdefault(f"{blocks} | {figures} | {100 * error:.0f} %", []).append(core)
        for row, cores in rows.items():
            print(f"| {kind} | {'all' if len(cores) == len(CORES) else ', '.join(cores)} | {row} |")
    head = TABLE.read_text().partition(BEGIN)[0]
    literal = pprint.pformat(costs, sort_dicts=False, width=96)
    table = f"COSTS: dict[str, dict[str, tuple[float, ...]]] = {literal}\n"
    write_bytes(TABLE, (head + BEGIN + table).encode())
    print(f"wrote {TABLE}; run ruff format")


if __name__ == "__main__":
    main()
