"""A report as `edgenets run` writes it, small and made up."""

import pytest

KIB = 1024


@pytest.fixture(scope="session")
def make_report():
    """A function from labels and the number of test images to a report."""
    return build_report


def build_report(labels=("cat", "dog", "elk"), samples=100):
    """A run whose int8 file is right 93 times of 100, the float network 95 times."""
    rest = len(labels) - 1
    confusion = [[samples if i == j else 0 for j in range(rest + 1)] for i in range(rest + 1)]
    confusion[0][:2] = [samples - 7, 7]
    stage = {
        "samples": samples,
        "ci95": [0.888, 0.978],
        "top5": None,
        "seconds": 2.5,
        "params": 2000,
    }
    layer = {"output_shape": [8, 8, 4], "activation_bytes": 1024}
    runtime = {
        **{"name": "reference", "package": "ai-edge-litert", "version": "2.3.0", "bit_equal": 16},
        **{"largest_step": 0.0, "same_answers": 1.0, "ci95": [0.8, 1.0], "top1": 0.9375},
        **{"first_difference": None, "problem": None},
    }
    parted = {
        "first_difference": {
            **{
                "operator": 3,
                "op": "CONV_2D",
                "name": "<stem>",
                "values": 5,
                "of": 64,
                "images": 4,
            },
            "largest_step": 1.0,
        }
    }
    return {
        "model": {
            "name": "mobilenet_v1",
            "arguments": {"name": "mobilenet_v1", "width": 0.25, "classes": len(labels)},
            "params": 2000,
            "macs": 5000,
        },
        "data": {
            "name": "pets",
            "classes": list(labels),
            "train": 400,
            "test": samples,
            "fingerprint": "f00d",
            "skipped": [],
        },
        "warnings": [],
        "target": "generic",
        "seed": 7,
        "seconds": 5.0,
        "stages": [
            {
                **stage,
                "name": "train",
                "top1": 0.95,
                "size_bytes": 400 * KIB,
                "stored_bytes": None,
                "nonzero_params": 2000,
                "sparsity": 0.0,
                "distinct_values": 1234,
                "history": {
                    "epoch": [1, 2, 3],
                    "loss": [2.5, 1.0, 0.5],
                    "accuracy": [0.4, 0.7, 0.9],
                    "validation_loss": [2.25, 1.25, 0.75],
                    "validation_accuracy": [0.5, 0.8, 0.95],
                    "learning_rate": [0.004, 0.002, 0.0],
                },
            },
            {
                **stage,
                "name": "export",
                "top1": 0.93,
                "size_bytes": 100 * KIB,
                "stored_bytes": 50 * KIB,
                "nonzero_params": 800,
                "sparsity": 0.6,
                "distinct_values": 163,
                "history": None,
            },
        ],
        "artefacts": [{"path": "model.tflite", "sha256": "beef", "size_bytes": 100 * KIB}],
        "reduction": {"vs_float": 4.0, "stored_vs_float": 8.0, "vs_alexnet": 4687.5},
        "accounting": {
            "rows": [
                {
                    **{"name": "float32", "kind": "theoretical", "size_bytes": 4000},
                    **{"vs_float": 1.0, "vs_alexnet": 60000.0},
                }
            ],
            "total": {},
        },
        "latency_ms": {"median": 1.25, "mean": 1.3, "p90": 1.5, "ci95": [1.2, 1.31]},
        "benchmark": {
            "device": {"processor": "Cortex-A76", "machine": "aarch64", "cores": 4, "system": "L"},
            "runtime": {"name": "ai-edge-litert", "version": "2.3.0"},
            "threads": 1,
            "warm_up": {"runs": 50, "stable": True},
            "load_ms": 2.0,
            "first_ms": 3.0,
            "peak_memory_bytes": 3 * KIB * KIB,
        },
        "fidelity": {"snr_db": 26.29, "agreement": 0.995, "samples": 200},
        "verify": {
            "images": 16,
            "runtimes": [runtime, {**runtime, "name": "xnnpack", "bit_equal": 3, **parted}],
            "first_difference": {
                **parted["first_difference"],
                "runtimes": ["reference", "xnnpack"],
            },
        },
        "per_class": [
            {
                "label": label,
                "samples": samples,
                "top1": confusion[i][i] / samples,
                "ci95": [0.4, 1.0],
            }
            for i, label in enumerate(labels)
        ],
        "confusion": confusion,
        "mistakes": [],
        "layers": [
            {**layer, "name": "image", "kind": "InputLayer", "params": 0, "macs": 0},
            {
                **layer,
                "name": "stem_conv",
                "kind": "Conv2D",
                "params": 108,
                "macs": 1250,
                "sparsity": 0.125,
                "distinct_values": 77,
            },
        ],
        "config": {"data": {"source": "digits"}, "benchmark": {"threads": 1, "min_seconds": 2.0}},
        "versions": {"edgenets": "0.1.0"},
    }
