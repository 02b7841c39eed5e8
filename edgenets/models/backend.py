"""TensorFlow, tf_keras and tfmot, loaded once and quietly.

Use `from edgenets.models.backend import keras, tf`, never tensorflow itself.
Importing this module takes seconds. Nothing that a board or `edgenets list` runs imports it.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgenets.models import WORKER
from edgenets.packages import missing_package
from edgenets.progress import quiet_stderr

# tfmot works on tf_keras models only; TensorFlow reads both when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def _importing() -> Iterator[None]:
    """Import without work that the process has no use for: a third of the time goes.

    Nothing of what is imported can be collected, so the collector need not look at it, now or
    later. And tfmot asks for `keras.engine`, which Keras 2 had: to find that it is not there, all
    of Keras 3 would be loaded, with matplotlib and scikit-learn. Where Keras 3 is in use already,
    it stays.
    """
    collects, absent = gc.isenabled(), "keras" not in sys.modules
    gc.disable()
    if absent:
        sys.modules["keras"] = None  # type: ignore[assignment]  # the import system's "there is none"
    try:
        yield
    finally:
        if absent:
            del sys.modules["keras"]
        gc.freeze()
        if collects:
            gc.enable()


try:
    with quiet_stderr(), warnings.catch_warnings(), _importing():
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow as tf
        import tensorflow_model_optimization as tfmot
        import tf_keras as keras

        if WORKER not in os.environ:  # must be connected with the others before it has devices
            tf.config.list_logical_devices()  # reports missing GPU drivers now, not in mid-training
except ImportError as error:
    raise missing_package(error.name or "tensorflow") from error

tf.get_logger().setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="tf_keras|tensorflow_model_optimization")

__all__ = ["keras", "tf", "tfmot"]
