"""What the files in a stage's folder are called, and what a stage records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgenets.results.benchmark import StoredFile
from edgenets.results.result import Result

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINTS = "checkpoint*.safetensors*"  # of all trainings of a stage, the previous epochs' too
FLOAT_FILE = "model_float32.tflite"
INT8_FILE = "model.tflite"
PACKAGE_FILE = "model.epk"  # of the int8 file
BENCHMARK_FILE = "benchmark.json"
ERROR_PLOT = "int8_error.svg"
HISTORY = "history.csv"  # of a stage that trains

Record = dict[str, Any]  # a stage's measurements, as JSON


@dataclass(frozen=True, repr=False)
class StageRecord(Result):
    """What a stage made, and of what: the content of its stage.json.

    Attributes:
        folder: its name beside the other stages'.
        key: hash of all that it was made from.
        measured: accuracy, sizes, zeros and values of what it made; of a benchmark, its result.
    """

    name: str
    folder: str
    key: str
    seconds: float
    files: tuple[StoredFile, ...]
    measured: Record
