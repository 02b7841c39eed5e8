"""What the files in a stage's folder are called, and what a stage records."""

from __future__ import annotations

from typing import Any

CHECKPOINT = "checkpoint.safetensors"
FLOAT_FILE = "model_float32.tflite"
INT8_FILE = "model.tflite"
PACKAGE_FILE = "model.epk"  # of the int8 file
BENCHMARK_FILE = "benchmark.json"
ERROR_PLOT = "int8_error.svg"
HISTORY = "history.csv"  # of a stage that trains

Record = dict[str, Any]  # a stage's measurements, as JSON
