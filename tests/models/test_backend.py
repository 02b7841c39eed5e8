from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_back_end_loads_no_keras_3_and_leaves_it_to_be_loaded():
    """tfmot asks for a module that Keras 2 had, which would load all of Keras 3."""
    program = (
        "import gc, sys\n"
        "from edgenets.models.backend import tfmot\n"
        "loaded = {'keras', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert gc.isenabled()\n"
        "assert tfmot.sparsity.keras.prune_low_magnitude\n"
        "import keras\n"
        "assert keras.__version__.startswith('3.'), keras.__version__\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr
