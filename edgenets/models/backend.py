"""TensorFlow, tf_keras and tfmot, loaded once and quietly.

Use `from edgenets.models.backend import keras, tf`, never tensorflow itself.
Importing this module takes seconds. Nothing that a board or `edgenets list` runs imports it.
"""

from __future__ import annotations

import logging
import os
import warnings

from edgenets.packages import missing_package
from edgenets.progress import quiet_stderr

# tfmot works on tf_keras models only; TensorFlow reads both when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow as tf
        import tensorflow_model_optimization as tfmot
        import tf_keras as keras

        # Documented by tfmot, but not among its public names: clustering that keeps zeros.
        from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
            cluster as tfmot_clustering,
        )

        tf.config.list_logical_devices()  # reports missing GPU drivers now, not in mid-training
except ImportError as error:
    raise missing_package(error.name or "tensorflow") from error

tf.get_logger().setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="tf_keras|tensorflow_model_optimization")

__all__ = ["keras", "tf", "tfmot", "tfmot_clustering"]
