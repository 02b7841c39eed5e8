"""Ship it: .tflite files, their verification, evaluation, benchmark and report.

`export_model` writes a Keras model of any origin as a checked `.tflite` file.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Load what needs TensorFlow when it is asked for."""
    if name == "export_model":
        from edgenets.export.write.foreign import export_model

        return export_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
