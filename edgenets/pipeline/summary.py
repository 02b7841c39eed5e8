"""The report of a run: what the stages measured, ratios, and how to do it again."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from edgenets.export.measure.accuracy import warnings_of_score
from edgenets.models.folder import versions
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.places import (
    BENCHMARK_FILE,
    INT8_FILE,
    PACKAGE_FILE,
    Record,
    StageRecord,
)
from edgenets.results.report import Report
from edgenets.units import ALEXNET_BYTES

STAGE_KEYS = (
    *("top1", "top5", "ci95", "samples", "size_bytes", "stored_bytes"),
    *("nonzero_params", "params", "sparsity", "distinct_values", "history"),
)

KERNEL_KEYS = ("sparsity", "distinct_values")  # what a kernel in the file tells of its layer


def summarize(
    config: RunConfig,
    images: RunImages,
    records: list[StageRecord],
    accounting: Record,
    folder: Path,
) -> Report:
    """Return the report of the run in `folder` from its stages' records.

    Args:
        accounting: the size accounting of the exported file.
    """
    measured = {record.name: record.measured for record in records}
    train, export = measured["train"], measured["export"]
    benchmark = measured["benchmark"]
    dataset = images.dataset
    content = {
        "model": {
            "name": config.model["name"],
            "arguments": {**config.model, "classes": len(dataset.classes)},
            "params": train["params"],
            "macs": train["macs"],
            "preparation": str(images.preparation),
        },
        "data": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
            "fingerprint": dataset.fingerprint,
            "skipped": [skipped.to_json() for skipped in dataset.skipped],
        },
        "warnings": [*images.warnings, *warnings_of_score(export)],
        "target": config.export.target,
        "seed": config.seed,
        "seconds": round(sum(record.seconds for record in records), 3),
        "stages": [
            {
                "name": record.name,
                "seconds": record.seconds,
                **{key: record.measured.get(key) for key in STAGE_KEYS},
            }
            for record in records
            if record.name != "benchmark"
        ],
        "artefacts": _artefacts(records),
        "reduction": {
            "float_tflite_bytes": train["size_bytes"],
            "tflite_bytes": export["size_bytes"],
            "stored_bytes": export["stored_bytes"],
            "vs_float": train["size_bytes"] / export["size_bytes"],
            "stored_vs_float": train["size_bytes"] / export["stored_bytes"],
            "vs_alexnet": ALEXNET_BYTES / export["stored_bytes"],
        },
        "accounting": accounting,
        "latency_ms": benchmark["latency_ms"],
        "benchmark": benchmark,
        "fidelity": export["fidelity"],
        "verify": export["verify"],
        "per_class": export["per_class"],
        "confusion": export["confusion"],
        "mistakes": export["mistakes"],
        "layers": _layers(train["layers"], export["kernels"]),
        "config": config.model_dump(mode="json"),
        "versions": {
            **versions(),
            "python": platform.python_version(),
            benchmark["runtime"]["name"]: benchmark["runtime"]["version"],
        },
    }
    return Report.from_json(content, folder=folder)


def _artefacts(records: list[StageRecord]) -> list[dict[str, Any]]:
    """List what the stages made; a benchmark's result is a measurement and differs each time."""
    files = [
        (f"stages/{record.folder}/{file.name}", file)
        for record in records
        for file in record.files
        if file.name != BENCHMARK_FILE
    ]
    final = [(file.name, file) for _, file in files if file.name in (INT8_FILE, PACKAGE_FILE)]
    return [
        {"path": path, "sha256": file.sha256, "size_bytes": file.size_bytes}
        for path, file in (*files, *final)
    ]


def _layers(layers: list[Record], kernels: list[Record]) -> list[dict[str, Any]]:
    """Join the net's layers with the file's kernels."""
    by_layer = {kernel["layer"]: kernel for kernel in kernels}
    joined = []
    for layer in layers:
        kernel = by_layer.get(layer["name"], {}) if layer["macs"] else {}
        found = {key: kernel[key] for key in KERNEL_KEYS if key in kernel}
        joined.append({**layer, **found})
    return joined
