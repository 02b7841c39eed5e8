"""Instructions that one int8 operator executes on the core of a board, estimated from its shape.

A kernel computes channels in blocks: of the last block all channels cost as much as if they were
there. `Cost` says how large the blocks are that fit the counts best. Loads no TensorFlow.

Source: `python benchmarks/operator_costs.py`: LiteRT 2.1.6 on the emulated cores. A test counts one
net and compares.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
TARGET_CORES = {"rpi3": "cortex-a53", "rpi4": "cortex-a72", "rpi5": "cortex-a76"}
"""The targets that instructions are estimated for, and the cores that they have."""


class Cost(NamedTuple):
    """The constants of one kind of operator on one core."""

    input_multiple: float  # of channels
    output_multiple: float
    mac: float  # instructions of a multiply and add, or of a position of a pool's window
    tap: float  # of an output value, for each position of the window
    output: float  # of an output value
    position: float  # of a position of the output's map
    operator: float  # of the operator as a whole


def instructions(
    cost: Cost, positions: float, window: float, inputs: float, outputs: float
) -> float:
    """Return what an operator is estimated to execute for one image.

    Args:
        cost: of its kind, on the core.
        positions: of its output's map.
        window: positions that one of them is computed from.
        inputs: channels that each of its filters reads; 1 where channels do not mix.
        outputs: channels.

    >>> instructions(Cost(1, 16, 0.5, 0.0, 2.0, 0.0, 100.0), 64, 1, inputs=8, outputs=9)
    6244.0
    """
    padded_inputs, padded_outputs = (
        ceil(channels / multiple) * multiple
        for channels, multiple in ((inputs, cost.input_multiple), (outputs, cost.output_multiple))
    )
    of_output = window * (padded_inputs * cost.mac + cost.tap) + cost.output
    return positions * (padded_outputs * of_output + cost.position) + cost.operator


# Written by benchmarks/operator_costs.py:
COSTS: dict[str, dict[str, tuple[float, ...]]] = {
    "pointwise": {
        "cortex-a53": (1, 16, 0.3657, 1.815, 0.0, 8.457, 0.0),
        "cortex-a72": (8, 1, 0.2509, 3.967, 0.0, 14.88, 490.0),
        "cortex-a76": (1, 16, 0.07709, 1.969, 0.0, 9.097, 63.58),
    },
    "convolution": {
        "cortex-a53": (1, 16, 0.3615, 0.3078, 1.752, 14.81, 0.0),
        "cortex-a72": (8, 1, 0.241, 1.087, 2.566, 39.03, 5147.0),
        "cortex-a76": (4, 16, 0.07506, 0.3678, 1.822, 13.56, 2132.0),
    },
    "depthwise": {
        "cortex-a53": (1, 8, 0.6383, 0.0, 0.0, 82.54, 1227.0),
        "cortex-a72": (1, 8, 0.6383, 0.0, 0.0, 82.54, 1228.0),
        "cortex-a76": (1, 8, 0.6383, 0.0, 0.0, 82.53, 1242.0),
    },
    "dense": {
        "cortex-a53": (1, 16, 0.4874, 1.905, 0.0, 217.8, 0.0),
        "cortex-a72": (1, 8, 0.3077, 4.315, 0.0, 215.0, 0.0),
        "cortex-a76": (1, 16, 0.1352, 1.873, 0.0, 237.3, 0.0),
    },
    "max_pool": {
        "cortex-a53": (1, 16, 0.0, 0.01417, 1.274, 59.85, 809.9),
        "cortex-a72": (1, 16, 0.0, 0.01417, 1.274, 59.85, 809.9),
        "cortex-a76": (1, 16, 0.0, 0.01451, 1.276, 59.81, 792.2),
    },
    "average_pool": {
        "cortex-a53": (1, 1, 1.462, 0.0, 0.0, 296.5, 2514.0),
        "cortex-a72": (1, 1, 1.462, 0.0, 0.0, 296.5, 2514.0),
        "cortex-a76": (1, 1, 1.462, 0.0, 0.0, 296.5, 2531.0),
    },
    "mean": {
        "cortex-a53": (1, 16, 0.3479, 0.0, 7.415, 0.0, 0.0),
        "cortex-a72": (1, 16, 0.348, 0.0, 7.402, 0.0, 0.0),
        "cortex-a76": (1, 16, 0.3482, 0.0, 7.43, 0.0, 0.0),
    },
    "add": {
        "cortex-a53": (1, 1, 2.429, 0.0, 0.0, 0.04051, 0.0),
        "cortex-a72": (1, 1, 2.429, 0.0, 0.0, 0.04051, 0.0),
        "cortex-a76": (1, 1, 2.43, 0.0, 0.0, 0.03428, 0.0),
    },
    "multiply": {
        "cortex-a53": (1, 1, 2.242, 0.0, 0.0, 0.0267, 0.0),
        "cortex-a72": (1, 1, 2.242, 0.0, 0.0, 0.0267, 0.0),
        "cortex-a76": (1, 1, 2.243, 0.0, 0.0, 0.02554, 0.0),
    },
    "concatenate": {
        "cortex-a53": (1, 32, 0.1074, 0.0, 0.0, 56.65, 0.0),
        "cortex-a72": (1, 32, 0.1074, 0.0, 0.0, 56.65, 0.0),
        "cortex-a76": (1, 32, 0.1081, 0.0, 0.0, 56.64, 0.0),
    },
    "shuffle": {
        "cortex-a53": (1, 32, 6.899, 0.0, 0.0, 44.47, 911.0),
        "cortex-a72": (1, 32, 6.899, 0.0, 0.0, 44.47, 911.0),
        "cortex-a76": (1, 32, 6.897, 0.0, 0.0, 44.5, 924.9),
    },
    "half": {
        "cortex-a53": (1, 32, 1.234, 0.0, 0.0, 0.0, 173.9),
        "cortex-a72": (1, 32, 1.234, 0.0, 0.0, 0.0, 173.9),
        "cortex-a76": (1, 32, 1.234, 0.0, 0.0, 0.0, 177.2),
    },
    "hard_swish": {
        "cortex-a53": (1, 1, 1.989, 0.0, 0.0, 0.0522, 0.0),
        "cortex-a72": (1, 1, 1.989, 0.0, 0.0, 0.0522, 0.0),
        "cortex-a76": (1, 1, 1.987, 0.0, 0.0, 0.0545, 0.0),
    },
    "hard_sigmoid": {
        "cortex-a53": (1, 1, 4.291, 0.0, 0.0, 0.04042, 330.9),
        "cortex-a72": (1, 1, 4.291, 0.0, 0.0, 0.04042, 330.9),
        "cortex-a76": (1, 1, 4.294, 0.0, 0.0, 0.02569, 328.9),
    },
    "relu": {
        "cortex-a53": (1, 1, 42.98, 0.0, 0.0, 0.05344, 0.0),
        "cortex-a72": (1, 1, 42.98, 0.0, 0.0, 0.05344, 0.0),
        "cortex-a76": (1, 1, 42.99, 0.0, 0.0, 0.03309, 0.0),
    },
}
